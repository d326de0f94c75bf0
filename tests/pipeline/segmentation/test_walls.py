"""Walls along vessels, with a network that says of every pixel how much of the blood's contrast it shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.imaging import Volume
from pipeline.segmentation.strips import STEP_MM
from pipeline.segmentation.tree_walls import _voxels, with_walls
from pipeline.segmentation.trees import Coronaries, CoronaryTree
from pipeline.segmentation.wall_network import WallDesign, WallModel
from pipeline.segmentation.walls import wall_along

EDGE, BLOOD, TISSUE = 0.4, 460.0, 60.0
SHAPE = (50, 50, 100)
AFFINE = np.diag([EDGE, EDGE, EDGE, 1.0])
AFFINE[:3, 3] = [-10.0, -10.0, 0.0]


class AsBright(torch.nn.Module):
    """Says that a pixel holds as much lumen as it shows of the blood's contrast."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.logit(seen[:, :1].clamp(1e-4, 1 - 1e-4))


MODEL = WallModel(AsBright(), WallDesign())


def shares(radius, x=0.0):
    """Of a tube along z, its radius a function of z, at ``x``."""
    index = np.indices(SHAPE).reshape(3, -1).T
    fine = [(index + np.array(d)) @ AFFINE[:3, :3].T + AFFINE[:3, 3] for d in SUB]
    inside = [np.hypot(p[:, 0] - x, p[:, 1]) < radius(p[:, 2]) for p in fine]
    return np.mean(inside, axis=0).reshape(SHAPE).astype(np.float32)


SUB = [np.array([a, b, c]) / 4 - 0.375 for a in range(4) for b in range(4) for c in range(4)]


def ct(share, blur_mm=0.0):
    hu = TISSUE + (BLOOD - TISSUE) * share
    return Volume(ndimage.gaussian_filter(hu, blur_mm / EDGE) if blur_mm else hu, AFFINE)


def line(first=4.0, last=36.0, off=0.0):
    z = np.arange(first, last, STEP_MM)
    return np.column_stack([off * np.sin(z / 3), np.full(len(z), off), z])


def throat(z):
    return 1.6 - 1.0 * np.exp(-(((z - 20) / 4) ** 2))


@pytest.mark.parametrize(("blur", "off"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.4)])
def test_areas_are_what_the_shares_add_up_to(blur, off):
    """A throat of 0.6 mm (a pixel and a half), blurred and seen from a line beside its middle."""
    wall = wall_along(line(off=off), ct(shares(throat), blur), MODEL, BLOOD)
    z = wall.strip.middles[:, 2]
    inner = (z > 6) & (z < 34)
    assert wall.radius[inner] == pytest.approx(throat(z)[inner], rel=0.07, abs=0.02)
    assert np.abs(wall.middles[inner, :2]).max() < 0.1


def test_distances_are_to_that_wall():
    wall = wall_along(line(), ct(shares(throat)), MODEL, BLOOD)
    angle = np.linspace(0, 2 * np.pi, 12)
    for z, r in ((10.0, 1.0), (20.0, 0.2), (20.0, 1.2)):
        points = np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(12, z)])
        told = wall.at(points)
        assert (told.which == np.arange(12)).all()
        assert told.distance == pytest.approx(r - throat(z), abs=0.12)
        assert told.away == pytest.approx(r, abs=0.05)
    assert len(wall.at(np.array([[0.0, 0.0, 60.0], [9.0, 0.0, 20.0]])).which) == 0


def test_a_short_line_is_seen_as_well():
    wall = wall_along(line(18.0, 21.0), ct(shares(lambda z: 1.2 + 0 * z)), MODEL, BLOOD)
    assert wall.radius == pytest.approx(1.2, abs=0.06)


def test_nothing_there_is_a_thread_not_a_fault():
    wall = wall_along(line(), ct(np.zeros(SHAPE, np.float32)), MODEL, BLOOD)
    assert np.isfinite(wall.distance).all()
    assert wall.radius == pytest.approx(np.sqrt(0.10 / np.pi))


def coronaries(lumen, owner, aorta=None):
    trees = tuple(
        CoronaryTree(number, side, (), (0.0, 0.0, 4.0), EDGE**3 * lumen[owner == number].sum())
        for number, side in ((1, "left"), (2, "right"))
        if (owner == number).any()
    )
    none = np.zeros(SHAPE, bool)
    return Coronaries(
        lumen, owner.astype(np.int16), trees, (), AFFINE, none if aorta is None else aorta, BLOOD
    )


def grown(share, by):
    """Shares of a lumen that is wider by a part of a voxel all round, with rough walls."""
    return ndimage.gaussian_filter(share, by).astype(np.float32)


def areas(share):
    return share.sum(axis=(0, 1)) * EDGE**2


def test_trees_get_the_walls_back():
    """A lumen that was found too narrow and without its throat."""
    exact = shares(throat)
    wrong = shares(lambda z: 1.2 + 0 * z)
    found = coronaries(wrong, wrong > 0.5)
    made = with_walls(found, ct(exact), MODEL)
    z = slice(16, 84)
    assert areas(made.shares)[z] == pytest.approx(areas(exact)[z], rel=0.12)
    assert ((made.owner == 1) == (made.shares > 0.5))[:, :, z].mean() > 0.999
    assert made.trees[0].volume_mm3 == pytest.approx(made.shares.sum() * EDGE**3, rel=0.02)
    assert found.shares is not made.shares


def test_the_other_tree_and_the_aorta_s_surroundings_stay():
    exact, wrong = shares(throat), shares(lambda z: 1.2 + 0 * z)
    other = shares(lambda z: 0.8 + 0 * z, x=4.0)
    owner = np.where(wrong > 0.5, 1, np.where(other > 0.5, 2, 0))
    aorta = np.zeros(SHAPE, bool)
    aorta[:, :, :18] = True
    found = coronaries(np.maximum(wrong, other), owner, aorta)
    image = ct(np.maximum(exact, other))
    left = with_walls(found, image, MODEL, "left")
    assert (left.owner == 2).sum() == (owner == 2).sum()
    assert left.trees[1] == found.trees[1]
    assert (left.shares[:, :, :19] == found.shares[:, :, :19]).all()
    assert areas(left.shares)[50] < 0.6 * areas(found.shares)[50]
    right = with_walls(found, image, MODEL, "right")
    assert right.trees[0] == found.trees[0]
    assert (right.shares[owner == 1] == found.shares[owner == 1]).all()


def test_a_throat_thinner_than_a_voxel_does_not_cut_the_tree():
    exact = shares(lambda z: 1.4 - 1.25 * np.exp(-(((z - 20) / 3) ** 2)))
    found = coronaries(np.ones(SHAPE, np.float32) * (exact > 0), exact > 0)
    made = with_walls(found, ct(exact), MODEL)
    assert ndimage.label(made.owner == 1, np.ones((3, 3, 3)))[1] == 1
    assert (made.owner == 1)[:, :, 50].sum() <= 4


def test_wider_than_a_section_a_vessel_stays():
    wide = shares(lambda z: 3.4 + 0 * z)
    found = coronaries(wide, wide > 0.5)
    dark = replace(found, shares=wide)
    made = with_walls(dark, ct(wide), MODEL)
    assert np.abs(made.shares - wide).max() < 0.02


def test_walls_that_cannot_be_are_not_taken(caplog):
    """A network that sees no lumen along a vessel."""
    exact = shares(throat)
    found = coronaries(exact, exact > 0.5)
    made = with_walls(found, ct(0 * exact), MODEL)
    assert (made.shares == found.shares).all()
    assert (made.owner == found.owner).all()
    assert made.trees == found.trees
    assert "its walls are not taken" in caplog.text


def test_specks_beside_a_lumen_are_none():
    """Two bright threads beside a throat, no thicker than noise: the section keeps its own lumen."""
    exact = shares(throat)
    specks = shares(lambda z: 0.25 + 0 * z, x=1.3)
    wall = wall_along(line(), ct(np.maximum(exact, specks)), MODEL, BLOOD)
    points = np.array([[1.3, 0.0, 20.0], [0.0, 0.0, 20.0]])
    told = wall.at(points)
    assert told.distance[0] > 0.1
    assert told.distance[1] < -0.3


def test_threads_run_from_face_to_face():
    way = np.column_stack([np.linspace(0, 6, 30), np.linspace(0, -5, 30), np.linspace(10, 17, 30)])
    thread = np.zeros(SHAPE, bool)
    thread[_voxels(way, AFFINE, np.zeros(3, int), SHAPE)] = True
    assert ndimage.label(thread)[1] == 1  # faces only
    index = np.argwhere(thread) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    direction = way[-1] - way[0]
    arm = index - way[0]
    along = np.outer(arm @ direction / (direction @ direction), direction)
    assert np.linalg.norm(arm - along, axis=1).max() < 1.5 * EDGE
