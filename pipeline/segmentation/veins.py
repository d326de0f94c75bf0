"""Veins that the network took for coronary arteries: vessels that are darker than the scan's arteries of their width.

Contrast medium comes back thinned, or not yet. A thin artery looks dark as well, because the scanner blurs it: the
middle of a cylinder of radius r through a Gaussian of deviation s shows ``1 - exp(-r^2 / 2 s^2)`` of its contrast. So a
middle's contrast is told against what blood like the aorta's would show there; s is the scan's own, such that three of
four middles show at most `_USUAL` of that (arteries lose some on their way). On test scans of another generator
(900004, 900005) that is above 0.67 and 0.75 in nineteen of twenty middles of arteries, in veins that were taken for
arteries mostly below 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.segmentation.bridging import TISSUE_HU, Box, Mask, Pieces, Point, to_world

_WIDE_MM = 0.7  # depth of a vessel's middle from which its attenuation tells
_MIDDLE_MM = 0.4  # least depth of a middle
_SKIN_MM = 0.1  # a radius is so much more than the depth on voxels
_BLURS_MM, _USUAL_BLUR_MM = (
    (0.45, 0.85),
    0.57,
)  # what deviations are believed; where too little is there to tell
_USUAL, _TELLING = 0.93, 20  # see the module; so many middles tell the deviation
_VESSELS = (0.2, 1.3)  # of the aorta's contrast: darker is noise, brighter bone
_DARK, _NEAR_MM = 0.62, 3.0  # darker in the median of the middles so near, a vessel is a vein
_LONG_MM = 8.0  # a shorter dark stretch is a fault of the image
_SURELY, _LONGER_MM = 0.5, 12.0  # a vein that is not so dark must be so long: ends of arteries fade
_SAME_MM = 4.0  # middles so near to each other are of one stretch
_GRAIN_VOXELS = 0.7  # noise that is taken out of the CT

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Vein:
    """A stretch that was taken out.

    Attributes:
        middle_mm: Where, LPS.
        length_mm: From end to end.
        contrast: Over that of an artery as wide.
    """

    middle_mm: Point
    length_mm: float
    contrast: float


@dataclass(frozen=True, slots=True)
class _Middles:
    """Of one piece.

    Attributes:
        box: Where the piece lies.
        mine: Its voxels, in the box.
        every: All middles, in the box.
        wide: The wide ones, ``(n, 3)``.
        contrast: Over the aorta's, ``(n,)``.
        radius: Of the vessel there [mm], ``(n,)``.
    """

    box: Box
    mine: Mask
    every: Mask
    wide: npt.NDArray[np.intp]
    contrast: Floats
    radius: Floats


def find_veins(pieces: Pieces, aorta_hu: float) -> tuple[Mask, list[Vein]]:
    """Voxels of pieces that lie in veins, and what is known of those.

    Args:
        pieces: Of what is likely lumen.
        aorta_hu: Of the aorta's blood.
    """
    mask, found = np.zeros(pieces.labels.shape, np.bool_), list[Vein]()
    if aorta_hu <= TISSUE_HU:
        return mask, found
    parts = [
        _middles(pieces, number, box, aorta_hu)
        for number, box in enumerate(ndimage.find_objects(pieces.labels), start=1)
        if box is not None and _extent(box) * pieces.edge_mm >= _LONG_MM
    ]
    blur = _blur(parts)
    for part in parts:
        veins, told = _veins_of(part, pieces, blur)
        mask[part.box] |= veins
        found += told
    return mask, found


def _extent(box: Box) -> float:
    return float(np.linalg.norm([part.stop - part.start for part in box]))


def _middles(pieces: Pieces, number: int, box: Box, aorta_hu: float) -> _Middles:
    mine = pieces.labels[box] == number
    depth = np.where(mine, pieces.depth[box], 0.0)
    middle = mine & (depth == ndimage.maximum_filter(depth, 5)) & (depth >= _MIDDLE_MM)
    wide = np.argwhere(middle & (depth >= _WIDE_MM))
    smooth = ndimage.gaussian_filter(pieces.hu[box], _GRAIN_VOXELS)
    contrast = (smooth[tuple(wide.T)] - TISSUE_HU) / (aorta_hu - TISSUE_HU)
    return _Middles(box, mine, middle, wide, contrast, depth[tuple(wide.T)] + _SKIN_MM)


def _shown(radius: Floats, blur: float) -> Floats:
    """Part of its contrast that the middle of a vessel shows."""
    return np.asarray(-np.expm1(-0.5 * (radius / blur) ** 2))


def _blur(parts: list[_Middles]) -> float:
    """The scan's deviation [mm]."""
    contrast = np.concatenate([part.contrast for part in parts] or [np.empty(0)])
    radius = np.concatenate([part.radius for part in parts] or [np.empty(0)])
    vessel = (contrast > _VESSELS[0]) & (contrast < _VESSELS[1])
    if vessel.sum() < _TELLING:
        return _USUAL_BLUR_MM

    def off(blur: float) -> float:
        return float(np.percentile(contrast[vessel] / _shown(radius[vessel], blur), 75)) - _USUAL

    low, high = _BLURS_MM
    if off(low) >= 0 or off(high) <= 0:
        return low if off(low) >= 0 else high
    return float(brentq(off, low, high, xtol=1e-3))


def _veins_of(part: _Middles, pieces: Pieces, blur: float) -> tuple[Mask, list[Vein]]:
    """Of one piece, in its box."""
    none = np.zeros(part.mine.shape, np.bool_)
    if len(part.wide) == 0:
        return none, []
    edge, own = pieces.edge_mm, part.contrast / _shown(part.radius, blur)
    near = cKDTree(part.wide * edge).query_ball_point(part.wide * edge, _NEAR_MM)
    contrast = np.array([np.median(own[k]) for k in near])
    dark, contrast = part.wide[contrast < _DARK], contrast[contrast < _DARK]
    there, found = none.copy(), list[Vein]()
    low = np.array([one.start for one in part.box])
    for group in _groups(dark * edge):
        at = dark[group]
        length = float(np.linalg.norm(np.ptp(at, axis=0))) * edge
        surely = float(np.median(contrast[group])) < _SURELY
        if length >= (_LONG_MM if surely else _LONGER_MM):
            there[tuple(at.T)] = True
            place = to_world(at[len(at) // 2] + low, pieces.affine)
            found.append(Vein(place, length, float(np.median(contrast[group]))))
    if not found:
        return none, found
    nearest = ndimage.distance_transform_edt(
        ~part.every, return_distances=False, return_indices=True
    )
    return part.mine & there[tuple(nearest)], found


def _groups(points: Floats) -> list[npt.NDArray[np.intp]]:
    """Indices of points that hang together."""
    if len(points) == 0:
        return []
    tree = cKDTree(points)
    label = connected_components(tree.sparse_distance_matrix(tree, _SAME_MM), directed=False)[1]
    return [np.flatnonzero(label == k) for k in range(int(label.max()) + 1)]
