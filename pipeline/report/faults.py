"""The picture of a place where no mesh could be made: where it is in the vessel, and the triangles there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.faults import Fault, NoMeshError
from pipeline.report.colours import INK, LESION

Floats = npt.NDArray[np.float64]
Axes3D = Any  # of matplotlib, which has no types for it

_VIEW = 1.6  # half width of the close-up over the inscribed radius
_ROOM = 4.0  # and over the extent of the triangles at fault, where these are small
_DOTS = 4000  # of the vessel in the overview
_FACETS = 6000  # of the close-up, at most


def draw(error: NoMeshError, vessel: Floats, path: Path) -> None:
    """Draw the vessel with the place of every rung, and the triangles around the worst; axes in mm.

    Args:
        error: What failed where.
        vessel: Points of the surface [mm], ``(n, 3)``.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.4))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(0.01, 0.03, 0.97, 0.86, wspace=0.08)
    left: Any = figure.add_subplot(1, 2, 1, projection="3d")
    right: Any = figure.add_subplot(1, 2, 2, projection="3d")
    _overview(left, error, vessel)
    _close_up(right, error.worst)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, facecolor="white")


def _overview(axes: Axes3D, error: NoMeshError, vessel: Floats) -> None:
    dots = vessel[:: max(1, len(vessel) // _DOTS)]
    axes.scatter(*dots.T, s=2.5, color="#5b6b7a", depthshade=False, linewidths=0)
    at = np.array([fault.place.at for fault in error.faults])
    axes.scatter(*at.T, s=30, color=LESION, depthshade=False)
    axes.scatter(*error.worst.place.at, s=260, facecolors="none", edgecolors=LESION, linewidths=2)
    axes.set_title(
        f"the vessel, and where each of {len(at)} ways to a mesh failed", color=INK, fontsize=11
    )
    _frame(axes, vessel.min(axis=0), vessel.max(axis=0))
    axes.view_init(elev=20, azim=-60)


def _close_up(axes: Axes3D, fault: Fault) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    place = fault.place
    half = _VIEW * fault.radius
    if len(place.faulty):
        extent = float(np.abs(place.faulty - place.at).max())
        half = float(np.clip(_ROOM * extent, 0.3 * half, half))
    near = np.abs(place.around.mean(axis=1) - place.at).max(axis=1) < half
    around = place.around[near]
    while len(around) > _FACETS:
        half *= 0.8
        around = around[np.abs(around.mean(axis=1) - place.at).max(axis=1) < half]
    axes.add_collection3d(
        Poly3DCollection(
            around, facecolor="#c9d6e2", edgecolor="#5b6b7a", linewidths=0.3, alpha=0.25
        )
    )
    faulty = place.faulty[np.abs(place.faulty.mean(axis=1) - place.at).max(axis=1) < half]
    if len(faulty):
        axes.add_collection3d(
            Poly3DCollection(
                faulty, facecolor=LESION, edgecolor="black", linewidths=0.6, alpha=0.85
            )
        )
    axes.scatter(*place.at, s=90, marker="x", color="black", depthshade=False, zorder=10)
    title = f"{fault.rung}, at {place}\n{_shortened(fault.reason)}"
    axes.set_title(title, color=INK, fontsize=11)
    _frame(axes, place.at - half, place.at + half)
    outward = (around.mean(axis=(0, 1)) - place.at) if len(around) else np.array([1.0, 1.0, 1.0])
    axes.view_init(
        elev=float(np.clip(np.degrees(np.arctan2(-outward[2], np.hypot(*outward[:2]))), -40, 40)),
        azim=float(np.degrees(np.arctan2(-outward[1], -outward[0])) + 25.0),
    )


def _frame(axes: Axes3D, low: Floats, high: Floats) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_zlim(low[2], high[2])
    size = np.maximum(high - low, 1e-3 * (high - low).max())
    axes.set_box_aspect(size, zoom=0.86)
    for axis, share in zip((axes.xaxis, axes.yaxis, axes.zaxis), size / size.max(), strict=True):
        axis.set_major_locator(MaxNLocator(nbins=max(2, round(4 * float(share)))))
    for name in ("x", "y", "z"):
        getattr(axes, f"set_{name}label")(f"{name} [mm]")


def _shortened(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
