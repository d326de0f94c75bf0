"""Probabilities to trees: what hangs on the aorta is kept, gaps are bridged, strays are dropped, sides are told."""

import numpy as np
import pytest

from meshing.errors import ComputationError
from pipeline.segmentation.predict import Probabilities
from pipeline.segmentation.trees import coronary_trees

H = 0.5
SHAPE = (120, 80, 60)
AFFINE = np.diag([H, H, H, 1.0])
X = (np.indices(SHAPE).reshape(3, -1).T * H).reshape(*SHAPE, 3)  # LPS [mm]


def ball(centre, radius):
    return np.linalg.norm(X - centre, axis=-1) < radius


def rod(a, b, radius):
    a, b = np.array(a, float), np.array(b, float)
    t = np.clip((X - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(X - a - t[..., None] * (b - a), axis=-1) < radius


AORTA = ball([30, 20, 15], 9)
LEFT = rod([40, 20, 15], [57, 25, 20], 1.5)
RIGHT = rod([20, 20, 15], [3, 20, 15], 1.2)


def found(lumen, aorta=AORTA, weak=0.0):
    values = np.zeros((3, *SHAPE), np.float16)
    values[0] = np.where(lumen, 0.95, weak)
    values[1] = np.where(aorta, 0.98, 0.01)
    return Probabilities(values, ("lumen", "aorta", "calcium"), AFFINE, np.zeros(SHAPE, np.float32))


def test_left_and_right():
    left, right = coronary_trees(found(LEFT | RIGHT))
    assert (left.side, right.side) == ("left", "right")
    assert (left.mask == LEFT).all()
    assert (right.mask == RIGHT).all()
    assert left.volume_mm3 == pytest.approx(LEFT.sum() * H**3)
    assert left.ostium[0] == pytest.approx(39.5, abs=1.0)
    assert left.bridges == right.bridges == 0


def test_a_gap_is_bridged_along_what_is_likely():
    cut = LEFT & ~((X[..., 0] > 46) & (X[..., 0] < 49.5))
    (tree,) = coronary_trees(found(cut))
    assert tree.bridges == 1
    assert tree.mask[cut].all()
    from scipy.ndimage import label

    assert label(tree.mask, np.ones((3, 3, 3)))[1] == 1
    added = np.argwhere(tree.mask & ~cut) * H
    assert len(added) >= 5
    assert np.abs(added - [47.5, 22.2, 17.2]).max() < 4.0


def test_far_and_small_pieces_are_dropped():
    stray, speck = rod([40, 36, 25], [50, 36, 25], 1.5), ball([50, 30, 15], 0.8)
    (tree,) = coronary_trees(found(LEFT | stray | speck))
    assert not (tree.mask & (stray | speck)).any()


def test_weak_lumen_counts_where_it_touches_sure_lumen():
    values = found(LEFT & (X[..., 0] < 50))
    values.values[0][LEFT & (X[..., 0] >= 50)] = 0.3
    (tree,) = coronary_trees(values)
    assert (tree.mask == LEFT).all()


def test_nothing_is_invented():
    with pytest.raises(ComputationError, match="no aorta"):
        coronary_trees(found(LEFT, aorta=ball([30, 20, 15], 3)))
    with pytest.raises(ComputationError, match="no coronary artery leaves the aorta"):
        coronary_trees(found(rod([45, 36, 25], [55, 36, 25], 1.5)))
    with pytest.raises(ComputationError, match="no coronary artery leaves the aorta"):
        coronary_trees(found(np.zeros(SHAPE, bool)))
