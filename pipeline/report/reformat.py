"""A CT along its vessels: straightened curved planar reformats with the lumen's contour, and sections at lesions.

The plane through a centreline is carried along it without turning about it (rotation-minimising frames, double
reflection), so that what is up stays up.

References:
    Kanitsar et al. (2002), IEEE Visualization, 37-44, https://doi.org/10.1109/VISUAL.2002.1183754 (straightened CPR);
    Wang et al. (2008), ACM Trans. Graph. 27, 2, https://doi.org/10.1145/1330511.1330513 (double reflection).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, map_coordinates

from pipeline.imaging import Volume, read_volume
from pipeline.report.charts import sheet
from pipeline.report.colours import LESION
from pipeline.report.data import PullBack, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
STEP_MM = 0.2
REACH_MM = 6.0
"""Half the width of a reformat."""
SECTION_MM = 4.5
"""Half the edge of a cross-section."""
WINDOW_HU = (-150.0, 750.0)
CONTOUR = "#f5a300"
SMOOTHING_MM = 1.5
_SHOWN = 6  # vessels and lesions at most


@dataclass(frozen=True, slots=True)
class Way:
    """A centreline with frames.

    Attributes:
        s: Distance from the anatomical inlet [mm], every `STEP_MM`, ``(n,)``.
        points: LPS [mm], ``(n, 3)``.
        across: Two unit vectors across it, ``(2, n, 3)``.
    """

    s: Floats
    points: Floats
    across: Floats

    @classmethod
    def along(cls, s: Floats, points: Floats) -> Way:
        """Resample, smooth, and carry a frame along."""
        even = np.arange(s[0], s[-1], STEP_MM)
        curve = np.column_stack([np.interp(even, s, points[:, k]) for k in range(3)])
        curve = gaussian_filter1d(curve, SMOOTHING_MM / STEP_MM, axis=0, mode="nearest")
        tangent = np.gradient(curve, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1)[:, None]
        return cls(even, curve, _frames(curve, tangent))

    def plane(self, which: int, reach_mm: float) -> Floats:
        """Points of the straightened plane, ``(n, m, 3)``: along, across."""
        offsets = np.arange(-reach_mm, reach_mm + STEP_MM / 2, STEP_MM)
        return np.asarray(
            self.points[:, None] + offsets[None, :, None] * self.across[which][:, None]
        )

    def section(self, k: int, reach_mm: float) -> Floats:
        """Points of the cross-section at the k-th place, ``(m, m, 3)``."""
        offsets = np.arange(-reach_mm, reach_mm + STEP_MM / 4, STEP_MM / 2)
        u, v = self.across[:, k]
        return np.asarray(self.points[k] + offsets[:, None, None] * v + offsets[None, :, None] * u)


def _frames(points: Floats, tangent: Floats) -> Floats:
    """Rotation-minimising frames by double reflection."""
    first = np.cross(tangent[0], np.eye(3)[np.abs(tangent[0]).argmin()])
    first /= np.linalg.norm(first)
    normal = np.empty_like(points)
    normal[0] = first
    for k in range(len(points) - 1):
        step = points[k + 1] - points[k]
        c = float(step @ step)
        turned = normal[k] - 2 / c * (step @ normal[k]) * step
        ahead = tangent[k] - 2 / c * (step @ tangent[k]) * step
        rest = tangent[k + 1] - ahead
        d = float(rest @ rest)
        normal[k + 1] = turned if d < 1e-24 else turned - 2 / d * (rest @ turned) * rest
    return np.stack([normal, np.cross(tangent, normal)])


def sampled(volume: Volume, points: Floats, outside: float) -> Floats:
    """Linear values of a volume at points ``(..., 3)``."""
    index = volume.to_index(points.reshape(-1, 3)).T
    values = map_coordinates(volume.array.astype(np.float32), index, order=1, cval=outside)
    return np.asarray(values, dtype=np.float64).reshape(points.shape[:-1])


def reformats(run: Run, path: Path) -> bool:
    """Draw the CT along every vessel and across every lesion, the lumen's contour on it; False without a CT.

    Args:
        run: What the report is given.
        path: PNG to write.
    """
    ct, lumen = run.folder / "image" / "ct.nii.gz", run.folder / "segment" / "lumen.nii.gz"
    if not (ct.is_file() and lumen.is_file()):
        return False
    hu, shares = _near(read_volume(ct), run.pull_backs), _near(read_volume(lumen), run.pull_backs)
    curves = sorted(run.pull_backs, key=lambda c: -c.abscissa_mm[-1])[:_SHOWN]
    lesions = run.ffr["lesions"][:_SHOWN]
    rows = 2 * len(curves) + bool(lesions)
    with sheet(9.0, 1.35 * 2 * len(curves) + (2.3 if lesions else 0.0)) as page:
        heights = [1.0] * (2 * len(curves)) + [1.9] * bool(lesions)
        grid = page.add_gridspec(rows, 1, height_ratios=heights)
        for k, curve in enumerate(curves):
            way = Way.along(curve.abscissa_mm, curve.points_mm)
            for which in range(2):
                axes = page.add_subplot(grid[2 * k + which])
                _along(axes, way, which, hu, shares)
                _marks(axes, curve, lesions)
                if which == 0:
                    axes.set_title(f"To {curve.outlet}", loc="left", fontsize=10)
                    axes.tick_params(labelbottom=False)
        axes.set_xlabel("Distance from the anatomical inlet along the centreline [mm]")
        if lesions:
            inner = grid[-1].subgridspec(1, len(lesions))
            for k, lesion in enumerate(lesions):
                _across(page.add_subplot(inner[k]), lesion, run.pull_backs, hu, shares)
        page.savefig(path, dpi=130)
    return True


def _near(volume: Volume, curves: tuple[PullBack, ...]) -> Volume:
    """The part of a volume around the vessels."""
    points = np.concatenate([curve.points_mm for curve in curves])
    corners = np.concatenate([points - 2 * REACH_MM, points + 2 * REACH_MM])
    index = volume.to_index(corners)
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, volume.array.shape)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_world(low[None].astype(np.float64))[0]
    return Volume(volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], affine)


def _along(axes: Axes, way: Way, which: int, hu: Volume, shares: Volume) -> None:
    """A straightened plane in grey, the lumen's contour on it."""
    points = way.plane(which, REACH_MM)
    extent = (way.s[0], way.s[-1], -REACH_MM, REACH_MM)
    image = sampled(hu, points, -1000.0).T
    axes.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=extent,
                origin="lower", aspect="auto", interpolation="bilinear")  # fmt: skip
    inside = sampled(shares, points, 0.0).T / 255.0
    if inside.max() > 0.5:
        axes.contour(inside, [0.5], colors=CONTOUR, linewidths=0.9, extent=extent, origin="lower")
    axes.set_ylabel(f"{'first' if which == 0 else 'second'}\nplane [mm]", fontsize=8)
    axes.grid(visible=False)


def _marks(axes: Axes, curve: PullBack, lesions: list[dict[str, Any]]) -> None:
    """The shoulders of the vessel's lesions."""
    for lesion in lesions:
        if curve.outlet in lesion["outlets"]:
            for at in (lesion["start_mm"], lesion["end_mm"]):
                axes.axvline(at, color=LESION, lw=0.9, ls=(0, (4, 3)))
            axes.annotate(lesion["name"], (lesion["throat_mm"], REACH_MM), (0, -9), ha="center",
                          textcoords="offset points", fontsize=8, color="white")  # fmt: skip


def _across(
    axes: Axes, lesion: dict[str, Any], curves: tuple[PullBack, ...], hu: Volume, shares: Volume
) -> None:
    """The section at a lesion's throat."""
    curve = next(c for c in curves if c.outlet == lesion["outlet"])
    way = Way.along(curve.abscissa_mm, curve.points_mm)
    k = int(np.abs(way.s - lesion["throat_mm"]).argmin())
    points = way.section(k, SECTION_MM)
    extent = (-SECTION_MM, SECTION_MM, -SECTION_MM, SECTION_MM)
    axes.imshow(sampled(hu, points, -1000.0), cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1],
                extent=extent, origin="lower", interpolation="bilinear")  # fmt: skip
    inside = sampled(shares, points, 0.0) / 255.0
    if inside.max() > 0.5:
        axes.contour(inside, [0.5], colors=CONTOUR, linewidths=1.1, extent=extent, origin="lower")
    axes.set_title(f"{lesion['name']}, throat", fontsize=9)
    axes.set_xlabel("[mm]")
    axes.grid(visible=False)
