"""Probabilities to trees: what hangs on the aorta is kept, gaps are bridged, strays are dropped, sides are told."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from meshing.errors import ComputationError
from pipeline.segmentation.predict import Probabilities
from pipeline.segmentation.trees import _pieces, coronary_trees

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


def found(lumen, aorta=AORTA, weak=0.0, hu=None):
    values = np.zeros((3, *SHAPE), np.float16)
    values[0] = np.where(lumen, 0.95, weak)
    values[1] = np.where(aorta, 0.98, 0.01)
    hu = np.zeros(SHAPE, np.float32) if hu is None else hu
    return Probabilities(values, ("lumen", "aorta", "calcium"), AFFINE, hu)


def ct(*vessels):
    """Blood of 400 HU in the vessels and the aorta, fat elsewhere; the walls are not sharp."""
    return gaussian_filter(
        np.where(np.any([AORTA, *vessels], axis=0), 400, -80).astype(np.float32), 0.7
    )


STEM = rod([38, 20, 15], [47, 20, 15], 1.2)
BEND = rod([47, 20, 15], [52, 24, 15], 1.2)
FAR = rod([52, 24, 15], [57, 38, 27], 1.2)


def test_a_long_gap_is_bridged_where_the_ct_shows_the_vessel():
    """Eight millimetres around a bend are not seen by the network; the CT gives the bridge its width."""
    vessel, unseen = STEM | BEND | FAR, ball([49.5, 22, 15], 3.9)
    coronaries = coronary_trees(found(vessel & ~unseen, hu=ct(vessel)))
    (tree,) = coronaries.trees
    (bridge,) = [one for one in tree.bridges if one.length_mm > 5]
    assert bridge.seen
    inside = vessel & unseen
    assert (coronaries.owner > 0)[inside].mean() > 0.8
    assert coronaries.shares[unseen].sum() == pytest.approx(inside.sum(), rel=0.15)
    with pytest.raises(ComputationError, match="no coronary artery"):  # the CT is dark in the gap
        coronary_trees(found(FAR, hu=ct(vessel & ~ball([49.5, 22, 15], 2.5))))


def test_a_tree_whose_first_centimetre_was_not_seen():
    vessel = STEM | BEND | FAR
    (tree,) = coronary_trees(found(FAR, hu=ct(vessel))).trees
    assert tree.side == "left"
    assert tree.bridges[0].seen
    assert tree.ostium_mm[0] == pytest.approx(39.5, abs=1.0)
    assert tree.volume_mm3 == pytest.approx((vessel & ~AORTA).sum() * H**3, rel=0.15)


def test_a_trunk_that_is_called_aorta_is_given_back():
    """The network calls the left main's first half centimetre aorta: too narrow for that, it is a coronary's."""
    called = AORTA | (LEFT & (X[..., 0] < 45))
    tree, *_ = coronary_trees(found(LEFT & ~called, called, hu=ct(LEFT))).trees
    assert tree.ostium_mm[0] == pytest.approx(39.5, abs=1.2)
    assert tree.volume_mm3 == pytest.approx((LEFT & ~AORTA).sum() * H**3, rel=0.15)
    assert not tree.bridges


def test_an_aorta_that_is_not_called_one_is_no_bridge():
    """A third of the aorta is not seen: what leaves it begins at its wall, not in its middle."""
    (tree,) = coronary_trees(found(LEFT & ~AORTA, AORTA & (X[..., 0] < 33), hu=ct(LEFT))).trees
    assert tree.ostium_mm[0] == pytest.approx(39.5, abs=1.2)
    assert tree.volume_mm3 == pytest.approx((LEFT & ~AORTA).sum() * H**3, rel=0.2)


def test_the_largest_tree_comes_first():
    """Though it was bridged to the aorta, and a smaller one had left it before."""
    short = RIGHT & (X[..., 0] > 12)
    trees = coronary_trees(found(FAR | short, hu=ct(STEM | BEND | FAR, RIGHT))).trees
    assert [tree.side for tree in trees] == ["left", "right"]
    assert trees[0].number == 2
    assert trees[0].volume_mm3 > trees[1].volume_mm3


def test_a_chamber_rim_is_no_artery():
    """Against blood on one side, near to the tree: not taken, however sure the network is."""
    chamber = ball([50, 40, 20], 12)
    rim = chamber & ~ball([50, 40, 20], 10) & (X[..., 1] < 33)
    hu = ct(LEFT, chamber)
    coronaries = coronary_trees(found(LEFT | rim, hu=hu))
    assert (coronaries.owner > 0)[LEFT].all()
    assert not (coronaries.owner > 0)[rim].any()


def test_the_aorta_beside_a_trunk_is_no_chamber():
    """A trunk that runs along the aorta and past a chamber is an artery; a rim on the aorta is none."""
    angle = np.radians(np.linspace(-60, 20, 12))
    bow = [(30 + 10.4 * np.cos(t), 20 + 10.4 * np.sin(t), 15) for t in angle]
    way = [*bow, (58, 38, 28)]
    trunk = np.any([rod(a, b, 1.2) for a, b in pairwise(way)], axis=0)
    chamber = ball([53, 28, 25], 5.6)
    trunk &= ~AORTA & ~chamber
    rim = ball([30, 20, 15], 11.5) & ~ball([30, 20, 15], 9.5) & (X[..., 0] < 28)
    none = np.zeros(SHAPE, bool)
    for lumen, artery in ((trunk, True), (rim, False)):
        hu = ct(lumen, chamber)
        pieces = _pieces(found(lumen, hu=hu), lumen.astype(np.float32), none)
        assert not pieces.arteries(none)
        assert bool(pieces.arteries(AORTA)) == artery
    coronaries = coronary_trees(found(trunk, hu=ct(trunk, chamber)))
    assert (coronaries.owner > 0)[trunk].mean() > 0.95


def test_the_aorta_is_what_arteries_leave():
    """A chamber that the network takes for a larger aorta; the arteries pass it."""
    chamber = ball([30, 62, 30], 14)
    values = found(LEFT | RIGHT, aorta=AORTA | chamber)
    trees = coronary_trees(values).trees
    assert {tree.side for tree in trees} == {"left", "right"}
    assert trees[0].ostium_mm[0] == pytest.approx(39.5, abs=1.0)


def test_left_and_right():
    coronaries = coronary_trees(found(LEFT | RIGHT))
    left, right = coronaries.trees
    assert (left.side, right.side) == ("left", "right")
    assert ((coronaries.owner == left.number) == LEFT).all()
    assert ((coronaries.owner == right.number) == RIGHT).all()
    assert left.volume_mm3 == pytest.approx(0.95 * LEFT.sum() * H**3, rel=1e-3)
    assert left.ostium_mm[0] == pytest.approx(39.5, abs=1.0)
    assert left.bridges == right.bridges == ()
    assert coronaries.shares == pytest.approx(np.where(LEFT | RIGHT, 0.95, 0), abs=1e-3)


def test_of_two_trees_one_is_left():
    """Both lie to the right of the root: the one farther left is the left one."""
    here, there = rod([24, 26, 15], [10, 38, 15], 1.5), rod([24, 14, 15], [4, 4, 15], 1.2)
    trees = coronary_trees(found(here | there)).trees
    assert [tree.side for tree in trees] == ["left", "right"]
    assert coronary_trees(found(there)).trees[0].side == "right"


def test_a_gap_is_bridged_as_wide_as_its_ends():
    cut = LEFT & ~((X[..., 0] > 46) & (X[..., 0] < 49.5))
    coronaries = coronary_trees(found(cut))
    (tree,) = coronaries.trees
    (bridge,) = tree.bridges
    assert 3.0 < bridge.length_mm < 5.5
    assert bridge.radius_mm == pytest.approx(1.5, abs=0.3)
    assert np.abs(np.array(bridge.middle_mm) - [47.75, 22.3, 17.3]).max() < 1.5
    mask = coronaries.owner == tree.number
    assert mask[cut].all()
    assert label(mask, np.ones((3, 3, 3)))[1] == 1
    middle = np.abs(X[..., 0] - 47.75) < 0.6
    wide = (mask & middle).sum() / (LEFT & middle).sum()
    assert wide == pytest.approx(1.0, abs=0.35)
    assert ((coronaries.shares > 0.5) == mask).all()


@pytest.mark.parametrize("radius", [0.75, 0.9])
def test_a_throat_thinner_than_the_blur_keeps_its_area(radius):
    """Less than half of the blood's contrast is left in it, but all of it in the sum over a section."""
    aorta, throat = ball([12, 20, 15], 9), rod([38, 20, 15], [45, 20, 15], radius)
    left, right = rod([18, 20, 15], [37, 20, 15], 1.5), rod([46, 20, 15], [57, 20, 15], 1.5)
    blood = np.any([aorta, left, throat, right], axis=0)
    hu = gaussian_filter(np.where(blood, 400, -80).astype(np.float32), 1.6)
    middle = (X[..., 0] > 40) & (X[..., 0] < 43)
    assert hu[middle].max() < 0.5 * (400 - 80)
    coronaries = coronary_trees(found((left | right) & ~aorta, aorta, hu=hu))
    (bridge,) = coronaries.trees[0].bridges
    assert not bridge.seen
    got = coronaries.shares[middle].sum()
    assert got == pytest.approx(throat[middle].sum(), rel=0.25)


def test_what_outshines_the_aorta_is_no_lumen():
    """A calcified plaque that the network takes for lumen; the vessel behind it is kept."""
    aorta, stone = ball([12, 20, 15], 9), rod([37, 20, 15], [43, 20, 15], 1.6)
    left, narrow = rod([18, 20, 15], [57, 20, 15], 1.5), rod([37, 20, 15], [43, 20, 15], 0.6)
    hu = gaussian_filter(np.where(aorta | left, 400, -80).astype(np.float32), 0.7)
    hu[stone & ~narrow] = 1200
    coronaries = coronary_trees(found((left | stone) & ~aorta, aorta, hu=hu))
    behind = left & (X[..., 0] > 46)
    assert (coronaries.owner > 0)[behind].mean() > 0.8
    inner = stone & (X[..., 0] > 38) & (X[..., 0] < 42)
    assert 0.05 * inner.sum() < coronaries.shares[inner].sum() < 0.5 * inner.sum()


def test_far_and_small_pieces_are_dropped():
    stray, speck = rod([40, 36, 25], [50, 36, 25], 1.5), ball([50, 30, 15], 0.8)
    coronaries = coronary_trees(found(LEFT | stray | speck))
    assert len(coronaries.trees) == 1
    assert not (coronaries.owner > 0)[stray | speck].any()
    assert not coronaries.shares[stray | speck].any()


def test_weak_lumen_counts_where_it_touches_sure_lumen():
    values = found(LEFT & (X[..., 0] < 50))
    values.values[0][LEFT & (X[..., 0] >= 50)] = 0.3
    coronaries = coronary_trees(values)
    assert ((coronaries.owner == 1) == LEFT).all()


def test_nothing_is_invented():
    with pytest.raises(ComputationError, match="no aorta"):
        coronary_trees(found(LEFT, aorta=ball([30, 20, 15], 3)))
    with pytest.raises(ComputationError, match="no coronary artery leaves the aorta"):
        coronary_trees(found(rod([45, 36, 25], [55, 36, 25], 1.5)))
    with pytest.raises(ComputationError, match="no coronary artery leaves the aorta"):
        coronary_trees(found(np.zeros(SHAPE, bool)))


VEIN = rod([50, 26.6, 18], [50, 5, 25], 1.6)  # its wall touches the left tree's


def scan_with_a_vein(hu):
    dark = gaussian_filter(np.where(VEIN, hu + 80.0, 0).astype(np.float32), 0.7)
    return np.maximum(ct(LEFT), dark - 80)


def test_a_vein_that_touches_an_artery_is_left_out():
    """The network takes both for one vessel; the vein has two fifths of the aorta's contrast."""
    told = coronary_trees(found(LEFT | VEIN, hu=scan_with_a_vein(180)))
    (vein,) = told.veins
    assert vein.length_mm == pytest.approx(20, abs=5)
    assert vein.contrast < 0.6
    in_tree = told.owner > 0
    assert in_tree[VEIN & ~LEFT].mean() < 0.15
    alone = coronary_trees(found(LEFT, hu=ct(LEFT)))
    assert in_tree[LEFT].sum() == pytest.approx((alone.owner > 0)[LEFT].sum(), rel=0.02)


def test_a_bright_branch_is_no_vein():
    told = coronary_trees(found(LEFT | VEIN, hu=scan_with_a_vein(380)))
    assert told.veins == ()
    assert (told.owner > 0)[VEIN].mean() > 0.95


def test_a_thin_artery_is_no_vein_though_it_looks_dark():
    thin = rod([40, 20, 15], [57, 25, 20], 0.8)
    hu = ct(thin)
    assert np.median(hu[thin]) < 250  # blurred: of 400
    told = coronary_trees(found(thin, hu=hu))
    assert told.veins == ()


def test_a_trunk_that_runs_beside_the_aorta_is_bridged_along_its_own_way():
    """Its first centimetre is not seen; what is seen is nearer to the aorta's side than to where it leaves."""
    aorta = rod([12, 26, 15], [45, 26, 15], 9)
    vessel = rod([20, 18, 15], [20, 12.5, 15], 1.2) | rod([20, 12.5, 15], [45, 12.5, 15], 1.2)
    vessel |= rod([45, 12.5, 15], [57, 8, 25], 1.2)
    hu = gaussian_filter(np.where(aorta | vessel, 400, -80).astype(np.float32), 0.7)
    told = coronary_trees(found(vessel & (X[..., 0] > 27), aorta=aorta, hu=hu))
    (tree,) = told.trees
    assert tree.bridges[0].seen
    assert tree.ostium_mm[0] == pytest.approx(20, abs=1.5)
    assert (told.owner > 0)[vessel & ~aorta].mean() > 0.8


UNSURE = ball([49, 23, 17], 4) & rod([40, 20, 15], [57, 25, 20], 0.6)  # a thread in LEFT's middle


def unsure(vessel, hu, calcium=None):
    """The network is sure of a vessel but for eight millimetres, where it sees a thread."""
    told = found(vessel & ~ball([49, 23, 17], 4), hu=hu)
    told.values[0][UNSURE] = 0.3
    if calcium is not None:
        told.values[2][calcium] = 0.9
    return told


def area(coronaries):
    """Of the lumen where the network was unsure, over that of `LEFT`."""
    near = ball([49, 23, 17], 2)
    return float(coronaries.shares[near].sum() / LEFT[near].sum())


def test_where_the_network_is_unsure_the_ct_gives_the_width():
    assert (
        0.65 < area(coronary_trees(unsure(LEFT, ct(LEFT)))) < 1.1
    )  # a thread: below 0.3, see below


def test_a_throat_is_not_widened():
    throat = (LEFT & ~ball([49, 23, 17], 4)) | UNSURE
    assert area(coronary_trees(unsure(throat, ct(throat)))) < 0.3


def test_neither_calcium_nor_a_chamber_becomes_lumen():
    beside = LEFT & ball([49, 23, 17], 4) & ~UNSURE
    assert area(coronary_trees(unsure(LEFT, ct(LEFT), calcium=beside))) < 0.35
    chamber = ball([49, 31, 17], 7)
    thread = (LEFT & ~ball([49, 23, 17], 4)) | UNSURE
    coronaries = coronary_trees(unsure(thread & ~chamber, ct(thread, chamber)))
    assert (coronaries.owner > 0)[chamber & ~LEFT].mean() < 0.02


@pytest.mark.parametrize(
    ("hu", "calcium", "kept"), [(400, 0, True), (100, 0, False), (400, 0.9, False)]
)
def test_plaque_as_bright_as_blood_is_blood_unless_it_is_calcium(hu, calcium, kept):
    """Where the network is of two minds, four to five, over eight millimetres of a vessel."""
    place = LEFT & ball([49, 23, 17], 4)
    image = gaussian_filter(np.where(place, float(hu), ct(LEFT)).astype(np.float32), 0.3)
    values = np.zeros((4, *SHAPE), np.float16)
    values[0] = np.where(LEFT, np.where(place, 0.4, 0.95), 0)
    values[1] = np.where(AORTA, 0.98, 0.01)
    values[2] = np.where(place, calcium, 0)
    values[3] = np.where(place, 0.5, 0)
    told = Probabilities(values, ("lumen", "aorta", "calcium", "wall"), AFFINE, image)
    shares = coronary_trees(told).shares
    assert (shares[place & ball([49, 23, 17], 2)].mean() > 0.8) == kept
