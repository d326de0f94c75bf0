"""Synthetic CT: the truth is the tree's, grey values are what tissues are worth, the same seed gives the same scan."""

import numpy as np
import pytest

from pipeline.imaging import Volume
from pipeline.phantom import tube
from pipeline.phantom.layout import Heart
from pipeline.phantom.scan import Scanner, draw_scene, render, scene_of
from pipeline.phantom.scan.heart import Ostium, aortic_root
from pipeline.phantom.scan.shapes import Waves, ellipsoid, hose

QUIET = Scanner(blur_mm=(0.01, 0.01), sharpness=0.0, noise_hu=1e-6, grain=1.0)


def grid(centre, voxel_mm, shape):
    voxel = np.broadcast_to(voxel_mm, 3)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = np.asarray(centre) - voxel * (np.array(shape) - 1) / 2
    return Volume(np.empty(shape, np.bool_), affine)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(3)


def middle(scene, vessel=0):
    """A point on a trunk far from both its ends."""
    path = scene.vessels[vessel].lumen.paths[0]
    return path.centre[len(path.centre) // 2]


def test_the_distance_is_that_of_the_tree(scene):
    voxels = grid(middle(scene), 0.4, (30, 30, 30))
    scan = render(scene, voxels, QUIET, np.random.default_rng(0))
    index = np.argwhere(np.abs(scan.exact.distance) < 1.2)
    points = voxels.to_world(index.astype(float))
    exact = np.min([v.lumen.signed_distance(points, cut=False) for v in scene.vessels], axis=0)
    outside = scene.aorta(scene.to_heart(points)) > 1.0
    got = scan.exact.distance[tuple(index.T)]
    assert outside.any()
    assert got[outside] == pytest.approx(exact[outside], abs=1e-5)


def test_blood_fat_and_lung_have_their_grey(scene):
    centre = middle(scene)
    scan = render(scene, grid(centre, 0.4, (40, 40, 40)), QUIET, np.random.default_rng(0))
    hu, distance = scan.ct.array, scan.exact.distance
    blood = scene.contrast.artery
    inside = hu[distance < -0.8]
    assert blood * (1 - 1.2 * scene.contrast.fade) - 1 < inside.min()
    assert inside.max() < blood + 1
    assert -130 < np.median(hu[(distance > 1.2) & (hu < 0)]) < -60  # fat around the vessel
    corner = render(scene, grid([-95, -40, 40], 2.0, (8, 8, 8)), QUIET, np.random.default_rng(0))
    assert np.median(corner.ct.array) < -700  # lung


def test_the_same_seed_the_same_scan(scene):
    voxels = grid(middle(scene), 0.5, (16, 16, 16))
    scanner = Scanner.draw(np.random.default_rng(1))
    first = render(scene, voxels, scanner, np.random.default_rng(2))
    again = render(draw_scene(3), voxels, scanner, np.random.default_rng(2))
    other = render(draw_scene(4), voxels, scanner, np.random.default_rng(2))
    assert (first.ct.array == again.ct.array).all()
    assert (first.ct.array != other.ct.array).any()


def test_noise_has_the_wanted_strength(scene):
    voxels = grid(middle(scene), 0.4, (40, 40, 40))
    scanner = Scanner(blur_mm=(0.6, 0.6), sharpness=0.0, noise_hu=30.0, grain=1.0)
    still = Scanner(blur_mm=(0.6, 0.6), sharpness=0.0, noise_hu=1e-6, grain=1.0)
    noisy = render(scene, voxels, scanner, np.random.default_rng(0)).ct.array.astype(float)
    plain = render(scene, voxels, still, np.random.default_rng(0)).ct.array.astype(float)
    assert (noisy - plain).std() == pytest.approx(30.0, rel=0.02)


@pytest.mark.parametrize("voxel", [0.4, (0.35, 0.35, 0.7), 0.8])
def test_partial_volume_keeps_the_area_of_a_vessel(voxel):
    """A straight vessel of 2 mm in fat: its sections hold the blood of 3.14 square millimetres, whatever the voxels."""
    heart = Heart(np.array([37.0, 37.0, 54.0]))
    line = np.array([[60.0, y, 0.0] for y in np.linspace(-12, 12, 9)])  # outside the muscle
    tree = tube(line, np.full(9, 1.0), "LAD")
    scene = scene_of((tree,), heart, 11)
    bare = scene.vessels[0]
    shape = tuple(int(n) for n in np.round(np.array([8.0, 8.0, 8.0]) / voxel))
    scan = render(scene, grid([60, 6, 0], voxel, shape), QUIET, np.random.default_rng(0))
    across = scan.ct.spacing_mm[0] * scan.ct.spacing_mm[2] / shape[1]
    area = float(scan.exact.shares[0].sum()) * across
    assert area == pytest.approx(np.pi, rel=0.01)
    fat = np.median(scan.ct.array[scan.exact.distance > 1.6])
    grey = float((scan.ct.array - fat).sum()) * across
    wall = bare.outer.paths[0].radius[40] ** 2 * np.pi - np.pi
    blood = np.pi * (scene.contrast.artery * (1 - 0.12 * scene.contrast.fade) - fat)
    assert grey == pytest.approx(blood + wall * (bare.plaque_hu[0][40] - fat), rel=0.05)


def test_coronaries_begin_on_the_aorta(scene):
    """From the middle of the root to the middle of each trunk there is blood all the way."""
    for vessel in scene.vessels:
        path = vessel.lumen.paths[0]
        ostium = path.at(path.start)[0]
        inside = scene.to_heart(ostium[None])
        assert abs(scene.aorta(inside)[0]) < 2.5  # on its wall, or the vessel reaches into it
        s = np.linspace(path.start, path.start + 6.0, 25)
        line = np.array([path.at(t)[0] for t in s])
        blood = np.minimum(
            vessel.lumen.signed_distance(line, cut=False), scene.aorta(scene.to_heart(line))
        )
        assert blood.max() < 0


def test_root_between_two_ostia():
    ostia = [
        Ostium(np.array([10.0, 5, 0]), np.array([1.0, 1, 0]) / np.sqrt(2)),
        Ostium(np.array([10.0, -5, 0]), np.array([1.0, -1, 0]) / np.sqrt(2)),
    ]
    centre = aortic_root(ostia, 13.0)
    assert centre == pytest.approx([10 - 12, 0, 0])
    assert [np.linalg.norm(o.point - centre) for o in ostia] == pytest.approx([13, 13])


def test_shapes():
    x = np.array([[0.0, 0, 0], [3.0, 0, 0], [0, 5, 0], [0, 0, 40]])
    ball = ellipsoid(np.zeros(3), np.full(3, 3.0))
    assert ball(x)[1:] == pytest.approx([0, 2, 37])
    pipe = hose(np.array([[-10.0, 0, 0], [10, 0, 0]]), 1.0)
    assert pipe(x) == pytest.approx(
        [-1, -1, 4, 8], abs=1e-9
    )  # farther than 8 mm: no more than that
    field = Waves.draw(np.random.default_rng(0), 5.0, 7.0)
    samples = field(np.random.default_rng(1).uniform(-300, 300, (20_000, 3)))
    assert samples.std() == pytest.approx(7.0, rel=0.05)
