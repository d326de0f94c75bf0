"""Synthetic CT: the truth is the tree's, grey values are what tissues are worth, the same seed gives the same scan."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.case import PhantomInput
from pipeline.imaging import Volume, read_volume
from pipeline.phantom import build, tube
from pipeline.phantom.layout import Heart
from pipeline.phantom.scan import TISSUES, Scanner, compose, draw_scene, render, scene_of
from pipeline.phantom.scan.bend import Bend
from pipeline.phantom.scan.heart import Ostium, aortic_root
from pipeline.phantom.scan.plaque import diseased
from pipeline.phantom.scan.shapes import Waves, ellipsoid, hose
from pipeline.phantom.scan.stent import stent_on

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
    drawn = scene.among_vessels(points)
    exact = np.min([v.lumen.signed_distance(drawn, cut=False) for v in scene.vessels], axis=0)
    outside = scene.aorta(scene.to_heart(points)) > 1.0
    got = scan.exact.distance[tuple(index.T)]
    assert outside.any()
    assert got[outside] == pytest.approx(exact[outside], abs=1e-5)


def test_bent_vessels_come_back():
    rng = np.random.default_rng(1)
    bend = Bend(
        (Waves.draw(rng, 7.0, 0.25), Waves.draw(rng, 7.0, 0.25), Waves.draw(rng, 7.0, 0.25))
    )
    points = rng.uniform(-30, 30, (4000, 3))
    moved = bend(points) - points
    assert moved.std(axis=0) == pytest.approx(0.25, rel=0.3)
    assert np.linalg.norm(bend(bend.back(points)) - points, axis=1).max() < 0.01


def test_outer_walls_are_pushed_out_at_some_lesions():
    lesion = {"branch": "LAD", "position": 0.4, "diameter_reduction": 0.5, "length_mm": 12.0}
    tree = build(PhantomInput(seed=3, stenoses=(lesion,)))
    path = tree.paths[0]
    wider = []
    for seed in range(40):
        plain, pushed = (
            diseased(tree, np.random.default_rng(seed), irregular=on).outer.paths[0].radius
            for on in (False, True)
        )
        more = pushed - plain - (pushed[0] - plain[0])  # walls are thick or thin as well
        wider.append(float(more.max()))
        assert more.min() > -1e-9
    at = np.abs(path.knots - path.start).argmax()
    assert np.isclose(wider, 0.0).sum() in range(10, 31)
    assert 0.3 * path.radius[at] < max(wider) < 0.41 * path.healthy.max()


def test_some_plaques_are_calcium_from_end_to_end():
    lesion = {"branch": "LAD", "position": 0.4, "diameter_reduction": 0.5, "length_mm": 12.0}
    tree = build(PhantomInput(seed=3, stenoses=(lesion,)))
    throat = next(x for x in tree.segments if x.name == "LAD").start + tree.stenoses[0].throat_mm
    plain = [diseased(tree, np.random.default_rng(seed)) for seed in range(30)]
    drawn = [diseased(tree, np.random.default_rng(seed), irregular=True) for seed in range(30)]
    crusts = [one.crust for one in drawn if one.crust is not None]
    assert all(one.crust is None for one in plain)
    assert len(crusts) in range(5, 17)  # a third
    off = tree.paths[0].knots - throat
    for crust in crusts:
        hard = np.isfinite(crust.levels[0])
        assert 0.65 * 12 < np.ptp(off[hard]) < 1.35 * 12
        assert abs(off[hard].mean()) < 0.2
    points = np.random.default_rng(0).uniform(-30, 30, (4000, 3))
    halves = [crust.share(points, np.zeros(4000)).mean() for crust in crusts]
    assert halves == pytest.approx([0.5] * len(crusts), abs=0.05)  # a grain of mean zero
    assert not crusts[0].share(points, np.full(4000, np.inf)).any()


def test_crusts_are_calcium_around_the_lumen():
    scene, vessel, crust = next(
        (scene, vessel, vessel.crust)
        for scene in map(draw_scene, range(60))
        for vessel in scene.vessels
        if vessel.crust is not None and min(level.min() for level in vessel.crust.levels) < 0
    )
    number = next(k for k, level in enumerate(crust.levels) if level.min() < 0)
    at = int(np.flatnonzero(crust.levels[number] < 0).mean())
    exact = compose(scene, grid(vessel.lumen.paths[number].centre[at], 0.3, (48, 48, 48)))
    calcium = exact.shares[TISSUES.index("calcium")]
    hard = calcium > 0.9
    assert hard.sum() > 50
    assert np.median(exact.hu[hard]) == pytest.approx(crust.hu, rel=0.01)  # but for bodies in it
    assert (calcium + exact.shares[TISSUES.index("lumen")]).max() < 1.001
    assert exact.distance[hard].min() > -0.05


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


def stented(length=10.0):
    """A straight vessel of 3 mm with a stent, on a heart."""
    line = np.array([[60.0, y, 0.0] for y in np.linspace(-12, 12, 9)])
    tree = tube(line, np.full(9, 1.5), "LAD")
    scene = scene_of((tree,), Heart(np.array([37.0, 37.0, 54.0])), 11)
    path = tree.paths[0]
    stent = stent_on(path, path.start + 6.0, length, np.random.default_rng(3))
    bare = replace(scene.vessels[0], calcium=(), stents=())
    return (replace(scene, vessels=(replace(bare, stents=vessel),)) for vessel in ((), (stent,)))


def test_struts_lie_on_the_wall_and_keep_their_metal():
    bare, scene = stented()
    path, stent = scene.vessels[0].lumen.paths[0], scene.vessels[0].stents[0]
    for points in (stent.struts, stent.shell):
        away = np.linalg.norm((points - [60, 0, 0])[:, [0, 2]], axis=1)
        assert away == pytest.approx(1.5, abs=0.01)
    along = stent.struts[:, 1] - path.at(path.start)[0][1]
    assert 5.0 < np.abs(along).min() < 6.5
    assert 15.0 < np.abs(along).max() < 17.0
    voxels = grid([60, 0, 0], 0.4, (16, 60, 16))
    with_metal, without = (compose(each, voxels).hu.astype(float) for each in (scene, bare))
    metal = (with_metal - without).sum() * 0.4**3
    solid = len(stent.struts) * stent.volume_mm3
    assert 0.2 < solid < 8.0
    assert metal == pytest.approx(solid * stent.hu, rel=0.1)  # less what metal displaces


def test_a_stent_is_a_class_of_its_own():
    bare, scene = stented()
    voxels = grid([60, 0, 0], 0.4, (16, 60, 16))
    exact, plain = compose(scene, voxels), compose(bare, voxels)
    lumen, _, calcium, wall, stent = exact.shares
    assert lumen == pytest.approx(plain.shares[0])
    assert exact.shares.sum(axis=0).max() <= 1 + 1e-5
    assert calcium.max() == 0
    # outside the lumen: the outer half of a cylinder 0.4 mm thick
    assert stent.sum() * 0.4**3 == pytest.approx(2 * np.pi * 1.6 * 10.5 * 0.2, rel=0.2)
    assert wall.sum() < plain.shares[3].sum()
    assert plain.shares[4].max() == 0


def test_walls_are_what_lies_between_lumen_and_outer_wall():
    bare, _ = stented()
    voxels = grid([60, 0, 0], 0.4, (20, 30, 20))
    shares = compose(bare, voxels).shares
    outer = bare.vessels[0].outer.paths[0].radius[40]
    wall = shares[3].sum() * 0.4**2 / 30
    assert wall == pytest.approx(np.pi * (outer**2 - 1.5**2), rel=0.05)


@pytest.mark.slow
def test_a_phantoms_ct_from_the_command_line(tmp_path):
    """All of the tree is in it, blood where the tree is, an aorta at its ostium; the same twice."""
    (tmp_path / "case.yaml").write_text(
        "name: p\ninput: {kind: phantom, seed: 1, min_diameter_mm: 2.4, side_branches: 0}\n"
    )
    ffr3d = str(Path(sys.executable).parent / "ffr3d")
    for k in range(2):
        command = [ffr3d, "phantom", "case.yaml", "-o", f"out{k}", "--ct-mm", "0.8"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, two = (read_volume(tmp_path / f"out{k}" / "ct.nii.gz") for k in range(2))
    assert (one.array == two.array).all()
    tree = build(PhantomInput(seed=1, min_diameter_mm=2.4, side_branches=0))
    points = np.concatenate(
        [p.centre[(p.knots > p.start) & (p.knots < p.end)][::20] for p in tree.paths]
    )
    index = np.rint(one.to_index(points)).astype(int)
    assert (index > 5).all()
    assert (index < np.array(one.array.shape) - 5).all()
    assert np.median(one.array[tuple(index.T)]) > 150
    path = tree.paths[0]
    inward = path.at(path.start)[0] - 8.0 * path.at(path.start)[1]
    assert one.array[tuple(np.rint(one.to_index(inward[None])[0]).astype(int))] > 200


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
