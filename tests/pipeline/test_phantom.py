"""The phantom's signed distance, exact surface, label map and truth against numbers derived by hand."""

import json

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.case import PhantomInput, PhantomStenosis
from pipeline.imaging import read_label_map
from pipeline.phantom import build, exact_surface, label_map, truth, tube, write
from pipeline.surface.topology import Edges

STRAIGHT = np.array([[0.0, 0, 0], [8, 0, 0], [16, 0, 0], [24, 0, 0]])


def closed_and_manifold(mesh):
    """Euler characteristic 2 and two triangles on every edge."""
    edges = Edges.of(mesh.triangles)
    assert (edges.count == 2).all()
    assert len(mesh.points) - len(edges.ends) + len(mesh.triangles) == 2


def test_straight_tube_distance_is_exact():
    tree = tube(STRAIGHT, np.full(4, 1.5))
    x = np.array([[12, 0, 1.0], [12, 2.0, 0], [12.03, 0, -1.5], [25.0, 0, 0], [-0.5, 0.3, 0]])
    assert tree.signed_distance(x) == pytest.approx([-0.5, 0.5, 0, 1.0, 0.5], abs=1e-12)


def test_ring_section_is_a_disc_perpendicular_to_the_curve():
    """Points of a torus lie on the wall of a tube bent to a circle of 20 mm."""
    angle = np.linspace(0, np.pi / 2, 60)
    tree = tube(20 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]), np.full(60, 1.2))
    t, p = np.meshgrid(np.linspace(0.2, 1.3, 9), np.linspace(0, 2 * np.pi, 9))
    r = 20 + 1.2 * np.cos(p)
    torus = np.stack([r * np.cos(t), r * np.sin(t), 1.2 * np.sin(p)], -1).reshape(-1, 3)
    assert np.abs(tree.signed_distance(torus)).max() < 2e-5


def test_a_fold_is_refused():
    angle = np.linspace(0, np.pi, 40)
    with pytest.raises(ValueError, match="curvature"):
        tube(np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]), np.full(40, 1.2))


def test_exact_surface_of_a_tube():
    mesh = exact_surface(tube(STRAIGHT, np.full(4, 1.5)), facets_around=32)
    closed_and_manifold(mesh)
    polygon = 32 / (2 * np.pi) * np.sin(2 * np.pi / 32)  # inscribed 32-gon over disc
    for cap, x in ((1, 0.0), (2, 24.0)):
        assert mesh.areas[mesh.cap == cap].sum() == pytest.approx(np.pi * 2.25 * polygon, rel=1e-12)
        assert np.abs(mesh.points[mesh.triangles[mesh.cap == cap], 0] - x).max() < 1e-12
    assert mesh.volume == pytest.approx(np.pi * 2.25 * 24, rel=0.008)
    assert mesh.volume < np.pi * 2.25 * 24  # vertices on the wall: inscribed


def test_exact_surface_converges_to_the_volume():
    error = [
        1 - exact_surface(tube(STRAIGHT, np.full(4, 1.5)), facets_around=n).volume / (np.pi * 54)
        for n in (16, 64)
    ]
    assert 1.7 < np.log(error[0] / error[1]) / np.log(4) < 2.4  # second order


@pytest.mark.parametrize("throat", [1.0, 1.6, 2.4])
def test_rims_stay_sharp_where_a_steep_narrowing_meets_a_cap(throat):
    """Wall and cap meet at 50 degrees or less; the cap keeps all its area, and each rim edge joins it to the wall."""
    x = np.linspace(0, 12, 121)
    dip = 0.5 * (1 + np.cos(np.pi * np.clip((x - throat) / 1.6, -1, 1)))
    tree = tube(np.column_stack([x, 0 * x, 0 * x]), 0.8 - 0.62 * dip)
    mesh = exact_surface(tree)
    closed_and_manifold(mesh)
    polygon = 12 * np.sin(2 * np.pi / 24)
    for number, end in enumerate(tree.ends, start=1):
        area = mesh.areas[mesh.cap == number].sum()
        assert area == pytest.approx(polygon * end.radius_mm**2, rel=1e-12)
        edges = np.sort(mesh.triangles[mesh.cap == number][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2))
        unique, count = np.unique(edges, axis=0, return_counts=True)
        assert (count == 1).sum() == 24
        wall = np.sort(mesh.triangles[mesh.cap == 0][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2))
        assert all((wall == edge).all(axis=1).sum() == 1 for edge in unique[count == 1])


@pytest.fixture(scope="module")
def left():
    stenoses = (
        PhantomStenosis(branch="LAD", position=0.5, diameter_reduction=0.7, length_mm=12),
        PhantomStenosis(
            branch="LCx", position=0.3, diameter_reduction=0.5, length_mm=10, eccentricity=1.0
        ),
    )
    return build(PhantomInput(tree="left", seed=4, stenoses=stenoses))


def directions(normal):
    e1 = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    e1 /= np.linalg.norm(e1)
    angle = np.linspace(0, 2 * np.pi, 65)[:-1, None]
    return np.cos(angle) * e1 + np.sin(angle) * np.cross(normal, e1)


def test_throats_have_the_specified_diameter(left):
    for fact, reduction in zip(left.stenoses, (0.7, 0.5), strict=True):
        mld = fact.minimum_lumen_diameter_mm
        assert mld == pytest.approx((1 - reduction) * fact.reference_diameter_mm, rel=1e-12)
        ring = np.array(fact.centre_mm) + mld / 2 * directions(np.array(fact.normal))
        assert np.abs(left.signed_distance(ring)).max() < 1e-7


def test_the_throat_is_the_minimum(left):
    fact = left.stenoses[0]
    segment = next(s for s in left.segments if s.name == "LAD")
    path, throat = left.paths[segment.path], segment.start + fact.throat_mm
    s = throat + np.linspace(-6, 6, 2001)
    radius = path.spline(s)[:, 6]
    assert abs(s[np.argmin(radius)] - throat) < 0.02
    assert radius.min() == pytest.approx(fact.minimum_lumen_diameter_mm / 2, rel=1e-9)


@pytest.mark.parametrize("plateau", [0.0, 0.5, 0.8])
def test_a_plateau_is_as_narrow_as_the_throat(plateau):
    stenosis = {
        "branch": "LAD",
        "position": 0.4,
        "diameter_reduction": 0.5,
        "length_mm": 16.0,
        "plateau": plateau,
    }
    tree = build(PhantomInput(seed=3, stenoses=(stenosis,)))
    fact = tree.stenoses[0]
    segment = next(s for s in tree.segments if s.name == "LAD")
    path, throat = tree.paths[segment.path], segment.start + fact.throat_mm
    least = fact.minimum_lumen_diameter_mm / 2
    off = np.linspace(-0.98, 0.98, 99) * plateau * 8.0
    assert path.spline(throat + off)[:, 6] == pytest.approx(least, rel=2e-3)
    beyond = path.spline(throat + np.array([-1, 1]) * 8.0 * (0.5 + plateau / 2))[:, 6]
    assert (beyond > 1.3 * least).all()
    assert path.spline(throat + 8.5)[6] > 1.7 * least  # a branch leaves before


def test_full_eccentricity_leaves_one_wall_untouched(left):
    fact = left.stenoses[1]
    segment = next(s for s in left.segments if s.name == "LCx")
    path = left.paths[segment.path]
    curve = path.spline(segment.start + fact.throat_mm)[:3]
    wall = curve + fact.reference_diameter_mm / 2 * np.array(fact.direction)
    assert left.signed_distance(wall[None])[0] == pytest.approx(0.0, abs=1e-7)


def test_radii_away_from_junctions_are_those_of_the_path(left):
    """The smooth union moves the wall only near a junction."""
    clear = 0
    for index, path in enumerate(left.paths):
        for s in np.linspace(12.0, path.end - 1.0, 25):
            centre, tangent, radius = path.at(float(s))
            others = [p for k, p in enumerate(left.paths) if k != index]
            if min(float(p.clearance(centre[None])[0]) for p in others) < radius + 1.2:
                continue
            error = left.signed_distance(centre + radius * directions(tangent))
            assert np.abs(error).max() < 1e-6
            clear += 1
    assert clear > 60


def test_murray_law_at_the_fork(left):
    """The left main before the fork against LAD and LCx behind it, k = 7/3."""
    k, lad, lcx = 7 / 3, left.paths[0], left.paths[1]
    fork = next(s.end for s in left.segments if s.name == "LM")
    before = float(lad.healthy_radius(fork - 2.6))
    after = float(lad.healthy_radius(fork + 2.6))
    taper = 1 + 5.2 * 0.0022  # at most so much is lost to taper between the two
    total = (after**k + float(lcx.healthy[0]) ** k) ** (1 / k)
    assert total <= before <= total * taper


def test_gradient_is_that_of_the_distance(left):
    rng = np.random.default_rng(1)
    x = left.project(exact_surface(left, facets_around=16).points[::40]) + rng.normal(0, 0.05, 3)
    _, gradient = left.evaluate(x, cut=False)
    step = 1e-5
    numeric = np.column_stack(
        [
            (
                left.signed_distance(x + step * e, cut=False)
                - left.signed_distance(x - step * e, cut=False)
            )
            / (2 * step)
            for e in np.eye(3)
        ]
    )
    cosine = (
        (gradient * numeric).sum(1)
        / np.linalg.norm(gradient, axis=1)
        / np.linalg.norm(numeric, axis=1)
    )
    assert np.quantile(cosine, 0.05) > 0.995


def test_surface_of_a_tree(left):
    mesh = exact_surface(left, facets_around=20)
    closed_and_manifold(mesh)
    wall = mesh.points[np.unique(mesh.triangles[mesh.cap == 0])]
    assert np.abs(left.signed_distance(wall)).max() < 1e-7
    for number, end in enumerate(left.ends, start=1):
        corners = mesh.points[np.unique(mesh.triangles[mesh.cap == number])]
        offset = (corners - end.centre_mm) @ np.array(end.normal)
        assert np.abs(offset).max() < 1e-9
        assert mesh.areas[mesh.cap == number].sum() == pytest.approx(
            np.pi * end.radius_mm**2, rel=0.02
        )
    sampled = label_map(left, 0.25)
    assert mesh.volume == pytest.approx(sampled.array.sum() * 0.25**3, rel=0.03)
    throat = left.stenoses[0]
    gap = (mesh.points - throat.centre_mm) @ np.array(throat.normal)
    near = np.linalg.norm(mesh.points - throat.centre_mm, axis=1) < throat.minimum_lumen_diameter_mm
    spacing = np.pi * throat.minimum_lumen_diameter_mm / 20
    assert (near & (np.abs(gap) < spacing)).sum() >= 2 * 16


def test_label_voxels_are_inside(left):
    volume = label_map(left, 0.5)
    assert not volume.array[[0, -1]].any()
    assert not volume.array[:, [0, -1]].any()
    assert not volume.array[:, :, [0, -1]].any()
    rng = np.random.default_rng(0)
    inside = rng.permutation(np.argwhere(volume.array))[:500]
    assert (left.signed_distance(volume.to_world(inside)) < 0).all()
    outside = rng.integers(0, volume.array.shape, (4000, 3))
    outside = outside[~volume.array[tuple(outside.T)]]
    assert (left.signed_distance(volume.to_world(outside)) >= 0).all()


@pytest.mark.parametrize("tree", ["left", "right"])
def test_same_seed_same_tree_other_seed_another(tree):
    first, second, other = (build(PhantomInput(tree=tree, seed=s)) for s in (7, 7, 8))
    assert json.dumps(truth(first)) == json.dumps(truth(second))
    assert first.ends[0].centre_mm != other.ends[0].centre_mm
    a, b = (exact_surface(t, facets_around=12) for t in (first, second))
    assert a.points.tobytes() == b.points.tobytes()
    assert a.triangles.tobytes() == b.triangles.tobytes()


@pytest.mark.parametrize("tree", ["left", "right"])
@pytest.mark.parametrize("branches", [0, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_vessels_do_not_touch_away_from_their_junction(tree, branches, seed):
    """A path's points beyond its first 8 mm lie clear of every earlier path."""
    built = build(PhantomInput(tree=tree, seed=seed, side_branches=branches))
    assert len(built.ends) == 3 + branches
    assert len({end.name for end in built.ends}) == 3 + branches
    for k, path in enumerate(built.paths[1:], start=1):
        far = (path.knots > 8.0) & (path.knots < path.end)
        for other in built.paths[:k]:
            gap = other.clearance(path.centre[far]) - path.radius[far]
            assert gap.min() > 0.5


@pytest.mark.parametrize("inlet", [None, 3.6])
def test_ends_are_not_thinner_than_asked(inlet):
    built = build(PhantomInput(seed=2, min_diameter_mm=1.2, inlet_diameter_mm=inlet))
    assert min(2 * end.radius_mm for end in built.ends) >= 1.2 - 1e-3
    if inlet:
        assert 2 * built.ends[0].radius_mm == pytest.approx(inlet, rel=1e-9)


BAD = [
    ({"branch": "RCA", "position": 0.5}, "LAD"),
    ({"branch": "LAD", "position": 0.0}, "junction"),
]


@pytest.mark.parametrize(("place", "word"), BAD)
def test_impossible_lesion(place, word):
    stenosis = PhantomStenosis(diameter_reduction=0.5, length_mm=8, **place)
    with pytest.raises(InputError, match=word) as caught:
        build(PhantomInput(seed=1, stenoses=(stenosis,)))
    assert "input.stenoses.0" in str(caught.value)


def test_overlapping_throats():
    pair = tuple(
        PhantomStenosis(branch="LAD", position=p, diameter_reduction=0.5, length_mm=20)
        for p in (0.5, 0.55)
    )
    with pytest.raises(InputError, match="outside every other lesion"):
        build(PhantomInput(seed=1, stenoses=pair))


def test_no_room_for_branches():
    with pytest.raises(InputError, match="min_diameter_mm"):
        build(PhantomInput(seed=1, inlet_diameter_mm=2.0, min_diameter_mm=1.9))


def test_files(tmp_path):
    way = np.array([0.8, 0.5, np.sqrt(0.11)])
    tree = tube(STRAIGHT[:, :1] * way, np.full(4, 1.5))
    write(tree, tmp_path, voxel_mm=0.5)
    assert {p.name for p in tmp_path.iterdir()} == {
        "lumen.stl",
        "lumen.vtp",
        "phantom.json",
        "labels.nii.gz",
    }
    labels = read_label_map(tmp_path / "labels.nii.gz")
    assert labels.array.sum() * 0.125 == pytest.approx(np.pi * 54, rel=0.03)
    assert np.allclose(labels.affine, label_map(tree, 0.5).affine)
    data = json.loads((tmp_path / "phantom.json").read_text())
    assert data["ends"][0]["role"] == "inlet"
    assert data["segments"][0]["length_mm"] == pytest.approx(24.0, abs=1e-3)
