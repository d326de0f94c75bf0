"""The parts of the mesh generator, one by one."""

import time
from dataclasses import replace

import numpy as np
import pytest

from meshing.accept import RefusedError, accept_shape
from meshing.check import check_surface
from meshing.crossing import crossing_triangles
from meshing.curve import BLENDS, relax
from meshing.errors import InputError
from meshing.jacobian import bernstein_coefficients, jacobian_bounds
from meshing.ladder import Rung, climb
from meshing.lumen import join_lines
from meshing.options import MeshOptions
from meshing.quality import cell_quality, facet_areas, summary
from meshing.section import throat_areas
from meshing.sizing import Finer, Throat, find_throats, limit_gradation, limit_growth, size_field
from meshing.smooth_wall import SmoothWall
from meshing.surface_mesh import Remesher, remesh
from meshing.tetra import same_triangles
from meshing.topology import TRIANGLE_EDGES, triangle_areas, unique_edges
from meshing.worker import StepFailedError, call

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))


def ten_nodes(corners=CORNERS):
    return np.vstack([corners, [(corners[i] + corners[j]) / 2 for i, j in EDGES]])


def determinant(nodes, at):
    """det J of a ten-node tetrahedron at barycentric `at` by differencing its shape functions."""

    def position(x):
        l = np.array([1 - x.sum(), *x])  # noqa: E741
        shapes = [*(l * (2 * l - 1)), *(4 * l[i] * l[j] for i, j in EDGES)]
        return np.array(shapes) @ nodes

    h = 1e-6
    x = np.asarray(at)[1:]
    return np.linalg.det(
        np.array([(position(x + h * e) - position(x - h * e)) / (2 * h) for e in np.eye(3)]).T
    )


def test_bernstein_coefficients_bound_the_determinant_and_give_the_volume():
    rng = np.random.default_rng(1)
    nodes = ten_nodes() + 0.06 * rng.standard_normal((10, 3))
    coefficients = bernstein_coefficients(nodes[None])[0]
    weights = rng.dirichlet(np.ones(4), 20_000)
    samples = np.array([determinant(nodes, at) for at in weights[:400]])
    assert coefficients.min() <= samples.min() + 1e-6
    assert coefficients.max() >= samples.max() - 1e-6
    mean = np.mean([determinant(nodes, at) for at in weights[:4000]])
    assert coefficients.mean() == pytest.approx(mean, rel=0.01)


def test_the_bound_finds_an_inversion_that_the_corners_hide():
    nodes = ten_nodes()
    nodes[4] = [0.5, 0.0, 0.9]  # the node of edge 01 pushed through the cell
    samples = [determinant(nodes, at) for at in np.random.default_rng(2).dirichlet(np.ones(4), 500)]
    assert min(samples) < 0
    lowest, _ = jacobian_bounds(nodes, np.arange(10)[None])
    assert lowest[0] < 0
    assert cell_quality(nodes, np.arange(10)[None]).scaled_jacobian[0] < 0


def test_regular_tetrahedron_has_quality_one():
    points = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[[0, 2, 1, 3]]
    quality = cell_quality(points, np.arange(4)[None])
    assert quality.scaled_jacobian[0] == pytest.approx(1.0)
    assert quality.dihedral[0] == pytest.approx(np.degrees(np.arccos(1 / 3)))
    assert quality.max_dihedral[0] == pytest.approx(np.degrees(np.arccos(1 / 3)))
    assert quality.aspect[0] == pytest.approx(1.0)
    assert quality.volume[0] == pytest.approx(8 / 3)


def test_angles_and_aspect_of_the_corner_of_a_cube():
    """Dihedral angles 90 and arccos(1 / sqrt 3) degrees; inscribed radius (3 - sqrt 3) / 6."""
    quality = cell_quality(CORNERS, np.arange(4)[None])
    assert quality.dihedral[0] == pytest.approx(np.degrees(np.arccos(3**-0.5)))
    assert quality.max_dihedral[0] == pytest.approx(90.0)
    inscribed = (3 - np.sqrt(3)) / 6
    assert quality.aspect[0] == pytest.approx(np.sqrt(2) / (2 * np.sqrt(6) * inscribed))


def test_every_cell_is_counted_in_the_histograms():
    flat = CORNERS * [1, 1, 1e-3]  # beyond the last bin of the aspect
    quality = summary(cell_quality(np.vstack([CORNERS, flat]), np.arange(8).reshape(2, 4)))
    for histogram in quality["histograms"].values():
        assert sum(histogram["counts"]) == 2
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert quality["histograms"]["aspect"]["counts"][-1] == 1
    assert quality["max_aspect"] > 100
    assert quality["max_dihedral_deg"] == pytest.approx(90.0, abs=0.1)


def test_areas_of_six_node_triangles():
    corners = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]])
    mids = (corners[[0, 1, 2]] + corners[[1, 2, 0]]) / 2
    mids[0, 1] -= 0.3  # a parabola below the base adds 2/3 * 2 * 0.3
    area = facet_areas(np.vstack([corners, mids]), np.arange(6)[None])
    assert area[0] == pytest.approx(3.0 + 0.4)


def test_smooth_wall_of_a_faceted_cylinder(shapes):
    surface = shapes["tube"]()
    wall = SmoothWall(surface)
    assert wall.volume() == pytest.approx(np.pi * 1.5**2 * 12, rel=1e-4)
    (inlet, _) = wall.rims
    assert inlet.area() == pytest.approx(np.pi * 1.5**2, rel=1e-4)
    assert inlet.normal == pytest.approx([0, 0, -1], abs=1e-12)
    inside = np.array([[1.45 * np.cos(a), 1.45 * np.sin(a), 3.1] for a in np.linspace(0, 6, 50)])
    at = wall.project(inside)
    assert np.hypot(at[:, 0], at[:, 1]) == pytest.approx(1.5, rel=2e-3)
    assert np.linalg.norm(at - inside, axis=1) == pytest.approx(0.05, abs=5e-3)


def test_smooth_wall_does_not_overshoot_noise(shapes):
    surface = shapes["tube"](sides=32, rings=60)
    rng = np.random.default_rng(3)
    noise = 0.03 * rng.standard_normal(surface.points.shape)
    on_cap = np.unique(surface.triangles[surface.patch > 0])
    noise[on_cap] = 0.0
    noisy = replace(surface, points=surface.points + noise)
    wall = SmoothWall(noisy)
    middle = noisy.points[wall.triangles].mean(axis=1)
    at = wall.evaluate(np.arange(len(wall.triangles)), np.full((len(middle), 3), 1 / 3))
    edge = np.linalg.norm(
        noisy.points[wall.triangles[:, 0]] - noisy.points[wall.triangles[:, 1]], axis=1
    )
    assert (np.linalg.norm(at - middle, axis=1) < 0.25 * edge).all()
    radius = np.hypot(at[:, 0], at[:, 1])
    assert np.abs(radius - 1.5).max() < 0.15


def test_throats_are_found_and_shared_ones_counted_once():
    s = np.linspace(0, 30, 301)
    radius = 1.5 - 0.8 * np.exp(-(((s - 12) / 2) ** 2)) - 0.1 * np.exp(-(((s - 22) / 2) ** 2))
    line = np.column_stack([0 * s, 0 * s, s])
    upstream = np.r_[-1, np.arange(300), -1, np.arange(301, 601)]
    both = np.vstack([line, line + 1e-3])
    throats = find_throats(both, np.concatenate([radius, radius]), upstream)
    assert len(throats) == 1  # the second narrowing is shallow
    assert throats[0].centre[2] == pytest.approx(12, abs=0.1)
    assert throats[0].radius == pytest.approx(0.7, rel=1e-3)


def test_gradation_is_limited():
    rng = np.random.default_rng(4)
    points = np.column_stack([np.linspace(0, 10, 101), np.zeros(101), np.zeros(101)])
    edges = np.column_stack([np.arange(100), np.arange(1, 101)])
    size = limit_gradation(points, edges, rng.uniform(0.1, 5, 101), 0.3)
    assert np.abs(np.diff(size)).max() <= 0.3 * 0.1 * (1 + 1e-9)


def test_sizes_follow_the_radius_and_the_throat(shapes):
    surface = shapes["stenosis"]()
    options = MeshOptions(elements_per_diameter=4, elements_across_throat=10)
    field = size_field(surface, SmoothWall(surface), options, Finer())
    far = surface.points[:, 2] < 1.0
    throat = np.abs(surface.points[:, 2] - 8.0) < 0.2
    assert field.size[far] == pytest.approx(2 * 1.5 / 4, rel=0.02)
    assert field.size[throat].max() <= 2 * 0.6 / 10
    edges, _ = unique_edges(surface.triangles, TRIANGLE_EDGES)
    length = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
    growth = np.abs(field.size[edges[:, 0]] - field.size[edges[:, 1]]) / length
    assert growth.max() <= options.gradation * (1 + 1e-6)


def test_sizes_grow_slowly_downstream_only(shapes):
    surface = shapes["stenosis"]()
    options = MeshOptions(elements_per_diameter=4, elements_across_throat=10, jet_growth=0.03)
    field = size_field(surface, SmoothWall(surface), options, Finer())
    z = surface.points[:, 2]
    limit = 2 * 0.6 / 10 + 0.03 * (z - 8.0) + 0.1
    assert (field.size[z > 9.0] < limit[z > 9.0]).all()
    assert field.size[(z > 3.0) & (z < 4.0)] == pytest.approx(0.75, rel=0.02)


def test_jets_go_into_both_daughters_but_not_across():
    """Two daughters of one stem; the throat is in the first of them."""
    stem = np.column_stack([np.arange(5.0), np.zeros(5), np.zeros(5)])
    a, b = (
        stem[-1] + np.outer(np.arange(1, 6), [1, 0.2, 0]),
        stem[-1] + np.outer(np.arange(1, 6), [1, -0.2, 0]),
    )
    keep, upstream = join_lines([np.vstack([stem, a]), np.vstack([stem, b])])
    points = np.vstack([stem, a, stem, b])[keep]
    assert upstream.tolist() == [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 10, 11, 12, 13]
    size = np.ones(15)
    size[6] = 0.2
    limited = limit_growth(points, upstream, size, np.full(15, 0.1))
    assert limited[7:10] == pytest.approx(0.2 + 0.102 * np.arange(1, 4), abs=1e-3)
    assert np.delete(limited, [6, 7, 8, 9]) == pytest.approx(1.0)
    size[2] = 0.2
    limited = limit_growth(points, upstream, size, np.full(15, 0.1))
    assert limited[5] == limited[10] < 0.51


def test_cells_grow_half_as_fast_behind_a_throat_made_finer(shapes):
    """Downstream only, and as before where no throat is."""
    surface = shapes["stenosis"]()
    options = MeshOptions(jet_growth=0.06)
    wall = SmoothWall(surface)
    plain = size_field(surface, wall, options, Finer(throats=(0.5,)))
    slow = size_field(surface, wall, options, Finer(throats=(0.5,), jets=0.5))
    (throat,) = slow.throats
    along = surface.points @ _direction(surface)
    at = float(np.array(throat.centre) @ _direction(surface))
    behind, before = along > at + 4 * throat.radius, along < at - 4 * throat.radius
    assert slow.size[before] == pytest.approx(plain.size[before])
    assert slow.size[behind].mean() < 0.8 * plain.size[behind].mean()
    whole = size_field(surface, wall, options, Finer(jets=0.5))
    assert whole.size == pytest.approx(size_field(surface, wall, options, Finer()).size)


def _direction(surface):
    way = surface.centerline[-1] - surface.centerline[0]
    return way / np.linalg.norm(way)


def test_crossing_triangles_are_found():
    points = np.array(
        [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.3, 0.2, 1], [0.2, 0.3, 1]]
    )
    assert crossing_triangles(points, np.array([[0, 1, 2], [3, 4, 5]])).tolist() == [[0, 1]]
    apart = points + np.repeat([[0, 0, 0], [0, 0, 1.5]], 3, axis=0)
    assert len(crossing_triangles(apart, np.array([[0, 1, 2], [3, 4, 5]]))) == 0


def test_no_crossing_in_a_plain_tube(shapes):
    surface = shapes["tube"]()
    assert len(crossing_triangles(surface.points, surface.triangles)) == 0


def test_same_triangles_needs_the_same_orientation():
    one = np.array([[0, 1, 2], [3, 4, 5]])
    assert same_triangles(one, np.array([[5, 3, 4], [1, 2, 0]]))
    assert not same_triangles(one, np.array([[5, 3, 4], [1, 0, 2]]))


def test_a_hanging_mesher_is_stopped():
    began = time.monotonic()
    with pytest.raises(StepFailedError, match="sleep: not done in 1 s"):
        call("sleep", {"seconds": 60}, limit_s=1)
    assert time.monotonic() - began < 10


def test_a_failing_mesher_says_why():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    with pytest.raises(StepFailedError, match="gmsh"):
        call(
            "gmsh",
            {
                "points": points,
                "triangles": np.array([[0, 1, 2]]),
                "algorithm": "delaunay",
                "netgen": False,
            },
            60,
        )


def test_a_refused_rung_is_recorded_and_the_next_one_used(shapes):
    lines: list[str] = []
    rungs = (
        Rung("coarse input", Remesher("none"), "delaunay"),
        Rung("mmgs + hxt", Remesher("mmgs"), "hxt"),
    )
    options = MeshOptions(min_dihedral_deg=12)
    surface = shapes["stenosis"](sides=24, rings=20)  # long thin triangles
    made = climb(surface, options, lines.append, rungs)
    first, second = made.quality["rungs"]
    assert (first["outcome"], second["outcome"]) == ("refused", "used")
    assert "< 6 elements across the throat" in first["reason"]
    assert made.quality["rung"] == "mmgs + hxt"
    assert any("coarse input refused" in line for line in lines)


def test_a_rung_over_its_time_limit_is_refused(shapes):
    rungs = (Rung("slow", Remesher("mmgs"), "hxt"),)
    with pytest.raises(Exception, match=r"slow: mmgs: not done in 0.01 s"):
        climb(shapes["tube"](), MeshOptions(), lambda _: None, rungs, limit_s=0.01)


def test_a_node_that_would_invert_its_cell_is_relaxed_until_the_cell_is_valid():
    cells, shift = np.arange(10)[None], np.zeros((6, 3))
    shift[0, 2] = 0.9  # of edge 01, through the cell
    assert jacobian_bounds(ten_nodes() + np.vstack([np.zeros((4, 3)), shift]), cells)[0][0] < 0
    blend = relax(ten_nodes(), cells, np.arange(6)[None], shift, np.array([0.2]))
    assert blend[0] in BLENDS[1:]
    kept = ten_nodes() + np.vstack([np.zeros((4, 3)), blend[:, None] * shift])
    assert jacobian_bounds(kept, cells)[0][0] > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, triangles=s.triangles[1:], patch=s.patch[1:]), "open or branching"),
        (lambda s: replace(s, triangles=s.triangles[:, ::-1].copy()), "normals outward"),
        (lambda s: replace(s, radius=0 * s.radius), "positive inscribed radius"),
        (lambda s: replace(s, patch=np.where(s.patch == 2, 5, s.patch)), "wall"),
        (lambda s: replace(s, points=s.points * np.nan), "finite"),
        (lambda s: replace(s, radius=s.radius * 1e-3), "times the radii"),
    ],
)
def test_bad_surfaces_are_refused(shapes, change, says):
    surface = shapes["tube"]()
    check_surface(surface)
    with pytest.raises(InputError, match=says):
        check_surface(change(surface))


def test_a_cap_that_is_not_flat_is_refused_with_its_place(shapes):
    surface = shapes["tube"]()
    surface.points[-1, 2] += 0.5  # the centre of the outlet cap
    with pytest.raises(InputError, match=r"'LAD' flat.*12\.\d+\) mm"):
        check_surface(surface)


def test_flipped_triangles_are_refused(shapes):
    surface = shapes["tube"]()
    surface.triangles[7] = surface.triangles[7, ::-1]
    with pytest.raises(InputError, match="flipped triangles near"):
        check_surface(surface)


def test_a_throat_has_no_area_where_its_plane_cuts_along_another_vessel(shapes):
    surface = shapes["tube"]()
    along = np.array([[-1.0, 0.0, 6.0], [0.0, 0.0, 6.0], [1.0, 0.0, 6.0]])  # across the tube
    facets = surface.triangles[surface.patch == 0]
    throat = Throat((0.0, 0.0, 6.0), 1.2)
    wall = SmoothWall(surface)
    assert throat_areas([throat], along, wall, surface.points, facets) == [(None, None)]


def test_area_of_a_degenerate_triangle_is_zero():
    area, normal = triangle_areas(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert area[0] == 0
    assert not normal.any()


def test_a_fault_of_the_program_ends_its_rung_only(shapes, monkeypatch):
    real, calls = remesh, []

    def faulty(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise IndexError("index 7 is out of bounds")
        return real(*arguments)

    monkeypatch.setattr("meshing.ladder.remesh", faulty)
    made = climb(shapes["tube"](), MeshOptions(), lambda _: None)
    first, second = made.quality["rungs"]
    assert first["outcome"] == "refused"
    assert "IndexError: index 7 is out of bounds" in first["reason"]
    assert second["outcome"] == "used"


def test_the_area_of_a_throat_is_measured_on_wall_and_mesh(shapes):
    surface = shapes["stenosis"](sides=32, rings=160)
    throats = find_throats(surface.centerline, surface.radius, surface.upstream)
    facets = surface.triangles[surface.patch == 0]
    wall = SmoothWall(surface)
    ((smooth, flat),) = throat_areas(throats, surface.centerline, wall, surface.points, facets)
    assert smooth is not None
    assert flat is not None
    assert smooth == pytest.approx(np.pi * 0.6**2, rel=1e-3)
    polygon = 16 * np.sin(np.pi / 16) * 0.6**2  # of 32 sides
    assert flat == pytest.approx(polygon, rel=2e-3)
    wide = surface.points * [1.02, 1.02, 1.0]
    ((_, moved),) = throat_areas(throats, surface.centerline, wall, wide, facets)
    assert moved is not None
    assert moved / smooth == pytest.approx(1.02**2 * flat / smooth, rel=1e-6)


@pytest.mark.parametrize(
    ("quality", "says"),
    [
        ({"volume_error": -0.003, "throats": []}, "volume off by -0.30%"),
        (
            {
                "volume_error": 0.0,
                "throats": [{"centre_mm": [1.0, 2.0, 3.0], "area_error": 0.03}],
            },
            r"throat at \(1.00, 2.00, 3.00\) mm off by 1.50% of its diameter",
        ),
    ],
)
def test_lost_volume_or_a_narrowed_throat_is_refused(quality, says):
    with pytest.raises(RefusedError, match=says):
        accept_shape(quality, MeshOptions())
    straight = MeshOptions(order=1)  # loses more, knowingly, but not without bound
    accept_shape(quality, straight)
    with pytest.raises(RefusedError, match=r"volume off by -6.00%, more than 5.00%"):
        accept_shape({"volume_error": -0.06, "throats": []}, straight)
    accept_shape(
        {"volume_error": -0.06, "throats": []}, MeshOptions(order=1, elements_per_diameter=4)
    )


def test_a_second_body_and_a_pinched_vertex_are_refused(shapes):
    surface = shapes["tube"]()
    away = surface.points + np.array([10.0, 0, 0])
    size = len(surface.points)
    two = replace(
        surface,
        points=np.vstack([surface.points, away]),
        triangles=np.vstack([surface.triangles, surface.triangles + size]),
        patch=np.concatenate([surface.patch, surface.patch]),
    )
    with pytest.raises(InputError, match="one body; got 2 bodies"):
        check_surface(two)
    glued = two.triangles.copy()
    glued[glued == size + 100] = 100  # one vertex of the second tube is one of the first
    with pytest.raises(InputError, match="1 such points, one at"):
        check_surface(replace(two, triangles=glued))
