"""Probabilities to coronary trees: what hangs on the aorta, gaps bridged, left and right told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from meshing.errors import ComputationError
from pipeline.segmentation.aorta import rolled, trunks
from pipeline.segmentation.bridging import (
    REACH_MM,
    WALL,
    Bridge,
    Bridging,
    Pieces,
    Point,
    to_world,
)
from pipeline.segmentation.predict import Probabilities
from pipeline.segmentation.unsure import (
    FULL,
    brighter_than_blood,
    calcium_near,
    joining,
    raised,
    widened,
    with_bright_wall,
)
from pipeline.segmentation.veins import Vein, find_veins

_SURE, _NEIGHBOURS, _PRUNINGS = 0.8, 9, 6  # see `_pruned`; of 27 with itself
_AORTA_MM3 = 2000.0
_CANDIDATES = 5
_ROOT_MM = 12.0  # the aorta's part so near to where arteries begin

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CoronaryTree:
    """One tree of a scan.

    Attributes:
        number: Of its voxels in `Coronaries.owner`.
        side: Left or right.
        bridges: Gaps that were bridged: point [mm, LPS] and length [mm] of each.
        ostium_mm: Where it leaves the aorta, LPS.
        volume_mm3: Of the lumen.
    """

    number: int
    side: str
    bridges: tuple[Bridge, ...]
    ostium_mm: Point
    volume_mm3: float


@dataclass(frozen=True, slots=True)
class Coronaries:
    """The trees that leave the aorta, the largest first.

    Attributes:
        shares: Part of each voxel inside a lumen, bridges included; float32.
        owner: Number of the tree a voxel belongs to, 0 for none; int16, same shape.
        trees: What is known of each.
        veins: Stretches that were taken for veins, and are in no tree.
        affine: Of the voxels.
        aorta: Its voxels.
        blood_hu: Of its blood [HU].
    """

    shares: npt.NDArray[np.float32]
    owner: npt.NDArray[np.int16]
    trees: tuple[CoronaryTree, ...]
    veins: tuple[Vein, ...]
    affine: npt.NDArray[np.float64]
    aorta: Mask
    blood_hu: float


def coronary_trees(found: Probabilities) -> Coronaries:
    """Take what leaves the aorta out of probabilities; leave veins out, bridge short gaps, drop the rest.

    Raises:
        ComputationError: No aorta, or no vessel that leaves it.
    """
    voxel = abs(float(np.linalg.det(found.affine[:3, :3])))
    edge = float(voxel ** (1 / 3))
    called = found.of("aorta").array > WALL
    aortic = rolled(called, edge)
    blood = float(np.median(found.hu[aortic])) if aortic.any() else 0.0
    lumen, calcium = found.of("lumen").array.astype(np.float32), _calcium(found)
    bright = brighter_than_blood(found.hu, blood) & ~_stent(found)
    calcium |= ndimage.binary_dilation(bright, FULL)
    lumen = np.where(bright, np.float32(0), lumen)
    trunk = trunks(called, aortic, lumen > WALL, edge)
    lumen = np.where(trunk, np.maximum(lumen, found.of("aorta").array), lumen).astype(np.float32)
    if "wall" in found.names:
        wall = found.of("wall").array.astype(np.float32)
        lumen = with_bright_wall(lumen, wall, found.hu, calcium, blood)
    lumen, stretches = raised(lumen, voxel)
    lumen = widened(lumen, stretches, found.hu, calcium, blood, edge)
    pieces = _pieces(found, lumen, calcium)
    mask, veins = find_veins(pieces, blood)
    if veins:
        lumen = np.where(mask, np.float32(0), lumen)
        pieces = _pieces(found, lumen, calcium)
    bridging = _best(aortic, pieces, lumen)
    aorta, body = bridging.aorta, bridging.owner > 0
    for box in ndimage.find_objects(body.astype(np.uint8)):
        specks = body[box] & ~_pruned(body[box], bridging.lumen[box])
        bridging.owner[box][specks] = 0
        bridging.lumen[box][specks] = 0.0
    counts = np.bincount(bridging.owner.ravel())
    numbers = [int(k) for k in np.argsort(-counts, kind="stable") if k and counts[k]]
    if not numbers:
        raise ComputationError(
            "no coronary artery leaves the aorta in this CT: too coarse, too noisy, or without contrast medium in the "
            "coronaries. Give a coronary CT angiogram at 0.5 mm or finer, or a label map (input.kind: labels)"
        )
    masks = [bridging.owner == number for number in numbers]
    first = [_beginning(mine, aorta, edge) for mine in masks]
    inside = np.argwhere(aorta)
    away = np.asarray(cKDTree(np.argwhere(np.any(first, axis=0))).query(inside)[0]) * edge
    root = to_world(inside[away <= max(_ROOT_MM, float(away.min()))].mean(axis=0), found.affine)
    sides = _sides([_centre(m, found.affine) for m in masks], root)
    trees = []
    for number, mine, begin, side in zip(numbers, masks, first, sides, strict=True):
        at = _centre(begin, found.affine)
        with_skin = ndimage.binary_dilation(mine, FULL) & (mine | (bridging.owner == 0))
        volume = float(bridging.lumen[with_skin].sum(dtype=np.float64)) * voxel
        trees.append(CoronaryTree(number, side, tuple(bridging.bridges[number - 1]), at, volume))
    shares = np.where(ndimage.binary_dilation(bridging.owner > 0, FULL), bridging.lumen, 0.0)
    return Coronaries(
        shares.astype(np.float32),
        bridging.owner,
        tuple(trees),
        tuple(veins),
        found.affine,
        aorta,
        blood,
    )


def _calcium(found: Probabilities) -> Mask:
    """Where there may be calcium, as far as the network knows any."""
    if "calcium" not in found.names:
        return np.zeros(found.hu.shape, np.bool_)
    return calcium_near(found.of("calcium").array)


def _stent(found: Probabilities) -> Mask:
    """Where there may be one: its metal outshines the blood in it."""
    if "stent" not in found.names:
        return np.zeros(found.hu.shape, np.bool_)
    return calcium_near(found.of("stent").array)


def _beginning(mine: Mask, aorta: Mask, edge: float) -> Mask:
    """The part of a tree that is next to the aorta."""
    at, rim = np.argwhere(mine), np.argwhere(aorta & ~ndimage.binary_erosion(aorta))
    away = np.asarray(cKDTree(rim).query(at)[0]) * edge
    out = np.zeros(mine.shape, np.bool_)
    out[tuple(at[away <= max(REACH_MM, float(away.min()))].T)] = True
    return out


def _pieces(found: Probabilities, lumen: npt.NDArray[np.float32], calcium: Mask) -> Pieces:
    labels, count = ndimage.label(lumen > WALL, FULL)
    voxel = abs(float(np.linalg.det(found.affine[:3, :3])))
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * voxel
    depth = ndimage.distance_transform_edt(labels > 0, sampling=voxel ** (1 / 3))
    return Pieces(labels, sizes, depth.astype(np.float32), found.hu, calcium, found.affine)


def _best(aortic: Mask, pieces: Pieces, lumen: npt.NDArray[np.float32]) -> Bridging:
    """What leaves the aorta: of all that looks like an aorta, what has most coronary arteries.

    Chambers look like it where a window shows nothing else; arteries pass them, but do not leave them.
    """
    labels, count = ndimage.label(aortic)
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * pieces.edge_mm**3
    volumes[0] = 0.0
    large = [int(k) for k in np.argsort(-volumes)[:_CANDIDATES] if volumes[k] >= _AORTA_MM3]
    if not large:
        raise ComputationError(
            f"no aorta in this CT (its largest candidate has {volumes.max():.0f} mm^3): a coronary tree is "
            "looked for where it leaves the aorta. Give a contrast-enhanced CT of the whole heart at 0.5 mm or finer, "
            "or a label map (input.kind: labels)"
        )
    arteries, best, most = pieces.arteries(aortic), None, -1
    for k in large:
        bridging = Bridging(pieces, arteries, labels == k, lumen)
        bridging.run()
        owned = int((bridging.owner > 0).sum())
        if owned > most:
            best, most = bridging, owned
    assert best is not None
    return best


def _pruned(body: Mask, lumen: npt.NDArray[np.float32]) -> Mask:
    """A body without specks on its skin: voxels that are not sure and have few neighbours, and join nothing."""
    left = body.copy()
    for _ in range(_PRUNINGS):
        neighbours = ndimage.convolve(left.astype(np.uint8), FULL.astype(np.uint8), mode="constant")
        left &= (neighbours > _NEIGHBOURS) | (lumen > _SURE)
    removed, count = ndimage.label(body & ~left, FULL)
    if count == 0:
        return body
    kept = np.concatenate([[False], joining(removed, count, left)])
    return np.asarray(left | kept[removed])


def _sides(middles: list[Point], root: Point) -> list[str]:
    """Left or right by where a tree's middle lies from the aortic root; of the two largest, one is each."""
    sides = ["left" if middle[0] > root[0] else "right" for middle in middles]
    if len(sides) > 1 and sides[0] == sides[1]:
        first = middles[0][0] > middles[1][0]
        sides[:2] = ["left", "right"] if first else ["right", "left"]
    return sides


def _centre(mask: Mask, affine: npt.NDArray[np.float64]) -> Point:
    return to_world(np.array(ndimage.center_of_mass(mask)), affine)
