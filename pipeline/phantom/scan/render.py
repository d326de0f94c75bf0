"""A scene on voxels: attenuation and partial volume.

Shapes are evaluated on a lattice of 1.5 mm and interpolated (their distances are smooth), arteries on the voxels
themselves. A voxel holds each tissue by its share, from the signed distance; painted in order, what comes later covers
what was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pipeline.imaging import Volume
from pipeline.phantom.path import Array
from pipeline.phantom.scan.lattice import LATTICE_MM, Field, Lattice
from pipeline.phantom.scan.plaque import Diseased
from pipeline.phantom.scan.scanner import Scanner, scanned
from pipeline.phantom.scan.scene import Scene, hose_of
from pipeline.phantom.scan.stent import Stent
from pipeline.phantom.scan.tissue import CHAMBERS, Contrast
from pipeline.phantom.tree import Tree

_FINEST_MM = 0.45  # wider voxels are made of several
_TRUNK_MM = 25.0  # from the ostium to where side branches begin, about
_STENT_MM = 0.4  # a stent's label is so thick: one voxel; its struts are a third of that
_BAND_MM = 2.0  # arteries are evaluated so far from their walls
_TEXTURED_MM = 6.0  # a tissue's texture is evaluated so far from it


TISSUES = ("lumen", "aorta", "calcium", "wall", "stent")
WIDE = ("aorta", *CHAMBERS)


@dataclass(frozen=True, slots=True)
class Exact:
    """What is in every voxel, before a scanner sees it.

    Attributes:
        hu: Attenuation [HU], ``(nx, ny, nz)``.
        distance: Signed distance to the coronaries' wall [mm], negative inside, positive in the aorta; cut at
            `_BAND_MM`.
        shares: Part of each voxel that is coronary lumen, aorta, calcium, wall with plaque, stent (`TISSUES`; of a
            stent the cylinder its struts lie on, 0.4 mm thick), 0 to 1, ``(5, nx, ny, nz)``.
        affine: Of the voxels.
    """

    hu: Field
    distance: Field
    shares: Field
    affine: Array


@dataclass(frozen=True, slots=True)
class Scan:
    """A synthetic CT and its truth.

    Attributes:
        ct: Hounsfield units, int16.
        exact: What was scanned.
    """

    ct: Volume
    exact: Exact


def compose(scene: Scene, grid: Volume) -> Exact:
    """Put a scene on voxels.

    Args:
        scene: What.
        grid: Whose voxels (its array gives the shape only).
    """
    shape, factor = grid.array.shape, _factors(grid)
    fine = _finer(grid, factor)
    size = tuple(n * f for n, f in zip(shape, factor, strict=True))
    hu, aorta = _background(scene, fine, size)
    distance, found = _arteries(scene, fine, size, hu)
    others = np.sum(list(found.values()), axis=0)
    found["aorta"] = np.minimum(aorta, np.maximum(1 - others, 0)).astype(np.float32)
    shares = np.stack([_mean(found[tissue], factor) for tissue in TISSUES])
    return Exact(_mean(hu, factor), _mean(distance, factor), shares, grid.affine)


def compose_wide(scene: Scene, grid: Volume) -> tuple[Field, Field]:
    """Put a scene on voxels of some millimetres, to tell great vessels and chambers by.

    Args:
        scene: What.
        grid: Whose voxels.

    Returns:
        Attenuation [HU], ``(nx, ny, nz)``; part of each voxel that is aorta, left heart, right heart (`WIDE`),
        ``(3, nx, ny, nz)``.
    """
    size = grid.array.shape
    chambers = {name: np.zeros(size, np.float32) for name in CHAMBERS}
    hu, aorta = _background(scene, grid.affine, size, chambers)
    _arteries(scene, grid.affine, size, hu)
    return hu, np.stack([aorta, *chambers.values()])


def render(scene: Scene, grid: Volume, scanner: Scanner, rng: np.random.Generator) -> Scan:
    """Scan a scene: `compose` it and pass it through the scanner."""
    exact = compose(scene, grid)
    hu = scanned(exact.hu, grid.spacing_mm, scanner, rng)
    return Scan(Volume(to_ct(hu), grid.affine), exact)


def scan_tree(scene: Scene, voxel_mm: float, seed: int, margin_mm: float = 12.0) -> Scan:
    """A CT of a scene's first tree and the aortic root it leaves, on cubes along the patient's axes.

    Args:
        scene: What.
        voxel_mm: Edge of the voxels.
        seed: Of scanner and noise.
        margin_mm: Around the vessels; at the ostium twice that, so that the aorta is in it.
    """
    lumen = scene.vessels[0].lumen
    ostium = lumen.paths[0].at(lumen.paths[0].start)[0]
    points = np.concatenate([path.centre for path in lumen.paths])
    low = np.minimum(points.min(axis=0) - margin_mm, ostium - 2 * margin_mm)
    high = np.maximum(points.max(axis=0) + margin_mm, ostium + 2 * margin_mm)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = low
    shape = tuple(int(n) for n in np.ceil((high - low) / voxel_mm))
    rng = np.random.default_rng([seed, 3])
    return render(scene, Volume(np.empty(shape, np.bool_), affine), Scanner.draw(rng), rng)


def to_ct(hu: Field) -> npt.NDArray[np.int16]:
    """Whole Hounsfield units within twelve bits, as scanners store them."""
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


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


def _share(
    distance: npt.NDArray[np.floating], voxel_mm: float, radius: Array | float = np.inf
) -> Field:
    """Part of a voxel inside a shape: its wall is flat across the voxel, or a tube's of a radius [mm].

    The shares of a tube's voxels then add up to its volume: a flat wall alone gives h^2 / 12 pi too much a section.
    """
    bent = distance + voxel_mm**2 / 24.0 / np.maximum(radius, voxel_mm / 2)
    return np.asarray(np.clip(0.5 - bent / voxel_mm, 0.0, 1.0), dtype=np.float32)


def _background(
    scene: Scene, affine: Array, size: tuple[int, ...], chambers: dict[str, Field] | None = None
) -> tuple[Field, Field]:
    """Attenuation of everything but the coronaries, and the aorta's share; those of chambers are painted as well."""
    lattice = Lattice(affine, size)
    points = scene.to_heart(lattice.points)
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    hu = np.full(size, -1000.0, np.float32)
    for tissue in scene.tissues:
        coarse = tissue.shape(points)
        box = lattice.where(coarse, voxel)
        if box is None:
            continue
        share = _share(lattice.spread(coarse, box), voxel)
        for name, chamber in (chambers or {}).items():
            chamber[box] += share * (np.float32(tissue.chamber == name) - chamber[box])
        part = hu[box]
        value = np.float32(tissue.hu) - part
        if tissue.texture is not None:
            close = coarse < voxel + _TEXTURED_MM
            texture = np.zeros(len(points))
            texture[close] = tissue.texture(points[close])
            value += lattice.spread(texture, box)
        part += share * value
    aorta = np.zeros(size, np.float32)
    coarse = scene.aorta(points)
    box = lattice.where(coarse, voxel)
    if box is not None:
        aorta[box] = _share(lattice.spread(coarse, box), voxel)
    return hu, aorta


def _near(tree: Tree, affine: Array, size: tuple[int, ...], reach: float) -> npt.NDArray[np.int64]:
    """Flat indices of the voxels within a distance of a tree's outer walls."""
    lattice = Lattice(affine, size)
    clearance = hose_of(tree)(lattice.points)
    limit = reach + 0.5 * LATTICE_MM
    box = lattice.where(clearance, limit)
    if box is None:
        return np.empty(0, np.int64)
    near = np.nonzero(lattice.spread(clearance, box) < limit)
    index = [n + part.start for n, part in zip(near, box, strict=True)]
    return np.asarray(np.ravel_multi_index(index, size))


def _arteries(
    scene: Scene, affine: Array, size: tuple[int, ...], hu: Field
) -> tuple[Field, dict[str, Field]]:
    """Paint the coronaries into the background; distance to their wall, shares of what they consist of."""
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    distance = np.full(size, _BAND_MM, np.float32)
    shares = {tissue: np.zeros(size, np.float32) for tissue in TISSUES if tissue != "aorta"}
    for vessel in scene.vessels:
        near = _near(vessel.outer, affine, size, _BAND_MM)
        if len(near) == 0:
            continue
        index = np.column_stack(np.unravel_index(near, size))
        points = index @ affine[:3, :3].T + affine[:3, 3]
        drawn = scene.among_vessels(points)
        painted = _painted(hu.reshape(-1)[near], vessel, drawn, voxel, scene.contrast)
        hu.reshape(-1)[near] = painted.hu
        for stent in vessel.stents:
            _put_metal(hu, stent, scene, affine)
        aorta = scene.aorta(scene.to_heart(points))
        lumen = np.clip(np.maximum(painted.distance, -aorta), -_BAND_MM, _BAND_MM)
        outside = 1 - _share(aorta, voxel)
        _merge(distance, near, np.minimum, lumen)
        for tissue, part in painted.shares.items():
            _merge(shares[tissue], near, np.maximum, part * outside)
    return distance, shares


def _put_metal(hu: Field, stent: Stent, scene: Scene, affine: Array) -> None:
    """Struts into the voxels that hold them, by their volume: a voxel has a few per cent of metal."""
    inverse = np.linalg.inv(affine)
    struts = stent.struts if scene.bend is None else scene.bend.back(stent.struts)
    index = np.rint(struts @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    inside = ((index >= 0) & (index < hu.shape)).all(axis=1)
    where, count = np.unique(
        np.ravel_multi_index(tuple(index[inside].T), hu.shape), return_counts=True
    )
    voxel = abs(float(np.linalg.det(affine[:3, :3])))
    metal = np.minimum(count * stent.volume_mm3 / voxel, 1.0).astype(np.float32)
    flat = hu.reshape(-1)
    flat[where] += metal * (np.float32(stent.hu) - flat[where])


def _merge(
    whole: Field, where: npt.NDArray[np.int64], how: np.ufunc, part: npt.NDArray[np.floating]
) -> None:
    flat = whole.reshape(-1)
    flat[where] = how(flat[where], part)


@dataclass(frozen=True, slots=True)
class _Painted:
    """A vessel at points: attenuation, distance to the lumen's wall, shares; ``(n,)`` each."""

    hu: Field
    distance: Array
    shares: dict[str, Field]


def _painted(
    value: Field, vessel: Diseased, points: Array, voxel: float, contrast: Contrast
) -> _Painted:
    """Wall and plaque, calcium, then blood."""
    there = _along(vessel, points, contrast)
    radius = there.radius
    outer = _share(vessel.outer.signed_distance(points, cut=False), voxel, radius)
    value += outer * (there.wall - value)
    calcium = np.zeros(len(points), np.float32)
    if vessel.crust is not None:
        calcium = outer * vessel.crust.share(points, there.crust).astype(np.float32)
        value += calcium * (np.float32(vessel.crust.hu) - value)
    for body in vessel.calcium:
        gap = np.abs(points - body.centre).max(axis=1)
        close = np.flatnonzero(gap < body.axes.max() + voxel)
        share = _share(body.distance(points[close]), voxel)
        value[close] += share * (np.float32(body.hu) - value[close])
        calcium[close] = np.maximum(calcium[close], share)
    distance = vessel.lumen.signed_distance(points, cut=False)
    lumen = _share(distance, voxel, radius)
    value += lumen * (there.blood - value)
    stent = np.zeros(len(points), np.float32)
    for one in vessel.stents:
        gaps = np.asarray(cKDTree(one.shell).query(points, distance_upper_bound=1.0)[0])
        stent = np.maximum(stent, _share(np.minimum(gaps, 1.0) - _STENT_MM / 2, voxel))
    stent = np.minimum(stent, 1 - lumen)
    calcium = np.minimum(calcium, 1 - lumen - stent)
    whole = np.clip(outer - lumen - stent - calcium, 0.0, 1.0)
    shares = {"lumen": lumen, "calcium": calcium, "wall": whole, "stent": stent}
    return _Painted(value, distance, shares)


class _Along(NamedTuple):
    """What a vessel is at its place nearest to points, ``(n,)`` each."""

    wall: Field
    blood: Field
    radius: Array
    crust: Array


def _along(vessel: Diseased, points: Array, contrast: Contrast) -> _Along:
    """Those of the nearest place of the nearest tube."""
    best = np.full(len(points), np.inf)
    wall = np.full(len(points), np.float32(vessel.plaque_hu[0][0]))
    blood = np.full(len(points), np.float32(contrast.artery))
    radius = np.full(len(points), np.inf)
    crust = np.full(len(points), np.inf)
    for number, (path, plaque) in enumerate(zip(vessel.lumen.paths, vessel.plaque_hu, strict=True)):
        gap, nearest = path.nearest(points, within=_BAND_MM + path.max_radius)
        here = gap < best
        best[here], nearest = gap[here], nearest[here]
        wall[here], radius[here] = plaque[nearest], path.radius[nearest]
        if vessel.crust is not None:
            crust[here] = vessel.crust.levels[number][nearest]
        travelled = np.maximum(path.knots[nearest], 0.0) + (_TRUNK_MM if number else 0.0)
        blood[here] = contrast.artery * (1.0 - contrast.fade * np.minimum(travelled / 100.0, 1.2))
    return _Along(wall, blood, radius, crust)
