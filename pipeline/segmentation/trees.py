"""Probabilities to coronary trees: what hangs on the aorta, gaps bridged, left and right told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.graph import MCP_Geometric

from meshing.errors import ComputationError
from pipeline.segmentation.predict import Probabilities

WALL = 0.5  # probability at the lumen's wall
_WEAK = 0.2  # connected to what is surely lumen, it may be lumen
_LEAST_MM3 = 15.0  # smaller pieces are noise
_REACH_MM = 1.5  # a tree begins this near to the aorta
_BRIDGE_MM = 6.0  # longest gap that is bridged
_AORTA_MM3 = 2000.0

Mask = npt.NDArray[np.bool_]
_FULL = np.ones((3, 3, 3), np.bool_)


@dataclass(frozen=True, slots=True)
class CoronaryTree:
    """One tree of a scan.

    Attributes:
        side: Left or right.
        mask: Its lumen on the cubes, bridges included.
        bridges: Gaps that were bridged.
        ostium: Where it leaves the aorta, LPS [mm].
        volume_mm3: Of the lumen.
    """

    side: str
    mask: Mask
    bridges: int
    ostium: tuple[float, float, float]
    volume_mm3: float


def coronary_trees(found: Probabilities) -> list[CoronaryTree]:
    """The trees that leave the aorta, the larger first.

    Raises:
        ComputationError: No aorta, or no vessel that leaves it.
    """
    voxel = abs(float(np.linalg.det(found.affine[:3, :3])))
    edge = float(voxel ** (1 / 3))
    aorta = _largest(found.of("aorta").array > WALL)
    if aorta.sum() * voxel < _AORTA_MM3:
        raise ComputationError(
            f"no aorta in this CT (its largest candidate has {aorta.sum() * voxel:.0f} mm^3): a coronary tree is "
            "looked for where it leaves the aorta. Give a contrast-enhanced CT of the whole heart at 0.5 mm or finer, "
            "or a label map (input.kind: labels)"
        )
    lumen = found.of("lumen").array.astype(np.float32)
    pieces, count = ndimage.label(_grown_from(lumen > WALL, lumen > _WEAK), _FULL)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * voxel
    near = ndimage.distance_transform_edt(~aorta, sampling=edge) <= _REACH_MM
    roots = [int(k) for k in np.unique(pieces[near]) if k and sizes[k] >= _LEAST_MM3]
    if not roots:
        raise ComputationError(
            "no coronary artery leaves the aorta in this CT: too coarse, too noisy, or without contrast medium in the "
            "coronaries. Give a coronary CT angiogram at 0.5 mm or finer, or a label map (input.kind: labels)"
        )
    owner, bridges = _bridged(pieces, sizes, roots, lumen, edge)
    trees = []
    middle = _centre(aorta, found.affine)
    for root in roots:
        mask = owner == root
        at = _centre(mask & near, found.affine)
        side = "left" if at[0] > middle[0] else "right"
        trees.append(CoronaryTree(side, mask, bridges[root], at, float(mask.sum() * voxel)))
    return sorted(trees, key=lambda tree: -tree.volume_mm3)


def _largest(mask: Mask) -> Mask:
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _grown_from(sure: Mask, weak: Mask) -> Mask:
    """Hysteresis: the parts of ``weak`` that touch ``sure``."""
    pieces, count = ndimage.label(weak, _FULL)
    kept = np.zeros(count + 1, np.bool_)
    kept[np.unique(pieces[sure])] = True
    kept[0] = False
    return kept[pieces]


def _centre(mask: Mask, affine: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    index = np.array(ndimage.center_of_mass(mask))
    x, y, z = affine[:3, :3] @ index + affine[:3, 3]
    return float(x), float(y), float(z)


def _bridged(
    pieces: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.floating],
    roots: list[int],
    lumen: npt.NDArray[np.float32],
    edge: float,
) -> tuple[npt.NDArray[np.int32], dict[int, int]]:
    """Pieces that hang on a root, or nearly; numbered by root. Bridges follow the likeliest way."""
    owner = np.where(np.isin(pieces, roots), pieces, 0).astype(np.int32)
    bridges = dict.fromkeys(roots, 0)
    loose = [k for k in range(1, len(sizes)) if k not in roots and sizes[k] >= _LEAST_MM3]
    while loose:
        gap, nearest = ndimage.distance_transform_edt(
            owner == 0, sampling=edge, return_indices=True
        )
        reach = ndimage.minimum(gap, pieces, loose)
        best = int(np.argmin(reach))
        if reach[best] > _BRIDGE_MM:
            break
        piece = loose.pop(best)
        start = np.unravel_index(int(np.where(pieces == piece, gap, np.inf).argmin()), gap.shape)
        goal = tuple(int(axis[start]) for axis in nearest)
        root = int(owner[goal])
        for at in _way(lumen, tuple(int(k) for k in start), goal):
            owner[at] = root
        owner[pieces == piece] = root
        bridges[root] += 1
    return owner, bridges


def _way(
    lumen: npt.NDArray[np.float32], start: tuple[int, ...], goal: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Voxels of the cheapest way: what is likely lumen costs little."""
    low = np.maximum(np.minimum(start, goal) - 6, 0)
    high = np.minimum(np.maximum(start, goal) + 7, lumen.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    search = MCP_Geometric(1.0 / (0.03 + lumen[box]))
    search.find_costs([np.array(start) - low], [np.array(goal) - low])
    return [
        tuple(int(k) for k in np.array(at) + low) for at in search.traceback(np.array(goal) - low)
    ]
