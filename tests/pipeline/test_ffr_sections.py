import numpy as np
import pytest

from pipeline.ffr.sections import Sectioner, shape_functions

RADIUS, LENGTH = 1.5e-3, 12e-3


def sectioner(mesh, pressure=None, velocity=None):
    points = mesh.points * 1e3
    zero = np.zeros(len(points))
    return Sectioner(
        points,
        mesh.cells,
        zero if pressure is None else pressure(points),
        np.zeros_like(points) if velocity is None else velocity(points),
    )


def tube(make_tube_mesh, order, rings=4, layers=14):
    return make_tube_mesh(lambda z: RADIUS, LENGTH, rings, layers, order)


def linear(points):
    return points @ np.array([3.0, -2.0, 5.0]) + 7.0


@pytest.mark.parametrize("order", [1, 2])
def test_linear_pressure_is_averaged_exactly(make_tube_mesh, order):
    cut = sectioner(tube(make_tube_mesh, order), linear)
    section = cut.section(np.array([0.0, 0.0, 5.3]), np.array([0.0, 0.0, 1.0]), 1.5, np.pi * 1.5**2)
    assert section.whole
    assert section.pressure == pytest.approx(7.0 + 5.0 * 5.3, abs=1e-10)


def test_an_oblique_plane_averages_at_its_centre(make_tube_mesh):
    cut = sectioner(tube(make_tube_mesh, 2), linear)
    tangent = np.array([0.0, np.sin(0.4), np.cos(0.4)])
    ellipse = np.pi * 1.5**2 / np.cos(0.4)
    section = cut.section(np.array([0.0, 0.0, 6.0]), tangent, 1.5, ellipse)
    assert section.whole
    assert section.area_mm2 == pytest.approx(ellipse, rel=0.01)
    assert section.pressure == pytest.approx(7.0 + 30.0, rel=1e-3)  # as round as its polygon


def test_area_converges_to_the_circle(make_tube_mesh):
    errors = []
    for rings in (3, 6):
        cut = sectioner(tube(make_tube_mesh, 2, rings))
        section = cut.section(np.array([0, 0, 6.1]), np.array([0, 0, 1.0]), 1.5, np.pi * 1.5**2)
        errors.append(1 - section.area_mm2 / (np.pi * 1.5**2))
    assert 0 < errors[1] < errors[0] / 3.5
    assert errors[0] < 0.01


def test_poiseuille_flow_is_integrated_with_the_quadratic_velocity(make_tube_mesh):
    def profile(points):
        speed = 2 * 0.3 * (1 - (points[:, 0] ** 2 + points[:, 1] ** 2) / 1.5**2)
        return np.column_stack([0 * speed, 0 * speed, speed])

    cut = sectioner(tube(make_tube_mesh, 2), velocity=profile)
    tangent = np.array([0.0, 0.0, 1.0])
    section = cut.section(np.array([0.0, 0.0, 5.3]), tangent, 1.5, np.pi * 1.5**2)
    assert section.flow_mL_per_s == pytest.approx(0.3 * np.pi * 1.5**2, rel=2e-3)
    assert section.peak_m_per_s == pytest.approx(0.6, rel=0.01)
    back = cut.section(np.array([0.0, 0.0, 5.3]), -tangent, 1.5, np.pi * 1.5**2)
    assert back.flow_mL_per_s == pytest.approx(-section.flow_mL_per_s, rel=1e-12)


def test_a_plane_through_nodes_counts_every_face_once(make_tube_mesh):
    """Layers of nodes lie at multiples of 12 / 14 mm: the plane runs along faces of the cells."""
    cut = sectioner(tube(make_tube_mesh, 2), linear)
    z = 7 * 12 / 14
    section = cut.section(np.array([0.0, 0.0, z]), np.array([0.0, 0.0, 1.0]), 1.5, np.pi * 1.5**2)
    assert section.area_mm2 == pytest.approx(np.pi * 1.5**2, rel=0.01)
    assert section.pressure == pytest.approx(7 + 5 * z, abs=1e-9)


@pytest.mark.parametrize(("z", "inside"), [(0.0, 1), (12.0, -1)])
def test_end_planes_are_cut_a_hair_inside(make_tube_mesh, z, inside):
    cut = sectioner(tube(make_tube_mesh, 2), linear)
    section = cut.section(np.array([0.0, 0.0, z]), np.array([0.0, 0.0, 1.0]), 1.5, np.pi * 1.5**2)
    assert section.area_mm2 == pytest.approx(np.pi * 1.5**2, rel=0.01)
    assert section.pressure == pytest.approx(7 + 5 * z, abs=0.1)
    assert (section.pressure - 7 - 5 * z) * inside > -1e-9


def test_nothing_is_cut_outside(make_tube_mesh):
    cut = sectioner(tube(make_tube_mesh, 2))
    assert cut.section(np.array([0.0, 0.0, 20.0]), np.array([0.0, 0.0, 1.0]), 1.5, 7.0) is None


def two_tubes(make_tube_mesh, distance):
    """Two parallel tubes, ``distance`` [mm] between the axes; pressure 1 in the first, 2 in the second."""
    one = tube(make_tube_mesh, 2)
    points = np.concatenate([one.points * 1e3, one.points * 1e3 + [distance, 0, 0]])
    cells = np.concatenate([one.cells, one.cells + len(one.points)])
    pressure = np.repeat([1.0, 2.0], len(one.points))
    return Sectioner(points, cells, pressure, np.zeros_like(points))


def test_only_the_vessel_of_the_centreline_point_is_averaged(make_tube_mesh):
    cut = two_tubes(make_tube_mesh, 3.2)
    tangent = np.array([0.0, 0.0, 1.0])
    for x, expected in ((0.0, 1.0), (3.2, 2.0)):
        section = cut.section(np.array([x, 0.0, 5.0]), tangent, 1.5, np.pi * 1.5**2)
        assert section.whole
        assert section.pressure == pytest.approx(expected)
        assert section.area_mm2 == pytest.approx(np.pi * 1.5**2, rel=0.01)


def test_without_an_area_only_the_disc_around_the_centre_counts(make_tube_mesh):
    cut = sectioner(tube(make_tube_mesh, 2, rings=8), lambda x: x[:, 0] ** 2)
    section = cut.section(np.array([0.0, 0.0, 5.0]), np.array([0.0, 0.0, 1.0]), 0.75, np.nan)
    assert not section.whole
    assert np.isnan(section.flow_mL_per_s)
    assert section.area_mm2 == pytest.approx(np.pi * 0.9**2, rel=0.15)


def test_a_section_larger_than_anatomy_says_falls_back_to_the_disc(make_tube_mesh):
    cut = sectioner(tube(make_tube_mesh, 2))
    section = cut.section(np.array([0.0, 0.0, 5.0]), np.array([0.0, 0.0, 1.0]), 0.8, np.pi * 0.8**2)
    assert not section.whole


def test_a_flat_lumen_is_followed_beyond_the_first_reach(make_tube_mesh):
    mesh = tube(make_tube_mesh, 2)
    points = mesh.points * 1e3 * [8 / 1.5, 1 / 1.5, 1]  # an ellipse 16 mm x 2 mm
    cut = Sectioner(points, mesh.cells, linear(points), np.zeros_like(points))
    section = cut.section(np.array([0.0, 0.0, 5.0]), np.array([0.0, 0.0, 1.0]), 1.0, np.pi * 8)
    assert section is not None
    assert section.whole
    assert section.area_mm2 == pytest.approx(np.pi * 8, rel=0.01)
    assert section.pressure == pytest.approx(32.0, abs=1e-9)


@pytest.mark.parametrize("nodes", [4, 10])
def test_shape_functions_are_a_nodal_partition_of_unity(nodes):
    from pipeline.ffr.sections import REFERENCE

    values = shape_functions(REFERENCE[:nodes], nodes)
    assert values == pytest.approx(np.eye(nodes), abs=1e-14)
    inside = np.array([[0.2, 0.3, 0.1], [0.1, 0.1, 0.7]])
    assert shape_functions(inside, nodes).sum(axis=1) == pytest.approx([1, 1])
    assert shape_functions(inside, nodes) @ REFERENCE[:nodes] == pytest.approx(inside)
