"""Rendered figures: the FFR map with the lesions, and the mesh at a throat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report.colours import INK, LESION, MASKED, Scale
from pipeline.report.view import best_view

if TYPE_CHECKING:
    import pyvista as pv

Floats = npt.NDArray[np.float64]

LABEL_OFFSET = 0.02  # of the vessel's size, beside what it names


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a point of the vessel.

    Attributes:
        text: What it says.
        point_mm: Where.
        kind: ``"lesion"`` or ``"end"``.
    """

    text: str
    point_mm: tuple[float, float, float]
    kind: str


def vessel_axes(wall: Any, labels: Sequence[Label]) -> Floats:  # noqa: ANN401
    """The view of a wall (``ffr/wall.vtp``) that shows most of the vessel and its lesions."""
    marks = [label.point_mm for label in labels if label.kind == "lesion"]
    return best_view(
        np.asarray(wall.points, dtype=np.float64),
        np.asarray(wall.point_data["extension"]) == 0,
        np.array(marks, dtype=np.float64).reshape(-1, 3),
    )


def ffr_map(wall: pv.PolyData, scale: Scale, labels: Sequence[Label], path: Path) -> None:
    """Draw the wall coloured by ``scale``, with lesions and vessel ends marked."""
    axes = vessel_axes(wall, labels)
    inside = np.asarray(wall.points, dtype=np.float64) @ axes.T
    plotter = _plotter(*_window(inside))
    plotter.add_mesh(
        wall,
        scalars=scale.name,
        clim=(scale.low, scale.high),
        cmap=scale.colours,
        below_color=scale.under,
        nan_color=MASKED,
        smooth_shading=True,
        ambient=0.25,
        diffuse=0.75,
        scalar_bar_args=_bar(scale),
    )
    aside = LABEL_OFFSET * np.ptp(inside, axis=0).max() * (axes[0] + 0.5 * axes[1])
    for kind, colour in (("lesion", LESION), ("end", INK)):
        chosen = [label for label in labels if label.kind == kind]
        if chosen:
            plotter.add_point_labels(
                np.array([label.point_mm for label in chosen]) + aside,
                [label.text for label in chosen],
                text_color=colour,
                font_size=20,
                bold=kind == "lesion",
                shape_color="white",
                shape_opacity=0.75,
                margin=4,
                show_points=False,
                always_visible=True,
            )
    _look(plotter, inside, axes)
    plotter.screenshot(str(path))
    plotter.close()


def mesh_close_up(
    volume_file: Path, centre_mm: Floats, tangent: Floats, radius_mm: float, path: Path
) -> None:
    """Draw the mesh opened lengthwise around a point, straight edges of the tetrahedra shown."""
    import pyvista as pv

    grid: Any = pv.read(volume_file)
    corners = grid.cells_dict[grid.celltypes[0]][:, :4]
    local = np.asarray(grid.points, dtype=np.float64)[corners].mean(axis=1) - centre_mm
    axes = _frame(tangent)
    keep = (np.linalg.norm(local, axis=1) < 7 * radius_mm) & (local @ axes[2] <= 0)
    if not keep.any():
        keep = np.linalg.norm(local, axis=1) < 12 * radius_mm
    cells = corners[keep]
    flat = np.hstack([np.full((len(cells), 1), 4), cells]).ravel()
    part = pv.UnstructuredGrid(flat, np.full(len(cells), 10), grid.points)
    plotter = _plotter(1500, 700)
    plotter.add_mesh(
        part.extract_surface(algorithm="dataset_surface"),
        color="#dfe7ee",
        show_edges=True,
        edge_color="#33475b",
        line_width=1,
        ambient=0.6,
        diffuse=0.4,
    )
    plotter.camera.focal_point = centre_mm
    plotter.camera.position = centre_mm + 10 * radius_mm * axes[2]
    plotter.camera.up = axes[1]
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = 3.2 * radius_mm
    plotter.reset_camera_clipping_range()
    plotter.screenshot(str(path))
    plotter.close()


def _plotter(width: int, height: int) -> Any:  # noqa: ANN401
    """An off-screen plotter; that there is no screen is no news."""
    import pyvista as pv
    from vtkmodules.vtkCommonCore import vtkLogger

    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    plotter: Any = pv.Plotter(off_screen=True, window_size=[width, height])
    plotter.set_background("white")
    return plotter


def _frame(tangent: Floats) -> Floats:
    """Tangent, and two directions across it."""
    helper = np.eye(3)[np.argmin(np.abs(tangent))]
    up = np.cross(tangent, helper)
    up /= np.linalg.norm(up)
    return np.array([tangent, up, np.cross(tangent, up)])


def _bar(scale: Scale) -> dict[str, Any]:
    return {
        "title": scale.caption + "\n",
        "vertical": True,
        "position_x": 0.88,
        "position_y": 0.22,
        "height": 0.56,
        "width": 0.05,
        "color": INK,
        "title_font_size": 24,
        "label_font_size": 20,
        "n_labels": 6,
        "fmt": "%.2f" if scale.high <= 2 else "%.0f",
        "below_label": f"< {scale.low:g}" if scale.under else None,
    }


def _window(inside: Floats) -> tuple[int, int]:
    """Width and height of a picture that the vessel fills, colour bar included."""
    across, up, _ = np.ptp(inside, axis=0)
    height = int(np.clip(1500 * up / max(across, 1e-9), 700, 1300))
    return int(np.clip(height * across / max(up, 1e-9), 500, 1500)) + 350, height


def _look(plotter: Any, inside: Floats, axes: Floats) -> None:  # noqa: ANN401
    """Look along the view axes, the vessel filling the part of the picture left of the colour bar."""
    low, high = inside.min(axis=0), inside.max(axis=0)
    width, height = plotter.window_size
    scale = 1.12 * max(high[1] - low[1], (high[0] - low[0]) * height / (width - 350))
    centre = 0.5 * (low + high)
    centre[0] += 0.5 * scale * 250 / height
    plotter.camera.focal_point = centre @ axes
    plotter.camera.position = centre @ axes + 2 * np.linalg.norm(high - low) * axes[2]
    plotter.camera.up = axes[1]
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = 0.5 * scale
    plotter.reset_camera_clipping_range()
