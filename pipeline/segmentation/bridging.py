"""Gaps of vessels that the network did not see through, and how they are bridged.

Where the CT shows the vessel between, a gap of some centimetres is bridged: a thin way of blood as bright as at both
ends, that leaves the loose piece along its own axis; its width is the CT's own (half way between blood and what is
around). Where it shows none, as in a throat thinner than the scanner's blur, only a gap of some millimetres between
pieces on one line, by the cheapest way through what may be lumen; its width is that of all the blood that the CT shows
in a section.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.graph import MCP_Geometric

from pipeline.segmentation.aorta import with_wide_blood

WALL = 0.5  # probability at the lumen's wall
LEAST_MM3 = 15.0  # smaller pieces are noise
REACH_MM = 1.5  # a tree begins this near to the aorta
_TRUNK_MM3 = 60.0  # smaller pieces do not become a tree of their own
_BLIND_MM = 8.0  # longest gap that is bridged where it shows none: a throat's length
_SEEN_MM = 20.0  # longest gap that is bridged where the CT shows the vessel
_LONGER, _MORE_MM = 1.6, 4.0  # a seen way is at most so much longer than its gap
_TO_AORTA_MM = 8.0  # the same to the aorta, beside which a trunk may run before it leaves it
_ALIKE = 0.75  # blood at one end of a gap over blood at the other: veins are darker
_BLOOD_HU = 120.0  # least height of blood over what is around
TISSUE_HU = 60.0  # muscle, until what is around is known
_WIDER = 1.8  # a way's bright surroundings may be so much deeper than the vessel at its ends
_STRAIGHT = 0.8  # the same where a gap is longer than `_NEAR_MM` and nothing is seen of it
_EVEN_MM = 0.5  # along a way, its areas are averaged over
_THREAD_MM = 0.25  # least radius of a bridge
_ALONG = 0.5  # cosine between a piece's axis and the way that leaves it
_NEAR_MM = 5.0  # what is called an end of a piece
_BRIGHT, _BRIGHT_PART = (
    0.75,
    0.10,
)  # of blood; largest part of an artery's surroundings that is so bright
_SHELL_MM = (0.7, 1.7)  # what is called its surroundings
_AWAY_MM = 4.0  # from the aorta: so far away in the median is a piece that leaves it
_GRAIN_VOXELS = 0.6  # noise of the CT that is taken out of a bridge's wall
_HELD = 0.5  # of the width of a bridge's ends: the least that it has in calcium
_EVEN_VOXELS = 1.0  # the same for the aorta's blood, in which no voxel may be dark
_BONE = 1.3  # what is so much brighter than the aorta is no blood

Singles = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Box = tuple[slice, ...]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A stretch of lumen that the network did not see.

    Attributes:
        middle_mm: Where, LPS.
        length_mm: From lumen to lumen.
        radius_mm: The mean of both ends'.
        seen: Whether the CT shows the vessel there.
    """

    middle_mm: Point
    length_mm: float
    radius_mm: float
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Artery:
    """A piece that may be one.

    Attributes:
        at: Its voxels, ``(n, 3)``.
        blood_hu: In its middle.
        volume_mm3: Of its voxels.
    """

    at: Indices
    blood_hu: float
    volume_mm3: float


@dataclass(frozen=True, slots=True)
class Pieces:
    """Connected pieces of what is likely lumen.

    Attributes:
        labels: Number of each voxel's piece, 0 for none.
        volumes_mm3: By number.
        depth: Distance to what is no lumen [mm].
        hu: The CT on the same voxels.
        calcium: Where there may be some: what is bright there tells nothing of blood.
        affine: Of the voxels, cubes.
    """

    labels: npt.NDArray[np.int32]
    volumes_mm3: npt.NDArray[np.floating]
    depth: Singles
    hu: Singles
    calcium: Mask
    affine: npt.NDArray[np.float64]

    @property
    def edge_mm(self) -> float:
        """Of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) ** (1 / 3))

    def arteries(self, aorta: Mask) -> dict[int, Artery]:
        """The pieces that may be arteries, by number.

        An artery runs in fat and muscle: what lies against blood as bright as its own is part of a chamber's rim.
        Measured on test scans: of arteries' surroundings at most 0.07 are so bright, of rims at least 0.12 (a stub at
        an ostium of its own: 0.31). The aorta beside a piece that leads away from it says nothing against it.

        Args:
            aorta: What may be one.
        """
        found = dict[int, Artery]()
        for number, box in enumerate(ndimage.find_objects(self.labels), start=1):
            if box is None or self.volumes_mm3[number] < LEAST_MM3:
                continue
            blood, bright = self._own_blood(number, box)
            if bright >= _BRIGHT_PART and self._leaves(number, box, aorta):
                bright = self._own_blood(number, box, aorta)[1]
            if bright < _BRIGHT_PART:
                at = np.argwhere(self.labels[box] == number) + _low(box)
                found[number] = Artery(at, blood, float(self.volumes_mm3[number]))
        return found

    def _leaves(self, number: int, box: Box, aorta: Mask) -> bool:
        """Whether a piece is beside the aorta at one end only: most of it is away."""
        ends = np.array([[part.start for part in box], [part.stop - 1 for part in box]])
        box = _box(ends, round(_AWAY_MM / self.edge_mm) + 1, self.labels.shape)
        if not aorta[box].any():
            return False
        away = ndimage.distance_transform_edt(~aorta[box], sampling=self.edge_mm)
        return bool(np.median(away[self.labels[box] == number]) > _AWAY_MM)

    def _own_blood(self, number: int, box: Box, but: Mask | None = None) -> tuple[float, float]:
        """A piece's attenuation [HU], and the part of its surroundings that is nearly as bright, but for a mask."""
        ends = np.array([[part.start for part in box], [part.stop - 1 for part in box]])
        box = _box(ends, round(_SHELL_MM[1] / self.edge_mm) + 1, self.labels.shape)
        mine, hu = self.labels[box] == number, self.hu[box]
        depth = _told(np.where(mine, self.depth[box], 0.0), self.calcium[box])
        off = ndimage.distance_transform_edt(~mine, sampling=self.edge_mm)
        shell = (off > _SHELL_MM[0]) & (off < _SHELL_MM[1]) & ~self.calcium[box]
        if but is not None:
            shell &= ~ndimage.binary_dilation(but[box])
        around = hu[shell]
        blood = float(np.median(hu[depth >= 0.7 * depth.max()]))
        bright = around > TISSUE_HU + _BRIGHT * (blood - TISSUE_HU)
        return blood, float(np.mean(bright)) if len(around) else 0.0


@dataclass(frozen=True, slots=True)
class _Gap:
    """Between a loose piece and a tree, or the aorta.

    Attributes:
        length_mm: Straight.
        piece: Its number.
        start: Voxel of the piece, ``(3,)``.
        goal: Voxel of the tree or of the aorta.
        owner: Number of the tree; 0 for the aorta.
    """

    length_mm: float
    piece: int
    start: Indices
    goal: Indices
    owner: int


class Bridging:
    """Gives loose pieces to the trees, or makes a tree of what the CT shows to leave the aorta, the nearest first.

    Attributes:
        aorta: Its voxels, with those of wide blood that were found beside it.
        owner: Tree of each voxel, from 1; 0 for none.
        lumen: Shares, those of bridges added.
        bridges: Of each tree.
    """

    def __init__(
        self, pieces: Pieces, arteries: dict[int, Artery], aorta: Mask, lumen: Singles
    ) -> None:
        self.lumen, self._pieces, self._edge = lumen.copy(), pieces, pieces.edge_mm
        self._depth = pieces.depth
        self.aorta, self._blood_hu = aorta, float(np.median(pieces.hu[aorta]))
        self._rim = np.argwhere(aorta & ~ndimage.binary_erosion(aorta))
        self._loose = {
            k: one for k, one in arteries.items() if one.blood_hu <= _BONE * self._blood_hu
        }
        self.owner: npt.NDArray[np.int16] = np.zeros(lumen.shape, np.int16)
        self.bridges: list[list[Bridge]] = []
        leave = [
            gap.piece for gap in self._gaps(self._rim, aorta=True) if gap.length_mm <= REACH_MM
        ]
        for piece in sorted(leave, key=lambda k: -self._loose[k].volume_mm3):
            self._own(piece, 0)

    def run(self) -> None:
        """Bridge until no loose piece can be reached."""
        reached = True
        while reached:
            owned = np.argwhere(self.owner > 0)
            gaps = self._gaps(self._rim, aorta=True)
            gaps = [gap for gap in gaps if self._loose[gap.piece].volume_mm3 >= _TRUNK_MM3]
            if len(owned):
                gaps += self._gaps(owned, aorta=False)
            gaps.sort(key=lambda gap: (gap.length_mm, gap.piece, gap.owner))
            reached = any(self._join(gap) for gap in gaps)

    def _gaps(self, goals: Indices, *, aorta: bool) -> list[_Gap]:
        """From each loose piece to the nearest of voxels ``(n, 3)``."""
        tree, gaps = cKDTree(goals), list[_Gap]()
        for piece, one in self._loose.items():
            away, which = (np.asarray(part) for part in tree.query(one.at))
            k = int(away.argmin())
            goal = goals[which[k]]
            owner = 0 if aorta else int(self.owner[tuple(goal)])
            gaps.append(_Gap(float(away[k]) * self._edge, piece, one.at[k], goal, owner))
        return [gap for gap in gaps if gap.length_mm <= _SEEN_MM]

    def _own(self, piece: int, owner: int) -> int:
        """Make a loose piece part of a tree, of a new one if it is 0; the tree's number."""
        if owner == 0:
            self.bridges.append([])
            owner = len(self.bridges)
        self.owner[tuple(self._loose.pop(piece).at.T)] = owner
        return owner

    def _join(self, gap: _Gap) -> bool:
        """Bridge a gap, if that can be done."""
        blood = [self._blood(gap.start, self._pieces.labels, gap.piece), self._blood_hu]
        if gap.owner:
            blood[1] = self._blood(gap.goal, self.owner, gap.owner)
        radii = [self._radius(gap.start), *([self._radius(gap.goal)] if gap.owner else [])]
        radius, level = max(float(np.mean(radii)), self._edge), min(blood)
        if level < _ALIKE * max(blood):
            return False
        shown = level >= TISSUE_HU + _BLOOD_HU
        seen = self._seen(gap, level, radius) if shown else None
        if seen is not None:
            way, share = seen, self._measured(seen, level, radius)
        else:
            if not gap.owner or gap.length_mm > _BLIND_MM:
                return False
            way = _cheapest(1.0 / (0.03 + self.lumen), gap.start, gap.goal)
            if self._along(gap.piece, way) < (_ALONG if gap.length_mm <= _NEAR_MM else _STRAIGHT):
                return False
            share = self._by_area(way, level, radius) if shown else self._tube(way, radius)
        number = self._own(gap.piece, gap.owner)
        self._fill(way, share.astype(np.float32), number)
        middle = to_world(way[len(way) // 2], self._pieces.affine)
        bridge = Bridge(middle, self._length(way), radius, seen is not None)
        self.bridges[number - 1].append(bridge)
        return True

    def _seen(self, gap: _Gap, blood: float, radius: float) -> Indices | None:
        """The way from lumen to lumen that the CT shows, ``(n, 3)``; None where it shows none."""
        more = _MORE_MM if gap.owner else _TO_AORTA_MM
        margin = round((0.5 * gap.length_mm + more) / self._edge) - 4
        box = _box(np.array([gap.start, gap.goal]), margin, self.owner.shape)
        hu = self._pieces.hu[box]
        full = np.clip((hu - TISSUE_HU) / (blood - TISSUE_HU), 0.0, 1.0)
        deep = ndimage.distance_transform_edt(full > WALL, sampling=self._edge)
        middle = full * np.minimum(deep / radius, _WIDER)  # a way keeps to the middle of a vessel
        cost = np.where(deep > _WIDER * radius + self._edge, -1.0, 1.0 / (0.02 + middle**2))
        here = self._pieces.labels[box] == gap.piece
        if gap.owner:
            there = self.owner[box] == gap.owner
        else:
            even = ndimage.gaussian_filter(full, _EVEN_VOXELS)
            self.aorta[box] |= with_wide_blood(self.aorta[box], even > WALL, self._edge)
            there = self.aorta[box]
        cost[here | there] = 1e-3
        way = _way(cost, gap.start - _low(box), gap.goal - _low(box))
        if way is None:
            return None
        first = int(np.flatnonzero(here[tuple(way.T)])[-1])
        last = first + int(np.flatnonzero(there[tuple(way[first:].T)])[0])
        between = full[tuple(way[first + 2 : last - 1].T)]  # the outermost voxels are not full
        way = way[first : last + 1] + _low(box)
        if between.min(initial=1.0) < WALL:
            return None
        length = self._length(way)
        if length > _LONGER * gap.length_mm + more:
            return None
        beside = gap.owner == 0 and length <= REACH_MM  # too short to have a direction
        return way if beside or self._along(gap.piece, way) >= _ALONG else None

    def _measured(self, way: Indices, blood: float, radius: float) -> npt.NDArray[np.floating]:
        """Shares in the way's box from the CT: between what is around (none) and blood (all).

        Beside calcium the CT does not tell: the lumen is as wide as it shows otherwise, but no thread.
        """
        off, box = self._off(way), self._near(way)
        hu, reach = self._pieces.hu[box], 1.5 * radius + self._edge
        tissue = self._tissue(way, blood, radius)
        share = np.clip((hu - tissue) / (blood - tissue), 0.0, 1.0)
        told = (off < reach) & ~self._pieces.calcium[box]
        smooth = ndimage.gaussian_filter(np.where(told, share, 0.0), _GRAIN_VOXELS)
        held = 0.5 + (_HELD * radius - off) / self._edge
        smooth = np.where(
            self._pieces.calcium[box], np.maximum(smooth, np.clip(held, 0, 1)), smooth
        )
        return np.where(self.aorta[box], 0.0, smooth)

    def _tube(self, way: Indices, radius: float) -> Singles:
        """Shares in the way's box of a tube about it."""
        share = np.clip(0.5 + (radius - self._off(way)) / self._edge, 0.0, 1.0)
        return np.asarray(share, dtype=np.float32)

    def _by_area(self, way: Indices, blood: float, radius: float) -> Singles:
        """Shares of a tube with the areas that the CT shows along the way: its blood, summed over sections.

        The sum does not depend on the blur, so it tells a throat that is too thin to be seen as a vessel. Half the
        radius of its ends at least, where calcium hides it; never more than theirs.
        """
        off, box = self._off(way), self._near(way)
        tissue, reach = self._tissue(way, blood, radius), 1.5 * radius + self._edge
        near = off < reach
        at = np.argwhere(near)
        step = np.asarray(cKDTree(way - _low(box)).query(at)[1])
        shown = np.clip((self._pieces.hu[box][near] - tissue) / (blood - tissue), 0.0, 1.0)
        hard = self._pieces.calcium[box][near]
        count = len(way)
        spacing = np.maximum(np.linalg.norm(np.gradient(way.astype(float), axis=0), axis=1), 0.5)
        area = np.bincount(step, np.where(hard, 0.0, shown), count) * self._edge**2 / spacing
        hidden = np.bincount(step, hard, count) > 0
        radii = np.sqrt(
            ndimage.gaussian_filter1d(area, _EVEN_MM / self._edge, mode="nearest") / np.pi
        )
        radii = np.clip(
            np.where(hidden, np.maximum(radii, _HELD * radius), radii), _THREAD_MM, radius
        )
        share = np.zeros(off.shape, np.float32)
        share[near] = np.clip(0.5 + (radii[step] - off[near]) / self._edge, 0.0, 1.0)
        return share

    def _tissue(self, way: Indices, blood: float, radius: float) -> float:
        """Attenuation of what is around a way [HU]."""
        off, hu = self._off(way), self._pieces.hu[self._near(way)]
        reach = 1.5 * radius + self._edge
        around = hu[(off > reach) & (off < reach + 1.5) & (hu < 0.5 * (blood + TISSUE_HU))]
        return float(np.median(around)) if len(around) else TISSUE_HU

    def _along(self, piece: int, way: Indices) -> float:
        """Cosine between a piece's axis at its end and the way that leaves it."""
        at = self._loose[piece].at
        near = at[np.linalg.norm(at - way[0], axis=1) * self._edge < _NEAR_MM]
        out = way[min(len(way) - 1, round(_NEAR_MM / self._edge))] - way[0]
        axis = way[0] - near.mean(axis=0)
        size = float(np.linalg.norm(axis) * np.linalg.norm(out))
        return float(axis @ out) / size if size > 0 else 0.0

    def _blood(self, at: Indices, whose: npt.NDArray[np.integer], number: int) -> float:
        """Attenuation in the middle of a piece or tree near one of its outermost voxels [HU]."""
        box = _box(at[None], round(4.0 / self._edge), self.owner.shape)
        depth = _told(
            np.where(whose[box] == number, self._depth[box], 0.0), self._pieces.calcium[box]
        )
        return float(np.median(self._pieces.hu[box][depth >= 0.7 * depth.max()]))

    def _radius(self, at: Indices) -> float:
        """Of the lumen near one of its outermost voxels: the deepest place within 2 mm."""
        box = _box(at[None], max(int(2.0 / self._edge), 1), self.owner.shape)
        return float(self._depth[box].max())

    def _length(self, way: Indices) -> float:
        return float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum()) * self._edge

    def _near(self, way: Indices) -> Box:
        return _box(way, round(5.0 / self._edge), self.owner.shape)

    def _off(self, way: Indices) -> npt.NDArray[np.floating]:
        """Distance to the way [mm] in its box."""
        box = self._near(way)
        line = np.ones([part.stop - part.start for part in box], np.bool_)
        line[tuple((way - _low(box)).T)] = False
        return np.asarray(ndimage.distance_transform_edt(line, sampling=self._edge))

    def _fill(self, way: Indices, share: Singles, number: int) -> None:
        box = self._near(way)
        self.lumen[box] = np.maximum(self.lumen[box], share)
        self.owner[box][(share > WALL) & (self.owner[box] == 0)] = number


def _told(depth: Singles, calcium: Mask) -> Singles:
    """Depths where the CT tells the blood's attenuation: not beside calcium, if there is any other place."""
    clear = np.where(calcium, np.float32(0), depth)
    return clear if clear.any() else depth


def to_world(index: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Point:
    """Of a voxel [mm]."""
    x, y, z = affine[:3, :3] @ index + affine[:3, 3]
    return float(x), float(y), float(z)


def _box(points: npt.NDArray[Any], margin: int, shape: tuple[int, ...]) -> Box:
    """Around voxels ``(n, 3)``."""
    low = np.maximum(points.min(axis=0) - margin, 0)
    high = np.minimum(points.max(axis=0) + margin + 1, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _low(box: Box) -> Indices:
    return np.array([part.start for part in box], np.intp)


def _cheapest(cost: npt.NDArray[np.floating], start: Indices, goal: Indices) -> Indices:
    """The way near the straight one that costs least, ``(n, 3)``; all voxels can be passed."""
    box = _box(np.array([start, goal]), 6, cost.shape)
    way = _way(cost[box], start - _low(box), goal - _low(box))
    assert way is not None
    return way + _low(box)


def _way(cost: npt.NDArray[np.floating], start: Indices, goal: Indices) -> Indices | None:
    """The cheapest way, ``(n, 3)``; None where there is none (negative costs cannot be passed)."""
    search = MCP_Geometric(cost)
    sums, _ = search.find_costs([start], [goal])
    if not np.isfinite(sums[tuple(goal)]):
        return None
    return np.array(search.traceback(goal), np.intp)
