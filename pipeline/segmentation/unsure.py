"""Where the network is unsure: what may be lumen becomes it where it joins pieces, as wide as the CT shows the blood.

A stretch of low probabilities between two sure pieces is a vessel, but its width is not the network's: through plaque
or a left main wider than it knows it would be a thread. What is as bright as the aorta's blood around such a stretch is
lumen then, unless it is calcium or part of something wider than a coronary. A true throat shows less than half of the
blood's contrast and stays as narrow as the network sees it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.segmentation.bridging import LEAST_MM3, TISSUE_HU, WALL, Mask, Singles

FULL = np.ones((3, 3, 3), np.bool_)
_WEAK = 0.2  # connected to what is surely lumen, it may be lumen
_AROUND_MM = 1.6  # from a stretch, blood counts
_WIDE_MM = 3.0  # depth of blood that is no coronary's
_CALCIUM = 0.2
_BLOOD = 0.8  # of the aorta's contrast: so bright is no plaque
_BRIGHTER = 1.5  # of the aorta's contrast: more than noise and a fast scan's uneven contrast give
_GRAIN_VOXELS = 0.6  # noise that is taken out of the CT


def with_bright_wall(
    lumen: Singles, wall: Singles, hu: Singles, calcium: Mask, aorta_hu: float
) -> Singles:
    """The lumen's probabilities with those of what is called plaque, but is as bright as blood and no calcium.

    Nothing changes where the CT has half the blood's contrast or less: at the wall, and in a throat that blurs.

    Args:
        lumen: Probabilities.
        wall: Those of wall and plaque.
        hu: The CT.
        calcium: Where there may be some.
        aorta_hu: Of the aorta's blood.
    """
    if aorta_hu <= TISSUE_HU:
        return lumen
    smooth = ndimage.gaussian_filter(hu, _GRAIN_VOXELS)
    share = (smooth - TISSUE_HU) / (aorta_hu - TISSUE_HU)
    blood = np.clip((share - WALL) / (_BLOOD - WALL), 0.0, 1.0)
    out: Singles = np.minimum(lumen + np.where(calcium, 0.0, wall * blood), 1.0).astype(np.float32)
    return out


def raised(lumen: Singles, voxel_mm3: float) -> tuple[Singles, Mask]:
    """Stretches of what may be lumen, beyond what surely is, become lumen where they join pieces or are long.

    The skin of sure lumen stays as it is, and small growths on it are none.

    Returns:
        The lumen, and where stretches join pieces.
    """
    sure = lumen > WALL
    grown = _grown_from(sure, lumen > _WEAK)
    stretches, count = ndimage.label(grown & ~ndimage.binary_dilation(sure, FULL), FULL)
    if count == 0:
        return lumen, np.zeros(lumen.shape, np.bool_)
    joins = joining(stretches, count, sure)
    long = np.bincount(stretches.ravel())[1:] * voxel_mm3 >= LEAST_MM3
    kept = np.concatenate([[False], joins | long])[stretches]
    more = grown & ndimage.binary_dilation(kept, FULL)
    out = np.where(more, np.minimum(lumen + np.float32(WALL - _WEAK), 1.0), lumen)
    return out, np.concatenate([[False], joins])[stretches]


def widened(
    lumen: Singles, stretches: Mask, hu: Singles, calcium: Mask, aorta_hu: float, edge_mm: float
) -> Singles:
    """The lumen with the blood that the CT shows around stretches.

    Args:
        lumen: Shares or probabilities.
        stretches: Where the network is unsure.
        hu: The CT.
        calcium: Where there may be some.
        aorta_hu: Of the aorta's blood.
        edge_mm: Of the voxels, cubes.
    """
    if aorta_hu <= TISSUE_HU:
        return lumen
    labels, _ = ndimage.label(ndimage.binary_dilation(stretches, FULL), FULL)
    margin, out = round((2 * _WIDE_MM + _AROUND_MM) / edge_mm) + 2, lumen.copy()
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        box = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        off = ndimage.distance_transform_edt(
            ~(stretches[box] & (labels[box] == number)), sampling=edge_mm
        )
        smooth = ndimage.gaussian_filter(hu[box], _GRAIN_VOXELS)
        share = np.clip((smooth - TISSUE_HU) / (aorta_hu - TISSUE_HU), 0.0, 1.0)
        deep = ndimage.distance_transform_edt(share > WALL, sampling=edge_mm) > _WIDE_MM
        counts = (off <= _AROUND_MM) & ~calcium[box]
        if deep.any():
            away = ndimage.distance_transform_edt(~deep, sampling=edge_mm)
            counts &= away > _WIDE_MM + edge_mm
        out[box] = np.where(counts, np.maximum(out[box], share), out[box])
    return out


def brighter_than_blood(hu: Singles, aorta_hu: float) -> Mask:
    """Where the CT is so much brighter than the aorta that it is no blood, whatever the network says.

    Args:
        hu: The CT.
        aorta_hu: Of the aorta's blood.
    """
    if aorta_hu <= TISSUE_HU:
        return np.zeros(hu.shape, np.bool_)
    smooth = ndimage.gaussian_filter(hu, _GRAIN_VOXELS)
    return np.asarray(smooth - TISSUE_HU > _BRIGHTER * (aorta_hu - TISSUE_HU))


def calcium_near(probability: npt.NDArray[np.floating]) -> Mask:
    """Where there may be calcium, and the voxels around."""
    return np.asarray(ndimage.binary_dilation(probability > _CALCIUM, FULL))


def joining(parts: npt.NDArray[np.int32], count: int, body: Mask) -> Mask:
    """Which of numbered parts reach two pieces of a body, ``(count,)``."""
    pieces, last = ndimage.label(body, FULL)
    most = ndimage.maximum_filter(pieces, 5)
    least = ndimage.minimum_filter(np.where(body, pieces, last + 1), 5)
    at, numbers = np.flatnonzero(parts), np.arange(1, count + 1)
    part = parts.ravel()[at]
    highest = ndimage.maximum(most.ravel()[at], part, numbers)
    return np.asarray(highest > ndimage.minimum(least.ravel()[at], part, numbers))


def _grown_from(sure: Mask, weak: Mask) -> Mask:
    """Hysteresis: the parts of ``weak`` that touch ``sure``."""
    pieces, count = ndimage.label(weak, FULL)
    kept = np.zeros(count + 1, np.bool_)
    kept[np.unique(pieces[sure])] = True
    kept[0] = False
    return kept[pieces]
