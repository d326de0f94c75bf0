"""The aorta told from the arteries that leave it: it is where a ball wider than any coronary can roll.

Networks disagree with the eye about where a left main begins, by millimetres either way, where the root looks unlike
those they know. Width does not: what is called aorta but is as narrow as a coronary is a trunk, and blood beside the
aorta that is wider than a coronary is aorta.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
_TOUCHING = np.ones((3, 3, 3), np.bool_)
_BALL_MM = 4.0  # radius; a coronary of 5 mm holds none, and keeps all but its first millimetre
_LARGEST_MM3 = 300.0  # a trunk 5.6 mm wide and 12 mm long
_SLIVER_MM = 0.8  # thinner remains of an aorta's rough rim are no trunk


def rolled(mask: Mask, edge_mm: float, ball_mm: float = _BALL_MM) -> Mask:
    """The part of a mask, its holes filled, that balls inside it cover; beyond the array it goes on as at its edge.

    Args:
        mask: On cubes.
        edge_mm: Of a voxel.
        ball_mm: Radius.
    """
    out = np.zeros_like(mask)
    pad = int(np.ceil(ball_mm / edge_mm)) + 2
    parts, _ = ndimage.label(mask, _TOUCHING)
    for number, tight in enumerate(ndimage.find_objects(parts), start=1):
        assert tight is not None
        box = tuple(slice(max(part.start - pad, 0), part.stop + pad) for part in tight)
        wider = np.pad(ndimage.binary_fill_holes(parts[box] == number), pad, mode="edge")
        core = ndimage.distance_transform_edt(wider, sampling=edge_mm) > ball_mm
        if core.any():
            near = ndimage.distance_transform_edt(~core, sampling=edge_mm) <= ball_mm
            out[box] |= (near & wider)[(slice(pad, -pad),) * 3]
    return out


def trunks(called: Mask, aorta: Mask, lumen: Mask, edge_mm: float) -> Mask:
    """What is called aorta, leaves it as narrow and short as a trunk, and goes on as a coronary.

    Args:
        called: What the network calls aorta.
        aorta: Its wide part (`rolled`).
        lumen: What it calls coronary lumen.
        edge_mm: Of a voxel.
    """
    narrow = rolled(called & ~aorta, edge_mm, _SLIVER_MM)
    parts, count = ndimage.label(narrow, _TOUCHING)
    if count == 0:
        return narrow
    good = np.bincount(parts.ravel()) * edge_mm**3 <= _LARGEST_MM3
    for other in (aorta, lumen):
        good &= np.isin(
            np.arange(count + 1), parts[ndimage.binary_dilation(other, _TOUCHING) & narrow]
        )
    good[0] = False
    return np.asarray(good[parts])


def with_wide_blood(aorta: Mask, blood: Mask, edge_mm: float) -> Mask:
    """The aorta and the wide blood that hangs on it.

    Args:
        aorta: Its voxels.
        blood: What is as bright.
        edge_mm: Of a voxel.
    """
    parts, _ = ndimage.label(rolled(blood | aorta, edge_mm) | aorta, _TOUCHING)
    mine = np.unique(parts[aorta])
    return np.isin(parts, mine[mine > 0])
