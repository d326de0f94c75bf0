"""The classical way, as a baseline: vesselness, a threshold, what hangs on the aorta, and a level set.

References:
    Frangi et al. (1998), MICCAI, LNCS 1496, 130-137, https://doi.org/10.1007/BFb0056195 (vesselness);
    Marquez-Neila, Baumela & Alvarez (2014), IEEE TPAMI 36, 2-17, https://doi.org/10.1109/TPAMI.2013.106
    (morphological level sets; scikit-image's, without edges).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import morphological_chan_vese

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
SCALES_MM = (0.6, 0.9, 1.3, 1.8)
_ALPHA, _BETA = 0.5, 0.5
_LEAST, _HYSTERESIS = 0.05, 0.2
_MARGIN_MM = 1.6
_ROUNDS = 8
_COARSE_MM = 3.2


def vesselness(hu: Field, voxel_mm: float) -> Field:
    """Frangi's measure of bright tubes, the largest over the scales, 0 to 1."""
    clipped = np.clip(hu, -150, 700).astype(np.float32)
    best = np.zeros(hu.shape, np.float32)
    for scale in SCALES_MM:
        sigma = scale / voxel_mm
        best = np.maximum(best, _one_scale(ndimage.gaussian_filter(clipped, sigma), sigma))
    return best


def _one_scale(smooth: Field, sigma: float) -> Field:
    """Slab by slab: the Hessian's eigenvalues of a whole scan would not fit."""
    out = np.zeros(smooth.shape, np.float32)
    for first in range(0, smooth.shape[2], 24):
        low, high = max(first - 3, 0), min(first + 27, smooth.shape[2])
        part = smooth[:, :, low:high]
        slopes = np.gradient(part)
        hessian = np.empty((*part.shape, 3, 3), np.float32)
        for i in range(3):
            for j, second in enumerate(np.gradient(slopes[i])):
                hessian[..., i, j] = second
        values = np.linalg.eigvalsh(hessian * sigma**2)
        order = np.argsort(np.abs(values), axis=-1)
        a, b, c = np.moveaxis(np.take_along_axis(values, order, axis=-1), -1, 0)
        tube = np.exp(-((np.abs(a) / np.sqrt(np.abs(b * c) + 1e-6)) ** 2) / (2 * _BETA**2))
        plate = 1 - np.exp(-((np.abs(b) / (np.abs(c) + 1e-6)) ** 2) / (2 * _ALPHA**2))
        size = 1 - np.exp(-(a**2 + b**2 + c**2) / (2 * 60.0**2))
        made = np.where((b < 0) & (c < 0), tube * plate * size, 0.0)
        out[:, :, first : min(first + 24, smooth.shape[2])] = made[
            :, :, first - low : first - low + min(24, smooth.shape[2] - first)
        ]
    return out


def segment(hu: Field, voxel_mm: float, aorta: Mask) -> Mask:
    """Coronary lumen: bright tubes that hang on a given aorta, their walls by a level set.

    Args:
        hu: On cubes.
        voxel_mm: Their edge.
        aorta: The true one: finding it is no part of this baseline.
    """
    blood = float(np.median(hu[aorta]))
    tubes = vesselness(hu, voxel_mm)
    bright = (hu > 0.45 * blood) & ~aorta & ~_bulky(hu > 0.3 * blood, voxel_mm)
    strong = (tubes > _HYSTERESIS) & bright
    near = ndimage.binary_dilation(aorta, iterations=round(4.0 / voxel_mm))
    pieces, _ = ndimage.label((tubes > _LEAST) & bright, np.ones((3, 3, 3)))
    kept = np.intersect1d(np.unique(pieces[strong]), np.unique(pieces[near & (pieces > 0)]))
    mask = np.isin(pieces, kept[kept > 0])
    return _level_set(hu, mask, blood, voxel_mm) & ~aorta


def _bulky(bright: Mask, voxel_mm: float) -> Mask:
    """What is bright and holds a ball larger than any coronary: cavities, and a millimetre around them."""
    deep = ndimage.distance_transform_edt(bright, sampling=voxel_mm) > _COARSE_MM
    away = ndimage.distance_transform_edt(~deep, sampling=voxel_mm)
    return np.asarray(away < _COARSE_MM + 1.0)


def _level_set(hu: Field, mask: Mask, blood: float, voxel_mm: float) -> Mask:
    """A level set without edges within a margin about the mask."""
    if not mask.any():
        return mask
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    reach = round(_MARGIN_MM / voxel_mm)
    box = tuple(slice(max(s.start - 2 * reach, 0), s.stop + 2 * reach) for s in box)
    margin = ndimage.binary_dilation(mask[box], iterations=reach)
    value = np.where(margin, np.clip(hu[box] / blood, -0.2, 1.0), 0.1)
    grown = morphological_chan_vese(value, _ROUNDS, init_level_set=mask[box], smoothing=1)
    out = np.zeros_like(mask)
    out[box] = grown.astype(bool) & margin & (hu[box] > 0.35 * blood)
    return out
