"""A scene on voxels: attenuation, partial volume, blur and noise.

Shapes are evaluated on a lattice of 1.5 mm and interpolated (their distances are smooth), arteries on the voxels
themselves. A voxel holds each tissue by its share, from the signed distance; painted in order, what comes later covers
what was there. Then the scanner: a point spread (with overshoot for sharp kernels), and noise of the same grain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

from pipeline.imaging import Volume
from pipeline.phantom.path import Array
from pipeline.phantom.scan.plaque import Diseased
from pipeline.phantom.scan.scene import Scene, hose_of
from pipeline.phantom.scan.tissue import Contrast
from pipeline.phantom.tree import Tree

_LATTICE_MM = 1.5
_FINEST_MM = 0.45  # wider voxels are made of several
_TRUNK_MM = 25.0  # from the ostium to where side branches begin, about
_BAND_MM = 2.0  # arteries are evaluated so far from their walls

Field = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]
_ALL = (slice(None), slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class Scanner:
    """How the image is made.

    Attributes:
        blur_mm: Full width at half maximum of the point spread, in the slice and across slices, ``(2,)``.
        sharpness: Overshoot of the kernel: 0 none (soft tissue), 0.6 strong.
        noise_hu: Standard deviation of the noise [HU].
        grain: Width of the noise's correlation over that of the point spread.
    """

    blur_mm: tuple[float, float]
    sharpness: float
    noise_hu: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Scanner:
        """Scanners of the last fifteen years at coronary settings."""
        return cls(
            (float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.5, 0.95))),
            float(rng.uniform(0, 0.5)),
            float(rng.uniform(12, 45)),
            float(rng.uniform(0.6, 1.2)),
        )


@dataclass(frozen=True, slots=True)
class Scan:
    """A synthetic CT and its truth.

    Attributes:
        ct: Hounsfield units, int16.
        distance: Signed distance to the coronaries' wall [mm], negative inside, positive in the aorta; float32, cut at
            `_BAND_MM`.
        share: Part of each voxel inside the coronaries' lumen, 0 to 1, float32.
    """

    ct: Volume
    distance: Volume
    share: Volume


def render(scene: Scene, grid: Volume, scanner: Scanner, rng: np.random.Generator) -> Scan:
    """Scan a scene.

    Args:
        scene: What.
        grid: Whose voxels (its array gives the shape only).
        scanner: How.
        rng: Draws the noise.
    """
    shape, factor = grid.array.shape, _factors(grid)
    fine = _finer(grid, factor)
    size = tuple(n * f for n, f in zip(shape, factor, strict=True))
    hu = _background(scene, fine, size)
    distance, share = _arteries(scene, fine, size, hu)
    hu = _scanned(_mean(hu, factor), grid.spacing_mm, scanner, rng)
    ct = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    told = (Volume(_mean(values, factor), grid.affine) for values in (distance, share))
    return Scan(Volume(ct, grid.affine), *told)


def _factors(grid: Volume) -> tuple[int, ...]:
    return tuple(max(1, int(np.ceil(h / _FINEST_MM - 1e-6))) for h in grid.spacing_mm)


def _finer(grid: Volume, factor: tuple[int, ...]) -> Array:
    """Affine of the voxels' parts."""
    scale = np.diag([1.0 / f for f in factor] + [1.0])
    scale[:3, 3] = [0.5 / f - 0.5 for f in factor]
    return np.asarray(grid.affine @ scale)


def _mean(values: Field, factor: tuple[int, ...]) -> Field:
    if max(factor) == 1:
        return values
    n = [size // f for size, f in zip(values.shape, factor, strict=True)]
    parts = values.reshape(n[0], factor[0], n[1], factor[1], n[2], factor[2])
    return np.asarray(parts.mean(axis=(1, 3, 5)), dtype=np.float32)


class _Lattice:
    """Coarse points that cover a grid, and the interpolation from them to its voxels."""

    def __init__(self, affine: Array, size: tuple[int, ...]) -> None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        self._counts = [
            max(2, int(np.ceil(n * h / _LATTICE_MM)) + 1)
            for n, h in zip(size, spacing, strict=True)
        ]
        self._knots = [np.linspace(0, n - 1, c) for n, c in zip(size, self._counts, strict=True)]
        index = np.stack(np.meshgrid(*self._knots, indexing="ij"), axis=-1).reshape(-1, 3)
        self.points = index @ affine[:3, :3].T + affine[:3, 3]
        self._weights = [_linear(k, n) for k, n in zip(self._knots, size, strict=True)]

    def where(self, values: Array, below: float) -> Box | None:
        """The voxels outside which interpolated values are not below a limit; None if there are none."""
        low = values.reshape(self._counts) < below
        box = []
        for axis, knots in enumerate(self._knots):
            found = np.flatnonzero(low.any(axis=tuple(k for k in range(3) if k != axis)))
            if len(found) == 0:
                return None
            first, last = max(found[0] - 1, 0), min(found[-1] + 1, len(knots) - 1)
            box.append(slice(int(knots[first]), int(np.ceil(knots[last])) + 1))
        return box[0], box[1], box[2]

    def spread(self, values: Array, box: Box = _ALL) -> Field:
        """Trilinear interpolation to the voxels of a box."""
        x, y, z = (w[part] for w, part in zip(self._weights, box, strict=True))
        field = values.reshape(self._counts).astype(np.float32)
        across = np.stack([y @ (plane @ z.T) for plane in field])
        flat = x @ across.reshape(len(across), -1)
        return np.asarray(flat.reshape(x.shape[0], y.shape[0], z.shape[0]), dtype=np.float32)


def _linear(knots: Array, n: int) -> csr_array:
    """Weights of linear interpolation from knots to 0 ... n - 1, ``(n, knots)``."""
    place = np.interp(np.arange(n), knots, np.arange(len(knots)))
    low = np.minimum(place.astype(int), len(knots) - 2)
    part = (place - low).astype(np.float32)
    data = np.column_stack([1 - part, part]).ravel()
    columns = np.column_stack([low, low + 1]).ravel()
    return csr_array((data, columns, 2 * np.arange(n + 1)), shape=(n, len(knots)))


def _share(
    distance: npt.NDArray[np.floating], voxel_mm: float, radius: Array | float = np.inf
) -> Field:
    """Part of a voxel inside a shape: its wall is flat across the voxel, or a tube's of a radius [mm].

    The shares of a tube's voxels then add up to its volume: a flat wall alone gives h^2 / 12 pi too much a section.
    """
    bent = distance + voxel_mm**2 / 24.0 / np.maximum(radius, voxel_mm / 2)
    return np.asarray(np.clip(0.5 - bent / voxel_mm, 0.0, 1.0), dtype=np.float32)


def _background(scene: Scene, affine: Array, size: tuple[int, ...]) -> Field:
    lattice = _Lattice(affine, size)
    points = scene.to_heart(lattice.points)
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    hu = np.full(size, -1000.0, np.float32)
    for tissue in scene.tissues:
        coarse = tissue.shape(points)
        box = lattice.where(coarse, voxel)
        if box is None:
            continue
        share = _share(lattice.spread(coarse, box), voxel)
        part = hu[box]
        value = np.float32(tissue.hu) - part
        if tissue.texture is not None:
            value += lattice.spread(tissue.texture(points), box)
        part += share * value
    return hu


def _near(tree: Tree, affine: Array, size: tuple[int, ...], reach: float) -> npt.NDArray[np.int64]:
    """Flat indices of the voxels within a distance of a tree's outer walls."""
    lattice = _Lattice(affine, size)
    clearance = hose_of(tree)(lattice.points)
    limit = reach + 0.5 * _LATTICE_MM
    box = lattice.where(clearance, limit)
    if box is None:
        return np.empty(0, np.int64)
    near = np.nonzero(lattice.spread(clearance, box) < limit)
    index = [n + part.start for n, part in zip(near, box, strict=True)]
    return np.asarray(np.ravel_multi_index(index, size))


def _arteries(scene: Scene, affine: Array, size: tuple[int, ...], hu: Field) -> tuple[Field, Field]:
    """Paint the coronaries into the background; the signed distance to their wall and the lumen's share."""
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    distance, share = np.full(size, _BAND_MM, np.float32), np.zeros(size, np.float32)
    for vessel in scene.vessels:
        near = _near(vessel.outer, affine, size, _BAND_MM)
        if len(near) == 0:
            continue
        index = np.column_stack(np.unravel_index(near, size))
        points = index @ affine[:3, :3].T + affine[:3, 3]
        lumen = vessel.lumen.signed_distance(points, cut=False)
        painted, inside = _painted(
            hu.reshape(-1)[near], vessel, points, lumen, voxel, scene.contrast
        )
        hu.reshape(-1)[near] = painted
        aorta = scene.aorta(scene.to_heart(points))
        lumen = np.clip(np.maximum(lumen, -aorta), -_BAND_MM, _BAND_MM)
        distance.reshape(-1)[near] = np.minimum(distance.reshape(-1)[near], lumen)
        inside *= 1 - _share(aorta, voxel)
        share.reshape(-1)[near] = np.maximum(share.reshape(-1)[near], inside)
    return distance, share


def _painted(
    value: Field, vessel: Diseased, points: Array, lumen: Array, voxel: float, contrast: Contrast
) -> tuple[Field, Field]:
    """Wall and plaque, calcium, then blood; and the blood's share."""
    wall, blood, radius = _along(vessel, points, contrast)
    outer = vessel.outer.signed_distance(points, cut=False)
    value += _share(outer, voxel, radius) * (wall - value)
    for body in vessel.calcium:
        gap = np.abs(points - body.centre).max(axis=1)
        close = np.flatnonzero(gap < body.axes.max() + voxel)
        value[close] += _share(body.distance(points[close]), voxel) * (
            np.float32(body.hu) - value[close]
        )
    share = _share(lumen, voxel, radius)
    value += share * (blood - value)
    return value, share


def _along(vessel: Diseased, points: Array, contrast: Contrast) -> tuple[Field, Field, Array]:
    """Attenuation of wall and of blood at points, and the radius, from the nearest place of the nearest tube."""
    best = np.full(len(points), np.inf)
    wall = np.full(len(points), np.float32(vessel.plaque_hu[0][0]))
    blood = np.full(len(points), np.float32(contrast.artery))
    radius = np.full(len(points), np.inf)
    for number, (path, plaque) in enumerate(zip(vessel.lumen.paths, vessel.plaque_hu, strict=True)):
        gap, nearest = path.nearest(points, within=_BAND_MM + path.max_radius)
        here = gap < best
        best[here], nearest = gap[here], nearest[here]
        wall[here], radius[here] = plaque[nearest], path.radius[nearest]
        travelled = np.maximum(path.knots[nearest], 0.0) + (_TRUNK_MM if number else 0.0)
        blood[here] = contrast.artery * (1.0 - contrast.fade * np.minimum(travelled / 100.0, 1.2))
    return wall, blood, radius


def _scanned(hu: Field, spacing: Array, scanner: Scanner, rng: np.random.Generator) -> Field:
    """Point spread, kernel and noise."""
    widths = np.array([scanner.blur_mm[0], scanner.blur_mm[0], scanner.blur_mm[1]]) / 2.355
    sigma = np.maximum(widths / spacing, 0.05)
    smooth = gaussian_filter(hu, sigma, mode="nearest")
    if scanner.sharpness > 0:
        smooth += np.float32(scanner.sharpness) * (
            smooth - gaussian_filter(smooth, 1.6 * sigma, mode="nearest")
        )
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = gaussian_filter(noise, np.maximum(scanner.grain * sigma, 0.3), mode="wrap")
    noise -= np.float32(0.6) * gaussian_filter(
        noise, 3.0 * sigma, mode="wrap"
    )  # filtered back projection has no slow noise
    return np.asarray(smooth + noise * np.float32(scanner.noise_hu / noise.std()), dtype=np.float32)
