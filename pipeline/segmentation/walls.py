"""Walls along a vessel, told by the wall network.

The CT is straightened along a middle, the network says how much of each pixel is lumen, and the level is taken at
which a section has the area that these shares add up to: where the network is unsure, as in a throat, its
probabilities are low and wide, and their half would be a thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.imaging import Volume
from pipeline.segmentation.middles import smoothed
from pipeline.segmentation.network import half_precision
from pipeline.segmentation.strips import ACROSS, PIXEL_MM, STEP_MM, Array, Singles, Strip, offsets
from pipeline.segmentation.wall_network import WallModel, inputs_of
from pipeline.segmentation.wall_samples import SECTIONS

_BEYOND = 12  # sections that the network sees behind both ends of a line
_REACH, _REACH_MM = 1.25, 0.5  # so far from its middle, in radii and more, blood is a section's own
_ROUNDS, _EVEN_CENTRES = 4, 2.0  # of finding that; sections, Gaussian
_EVEN_AREAS, _EVEN_WALLS = 1.0, 0.7  # sections, Gaussian
_VIEWS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (0, 1))  # mirrored along these axes
_SPECK = 0.3  # of the section's largest part
_TIE = 1e-5  # of probability, a square millimetre
_FINER = 4  # pixels in a pixel where the wall is looked for
_HALF_MM = PIXEL_MM / 2  # of those that its distance is kept on
_ABOUT = 15  # sections: a throat's surroundings
LEAST_MM2 = 0.10  # of a lumen's section
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Wall:
    """The lumen along a line.

    Attributes:
        strip: Its sections.
        distance: To the wall in the sections [mm], negative inside, on half pixels, ``(n, 2 ACROSS, 2 ACROSS)``.
        radius: Of a disc of each section's area [mm], ``(n,)``.
        centre: Of the lumen in the sections' axes [mm], ``(n, 2)``.
        before: Radius that was believed before [mm], ``(n,)``: what lay inside is told anew.
    """

    strip: Strip
    distance: Singles
    radius: Array
    centre: Array
    before: Array

    @property
    def middles(self) -> Array:
        """Of the lumen, LPS [mm], ``(n, 3)``."""
        off = np.einsum("ni,nij->nj", self.centre, self.strip.frames)
        return np.asarray(self.strip.middles + off)

    def at(self, points: Array) -> Told:
        """What the wall is about points, LPS [mm] ``(m, 3)``."""
        middles, frames = self.strip.middles, self.strip.frames
        reach = 0.5 * ACROSS * PIXEL_MM
        nearest = np.asarray(cKDTree(middles).query(points, distance_upper_bound=reach)[1])
        which = np.flatnonzero(nearest < len(middles))
        k, points = nearest[which], points[which]
        tangents = np.gradient(middles, axis=0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        place = k + np.einsum("ni,ni->n", points - middles[k], tangents[k]) / STEP_MM
        held = (place > -0.75) & (place < len(middles) - 0.25)
        which, points, place = which[held], points[held], place[held]
        place = np.clip(place, 0, len(middles) - 1)
        arm = points - _between(middles, place)
        x, y = (np.einsum("ni,ni->n", arm, _between(frames[:, axis], place)) for axis in range(2))
        pixels = [place, *(v / _HALF_MM + ACROSS - 0.5 for v in (x, y))]
        distance = ndimage.map_coordinates(self.distance, pixels, order=1, mode="nearest")
        centre = _between(self.centre, place)
        away = np.hypot(x - centre[:, 0], y - centre[:, 1])
        wide = ndimage.maximum_filter1d(np.maximum(self.radius, self.before), _ABOUT)
        widest = _REACH * wide + _REACH_MM
        radius, reach = (
            np.interp(place, np.arange(len(middles)), v) for v in (self.radius, widest)
        )
        return Told(which, np.asarray(distance, np.float64), away, radius, reach)


@dataclass(frozen=True, slots=True)
class Told:
    """Walls about points.

    Attributes:
        which: Of the points are told, ``(m,)``; the others have ``(m,)`` as well.
        distance: To the wall [mm], negative inside.
        away: From the middle of the section they lie in [mm].
        radius: Of that section [mm].
        reach: So far from its middle the wall is known: of a throat as far as the vessel beside it is wide [mm].
    """

    which: Places
    distance: Array
    away: Array
    radius: Array
    reach: Array


def wall_along(line: Array, ct: Volume, model: WallModel, blood_hu: float) -> Wall:
    """The wall about a line, which is put into the lumen's own middle once.

    Args:
        line: Roughly in a vessel's middle, evenly spaced points LPS [mm], ``(n, 3)``, n >= 4.
        ct: Hounsfield units.
        model: The network.
        blood_hu: Of the aorta.
    """
    first = _wall(line, ct, model, blood_hu)
    return _wall(smoothed(first.middles), ct, model, blood_hu)


def _wall(line: Array, ct: Volume, model: WallModel, blood_hu: float) -> Wall:
    more = max(_BEYOND, (SECTIONS - len(line)) // 2 + 1)
    long = Strip.along(_longer(line, more))
    p = _probability(long.image(ct), model, blood_hu)[more:-more]
    own, area, centre = _own(p)
    area = ndimage.gaussian_filter1d(area, _EVEN_AREAS, mode="nearest")
    distance = [_distance(p[k], own[k], float(area[k]), centre[k]) for k in range(len(line))]
    even = ndimage.gaussian_filter1d(np.array(distance), _EVEN_WALLS, axis=0, mode="nearest")
    strip = Strip(line, long.frames[more:-more])
    radius = np.sqrt(area / np.pi)
    return Wall(strip, even.astype(np.float32), radius, centre, np.zeros(len(line)))


def _longer(line: Array, more: int) -> Array:
    """A line that goes straight on behind its ends."""
    steps, near = np.arange(1, more + 1)[:, None], min(4, len(line)) - 1
    first, last = line[0] - line[near], line[-1] - line[-1 - near]
    first, last = (way * STEP_MM / np.linalg.norm(way) for way in (first, last))
    return np.concatenate([(line[0] + steps * first)[::-1], line, line[-1] + steps * last])


def _probability(hu: Singles, model: WallModel, blood_hu: float) -> Singles:
    """Of lumen in the pixels of sections, from windows of `SECTIONS` that overlap by half, the mean of `_VIEWS`."""
    n = len(hu)
    starts = sorted({*range(0, n - SECTIONS, SECTIONS // 2), n - SECTIONS})
    rising = np.arange(SECTIONS) + 1.0
    weight = np.minimum(rising, rising[::-1])[:, None, None]
    total, sums = np.zeros(hu.shape), np.zeros((n, 1, 1))
    with torch.inference_mode(), half_precision(torch.device("cpu")):
        for start in starts:
            here = slice(start, start + SECTIONS)
            for axes in _VIEWS:
                seen = torch.from_numpy(hu[here]).flip(axes)[None]
                logits = model.network(inputs_of(seen, torch.tensor([blood_hu])))[0, 0].float()
                total[here] += weight * torch.sigmoid(logits).flip(axes).numpy()
            sums[here] += len(_VIEWS) * weight
    return np.asarray(total / sums, dtype=np.float32)


def _own(p: Singles) -> tuple[Mask, Array, Array]:
    """Where the blood is a section's own, and its area [mm^2] and centre [mm]; found in turns."""
    at = offsets()
    x, y = at[:, None], at
    centre, radius = np.zeros((len(p), 2)), np.full(len(p), 1.5)
    for _ in range(_ROUNDS):
        away = np.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
        own = away < (_REACH * radius + _REACH_MM)[:, None, None]
        mine = np.where(own, p, 0.0)
        area = np.maximum(mine.sum(axis=(1, 2)) * PIXEL_MM**2, LEAST_MM2)
        sure = mine**2
        sums = np.maximum(sure.sum(axis=(1, 2)), 1e-6)
        middle = np.column_stack([(sure * v).sum(axis=(1, 2)) / sums for v in (x, y)])
        centre = ndimage.gaussian_filter1d(middle, _EVEN_CENTRES, axis=0, mode="nearest")
        radius = ndimage.gaussian_filter1d(np.sqrt(area / np.pi), _EVEN_CENTRES, mode="nearest")
    return own, area, centre


def _distance(p: Singles, own: Mask, area: float, centre: Array) -> Singles:
    """Distance to the wall [mm] of a section whose lumen has an area, ``(2 ACROSS, 2 ACROSS)``."""
    at = offsets()
    nearer = (at[:, None] - centre[0]) ** 2 + (at - centre[1]) ** 2  # of pixels alike the nearer
    fine = ndimage.zoom(p - _TIE * nearer, _FINER, order=1, mode="nearest", grid_mode=True)
    here = np.kron(own, np.ones((_FINER, _FINER), np.bool_))
    mine, pixel = fine[here], PIXEL_MM / _FINER
    count = min(max(round(area / pixel**2), 4), len(mine))
    inside = _without_specks(fine >= np.partition(mine, -count)[-count], here)
    off = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    distance = (off - 0.5 * np.sign(off)) * pixel
    many = _FINER // 2
    halves = distance.reshape(2 * ACROSS, many, 2 * ACROSS, many).mean(axis=(1, 3))
    return np.asarray(halves, dtype=np.float32)


def _without_specks(inside: Mask, own: Mask) -> Mask:
    """A section without what is small beside its own lumen, as noise and gaps in calcium are."""
    parts, count = ndimage.label(inside)
    sizes = np.bincount(parts[own], minlength=count + 1)
    sizes[0] = 0
    specks = (sizes > 0) & (sizes < _SPECK * sizes.max())
    return np.asarray(inside & ~specks[parts])


def _between(values: Array, place: Array) -> Array:
    """Rows ``(n, 3)`` at places between them."""
    k = np.minimum(place.astype(int), len(values) - 2)
    part = (place - k)[:, None]
    return np.asarray((1 - part) * values[k] + part * values[k + 1])
