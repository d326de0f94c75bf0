"""Probabilities to coronary trees: what hangs on the aorta, gaps bridged, left and right told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
Index = tuple[int, ...]
Point = tuple[float, float, float]
_FULL = np.ones((3, 3, 3), np.bool_)


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
class Bridge:
    """A stretch of lumen that was not seen but is assumed.

    Attributes:
        middle_mm: Where, LPS.
        length_mm: From lumen to lumen.
        radius_mm: The mean of both ends', given to all of it.
    """

    middle_mm: Point
    length_mm: float
    radius_mm: float


@dataclass(frozen=True, slots=True)
class Coronaries:
    """The trees that leave the aorta, the largest first.

    Attributes:
        shares: Part of each voxel inside a lumen, bridges included; float32.
        owner: Number of the tree a voxel belongs to, 0 for none; int16, same shape.
        trees: What is known of each.
        affine: Of the voxels.
    """

    shares: npt.NDArray[np.float32]
    owner: npt.NDArray[np.int16]
    trees: tuple[CoronaryTree, ...]
    affine: npt.NDArray[np.float64]


def coronary_trees(found: Probabilities) -> Coronaries:
    """Take what leaves the aorta out of probabilities; bridge short gaps, drop the rest.

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
    roots.sort(key=lambda k: -sizes[k])
    bridging = _Bridging(pieces, sizes, roots, lumen, found.affine)
    bridging.run()
    near_lumen = ndimage.binary_dilation(near & (bridging.owner > 0), iterations=round(12 / edge))
    masks = [bridging.owner == number for number in range(1, len(roots) + 1)]
    sides = _sides(
        [_centre(m, found.affine) for m in masks], _centre(aorta & near_lumen, found.affine)
    )
    trees = []
    for number, (mine, side) in enumerate(zip(masks, sides, strict=True), start=1):
        at = _centre(mine & near, found.affine)
        volume = float(bridging.lumen[mine].sum(dtype=np.float64)) * voxel
        trees.append(CoronaryTree(number, side, tuple(bridging.bridges[number - 1]), at, volume))
    shares = np.where(ndimage.binary_dilation(bridging.owner > 0, _FULL), bridging.lumen, 0.0)
    return Coronaries(shares.astype(np.float32), bridging.owner, tuple(trees), found.affine)


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


def _sides(middles: list[Point], root: Point) -> list[str]:
    """Left or right by where a tree's middle lies from the aortic root; of the two largest, one is each."""
    sides = ["left" if middle[0] > root[0] else "right" for middle in middles]
    if len(sides) > 1 and sides[0] == sides[1]:
        first = middles[0][0] > middles[1][0]
        sides[:2] = ["left", "right"] if first else ["right", "left"]
    return sides


def _centre(mask: Mask, affine: npt.NDArray[np.float64]) -> Point:
    return _world(np.array(ndimage.center_of_mass(mask)), affine)


def _world(index: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Point:
    x, y, z = affine[:3, :3] @ index + affine[:3, 3]
    return float(x), float(y), float(z)


class _Bridging:
    """Gives loose pieces to the trees they nearly touch, the nearest first.

    Attributes:
        owner: Tree of each voxel, from 1, in the order of the roots; 0 for none.
        lumen: Shares, those of bridges added.
        bridges: Of each tree.
    """

    def __init__(
        self,
        pieces: npt.NDArray[np.int32],
        sizes: npt.NDArray[np.floating],
        roots: list[int],
        lumen: npt.NDArray[np.float32],
        affine: npt.NDArray[np.float64],
    ) -> None:
        self.lumen, self._pieces, self._affine = lumen.copy(), pieces, affine
        self._edge = float(abs(np.linalg.det(affine[:3, :3])) ** (1 / 3))
        table = np.zeros(len(sizes), np.int16)
        table[roots] = np.arange(1, len(roots) + 1)
        self.owner: npt.NDArray[np.int16] = table[pieces]
        self.bridges: list[list[Bridge]] = [[] for _ in roots]
        self._loose = [k for k in range(1, len(sizes)) if k not in roots and sizes[k] >= _LEAST_MM3]
        self._depth = ndimage.distance_transform_edt(pieces > 0, sampling=self._edge)

    def run(self) -> None:
        """Bridge until no loose piece is near enough."""
        while self._loose:
            gap, nearest = ndimage.distance_transform_edt(
                self.owner == 0, sampling=self._edge, return_indices=True
            )
            reach = ndimage.minimum(gap, self._pieces, self._loose)
            best = int(np.argmin(reach))
            if reach[best] > _BRIDGE_MM:
                return
            piece = self._loose.pop(best)
            inside = np.where(self._pieces == piece, gap, np.inf)
            start = tuple(int(k) for k in np.unravel_index(int(inside.argmin()), gap.shape))
            self._join(piece, start, tuple(int(axis[start]) for axis in nearest))

    def _join(self, piece: int, start: Index, goal: Index) -> None:
        way = np.array(_way(self.lumen, start, goal))
        number = int(self.owner[goal])
        radius = max(0.5 * (self._radius(start) + self._radius(goal)), self._edge)
        self._fill(way, radius, number)
        self.owner[self._pieces == piece] = number
        length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum()) * self._edge
        middle = _world(way[len(way) // 2], self._affine)
        self.bridges[number - 1].append(Bridge(middle, length, radius))

    def _radius(self, at: Index) -> float:
        """Of the lumen near one of its outermost voxels: the deepest place within 2 mm."""
        reach = max(int(2.0 / self._edge), 1)
        box = tuple(slice(max(k - reach, 0), k + reach + 1) for k in at)
        return float(self._depth[box].max())

    def _fill(self, way: npt.NDArray[np.int_], radius: float, number: int) -> None:
        margin = int(radius / self._edge) + 2
        low = np.maximum(way.min(axis=0) - margin, 0)
        high = np.minimum(way.max(axis=0) + margin + 1, self.owner.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        line = np.ones(tuple(high - low), np.bool_)
        line[tuple((way - low).T)] = False
        gap = ndimage.distance_transform_edt(line, sampling=self._edge)
        share = np.clip(0.5 + (radius - gap) / self._edge, 0.0, 1.0).astype(np.float32)
        self.lumen[box] = np.maximum(self.lumen[box], share)
        self.owner[box][(share > WALL) & (self.owner[box] == 0)] = number


def _way(lumen: npt.NDArray[np.float32], start: Index, goal: Index) -> list[Index]:
    """Voxels of the cheapest way: what is likely lumen costs little."""
    low = np.maximum(np.minimum(start, goal) - 6, 0)
    high = np.minimum(np.maximum(start, goal) + 7, lumen.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    search = MCP_Geometric(1.0 / (0.03 + lumen[box]))
    search.find_costs([np.array(start) - low], [np.array(goal) - low])
    way = search.traceback(np.array(goal) - low)
    return [tuple(int(k) for k in np.array(at) + low) for at in way]
