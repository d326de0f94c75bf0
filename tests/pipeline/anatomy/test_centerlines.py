"""Centrelines, sections, branches and flow extensions of lumens whose numbers are known."""

import numpy as np
import pytest

from meshing.errors import ComputationError
from pipeline.anatomy import to_lumen
from pipeline.anatomy.extrude import extrude, section
from pipeline.anatomy.lines import smooth
from pipeline.anatomy.surface import Surface, boundary_loops
from pipeline.anatomy.trace import ATTEMPTS, trace
from pipeline.anatomy.vtkio import read_surface

BOTH = (("in", "inlet"), ("out", "outlet"))


def bend(radius, angle, step=0.2):
    t = np.linspace(0, angle, round(radius * angle / step) + 1)
    return radius * np.column_stack([np.cos(t), np.sin(t), 0 * t])


def test_straight_tube(case, shapes):
    points = shapes.straight(20)
    anatomy, (line,) = case.put(shapes.tube(points, np.full(len(points), 1.5)), BOTH).run()
    core = ~line.extension
    np.testing.assert_allclose(line.abscissa_mm[core][[0, -1]], [0, 20], atol=1e-3)
    np.testing.assert_allclose(line.abscissa_mm[[0, -1]], [-9, 29], atol=1e-3)
    np.testing.assert_allclose(line.area_mm2, np.pi * 1.5**2, rtol=1e-3)
    np.testing.assert_allclose(line.radius_mm, 1.5, rtol=0.01)
    np.testing.assert_allclose(line.tangent, np.tile([0, 0, 1.0], (len(core), 1)), atol=1e-3)
    np.testing.assert_allclose(line.points_mm[:, :2], 0, atol=0.01)
    assert (line.branch == 0).all()
    assert np.diff(line.abscissa_mm).max() < 0.15 * 3.0
    assert anatomy.lumen_volume_mm3 == pytest.approx(np.pi * 1.5**2 * 20, rel=1e-6)
    assert anatomy.lesions == ()


def test_bent_tube_is_not_cut_short(case, shapes):
    points = bend(9.0, np.pi)  # half a circle of three diameters radius
    surface = shapes.tube(points, np.full(len(points), 1.5), around=48)
    _, (line,) = case.put(surface, BOTH).run(
        inlet_extension_diameters=0, outlet_extension_diameters=0
    )
    assert line.abscissa_mm[-1] == pytest.approx(9 * np.pi, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(line.points_mm, axis=1), 9.0, atol=0.15)
    np.testing.assert_allclose(line.area_mm2, np.pi * 1.5**2, rtol=0.01)
    radial = line.points_mm / np.linalg.norm(line.points_mm, axis=1, keepdims=True)
    exact = np.stack([-radial[:, 1], radial[:, 0], radial[:, 2]], axis=1)
    angle = np.degrees(np.arccos(np.clip((exact * line.tangent).sum(axis=1), -1, 1)))
    assert angle.max() < 6.0


def test_noise_on_the_wall_does_not_tilt_the_tangents(case, shapes):
    points = shapes.straight(20)
    surface = shapes.tube(points, np.full(len(points), 1.5))
    wall = np.setdiff1d(
        np.unique(surface.triangles[surface.patch == 0]),
        np.unique(surface.triangles[surface.patch > 0]),
    )
    surface.points[wall] += np.random.default_rng(3).normal(0, 0.04, (len(wall), 3))
    _, (line,) = case.put(surface, BOTH).run()
    angle = np.degrees(np.arccos(np.clip(line.tangent[:, 2], -1, 1)))
    assert angle.max() < 4.0
    np.testing.assert_allclose(line.area_mm2, np.pi * 1.5**2, rtol=0.04)


def y_tree(shapes, step=0.15):
    """A trunk of radius 1.5 along z, splitting at z = 12 into two of radius 1.2, 40 degrees each side."""
    side = np.array([np.sin(np.radians(40)), 0, np.cos(np.radians(40))])
    mirror = side * [-1, 1, 1]
    fork = np.array([0, 0, 12.0])

    def distance(p):
        tree = np.minimum.reduce(
            [
                shapes.capsule(p, [0, 0, -5], fork, 1.5),
                shapes.capsule(p, fork, fork + 20 * side, 1.2),
                shapes.capsule(p, fork, fork + 20 * mirror, 1.2),
            ]
        )
        ends = [p[:, 2] * -1.0, *((p - fork) @ d - 12.0 for d in (side, mirror))]
        return np.maximum.reduce([tree, *ends])

    return shapes.level_set(distance, [-11, -2.5, -1], [11, 2.5, 24], step), fork, side, mirror


def test_bifurcation(case, shapes):
    surface, fork, side, mirror = y_tree(shapes)
    anatomy, lines = case.put(surface).run(
        names={"left": tuple(fork + 12 * mirror), "right": tuple(fork + 12 * side)}
    )
    assert {end.name for end in anatomy.outlets} == {"left", "right"}
    assert anatomy.inlet.diameter_mm == pytest.approx(3.0, rel=0.02)
    for end in anatomy.outlets:
        assert end.diameter_mm == pytest.approx(2.4, rel=0.02)
    by_name = {line.outlet: line for line in lines}
    stem = [line.branch == 0 for line in lines]
    np.testing.assert_array_equal(lines[0].points_mm[stem[0]], lines[1].points_mm[stem[1]])
    np.testing.assert_array_equal(lines[0].area_mm2[stem[0]], lines[1].area_mm2[stem[1]])
    assert set(lines[0].branch) & set(lines[1].branch) == {0}
    split = lines[0].points_mm[stem[0]][-1]
    assert np.linalg.norm(split - fork) < 1.5 * 1.5  # within the stem's diameter
    for name, axis in (("right", side), ("left", mirror)):
        line = by_name[name]
        tail = line.abscissa_mm > 12 + 6
        np.testing.assert_allclose(line.area_mm2[tail], np.pi * 1.2**2, rtol=0.04)
        assert (line.tangent[tail] @ axis).min() > np.cos(np.radians(4))
        assert np.isnan(line.area_mm2).any()  # sections at the fork span both daughters
        head = (line.abscissa_mm > 0) & (line.abscissa_mm < 9)
        np.testing.assert_allclose(line.area_mm2[head], np.pi * 1.5**2, rtol=0.04)
        assert not (line.area_mm2 > 1.6 * np.pi * 1.5**2).any()


@pytest.mark.parametrize("diameters", [1.0, 3.0])
def test_flow_extension_adds_area_times_length(case, shapes, diameters):
    points = bend(12.0, 1.5)
    surface = shapes.tube(points, np.linspace(1.6, 1.1, len(points)))
    anatomy, (line,) = case.put(surface, BOTH).run(
        inlet_extension_diameters=diameters, outlet_extension_diameters=2 * diameters
    )
    vessel = read_surface(case.folder / "anatomy" / "vessel.vtp", "patch")
    assert boundary_loops(vessel.triangles) == []
    added = 0.0
    for end, factor in zip(anatomy.ends, (diameters, 2 * diameters), strict=True):
        assert end.extension_mm == pytest.approx(factor * end.diameter_mm)
        far = section(vessel, end.patch)
        assert far.area == pytest.approx(end.area_mm2, rel=1e-9)
        expected = np.add(end.centre_mm, end.extension_mm * np.array(end.normal))
        np.testing.assert_allclose(far.centre, expected, atol=1e-9)
        added += end.area_mm2 * end.extension_mm
    assert vessel.volume == pytest.approx(anatomy.lumen_volume_mm3 + added, rel=1e-9)
    assert anatomy.lumen_volume_mm3 == pytest.approx(surface.volume, rel=1e-12)
    lengths = [end.extension_mm for end in anatomy.ends]
    assert line.abscissa_mm[0] == pytest.approx(-lengths[0], rel=0.01)
    assert line.extension.sum() > 0
    assert (
        line.extension
        == (line.abscissa_mm < 0) | (line.abscissa_mm > line.abscissa_mm[~line.extension][-1])
    ).all()


def test_no_flow_extension(case, shapes):
    points = shapes.straight(12)
    surface = shapes.tube(points, np.full(len(points), 1.0))
    _, (line,) = case.put(surface, BOTH).run(
        inlet_extension_diameters=0, outlet_extension_diameters=0
    )
    vessel = read_surface(case.folder / "anatomy" / "vessel.vtp", "patch")
    assert not vessel.extension.any()
    assert not line.extension.any()
    np.testing.assert_allclose(line.abscissa_mm[[0, -1]], [0, 12], atol=1e-3)
    np.testing.assert_allclose(line.area_mm2, np.pi, rtol=1e-3)


def test_flow_extension_stops_before_another_part_of_the_vessel(case, shapes):
    """A hook whose outlet looks at its own wall, 4 mm away."""
    down = np.column_stack([np.full(60, 6.0), np.zeros(60), np.linspace(24, 12, 60)])
    t = np.linspace(0, np.pi / 2, 40)
    elbow = np.column_stack([3 + 3 * np.cos(t), 0 * t, 12 - 3 * np.sin(t)])
    arm = np.column_stack([np.linspace(3, -4, 30), np.zeros(30), np.full(30, 9.0)])
    turn = np.linspace(0, np.pi, 60)
    back = np.column_stack([-4 - 4 * np.sin(turn), 0 * turn, 9 + 4 * (1 - np.cos(turn))])
    home = np.column_stack([np.linspace(-4, 1, 20), np.zeros(20), np.full(20, 17.0)])
    points = np.vstack([down, elbow[1:], arm[1:], back[1:], home[1:]])
    keep = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-9])
    points = points[keep]
    anatomy, _ = case.put(shapes.tube(points, np.full(len(points), 1.0)), BOTH).run(
        outlet_extension_diameters=5
    )
    (outlet,) = anatomy.outlets
    assert 1.0 < outlet.extension_mm <= 4.0 - 0.4  # the wall is at x = 5, the outlet at x = 1
    assert any("in the way" in note for note in anatomy.notes)


@pytest.mark.parametrize("number", range(len(ATTEMPTS)))
def test_every_way_of_tracing_finds_the_axis(shapes, number, capfd):
    method, amount = ATTEMPTS[number]
    points = shapes.straight(15)
    surface = shapes.tube(points, np.full(len(points), 1.5))
    noise = np.random.default_rng(1).standard_normal(surface.points.shape)
    surface.points[:] += amount * surface.edge_length * noise
    ends = [len(surface.points) - 2, len(surface.points) - 1]  # the centres of the caps
    (raw,) = method(surface, ends[0], ends[1:])
    line = smooth(raw)
    assert line.points[0][2] < 0.1
    assert line.points[-1][2] > 14.9
    middle = (line.points[:, 2] > 2) & (line.points[:, 2] < 13)
    assert np.linalg.norm(line.points[middle, :2], axis=1).max() < 0.05 * 1.5
    np.testing.assert_allclose(line.radius[middle], 1.5, rtol=0.02)
    assert capfd.readouterr() == ("", "")


def test_a_gap_in_the_vessel_is_said(shapes):
    one = shapes.tube(shapes.straight(5), np.full(21, 1.0))
    two = Surface.of(
        np.vstack([one.points, one.points + np.array([0, 0, 9.0])]),
        np.vstack([one.triangles, one.triangles + len(one.points)]),
    )
    with pytest.raises(ComputationError, match="centrelines failed"):
        trace(two, len(one.points) - 2, [2 * len(one.points) - 1])


def test_extrusion_of_any_flat_rim(shapes):
    surface = shapes.tube(shapes.straight(5), np.full(21, 2.0), scale=(1.4, 0.6))
    longer = extrude(surface, 2, 3.3)
    area = np.pi * 4 * 1.4 * 0.6
    assert longer.volume - surface.volume == pytest.approx(area * 3.3, rel=1e-9)
    assert longer.extension.sum() > surface.extension.sum()
    assert boundary_loops(longer.triangles) == []


def test_mesh_generator_gets_a_closed_outward_surface(case, shapes):
    points = shapes.straight(12)
    case.put(shapes.tube(points, np.full(len(points), 1.0)), BOTH).run()
    lumen = to_lumen(case.folder / "anatomy")
    a, b, c = (lumen.points[lumen.triangles[:, k]] for k in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(np.pi * 24, rel=1e-3)
    assert [(cap.name, cap.role, cap.patch) for cap in lumen.caps] == [
        ("in", "inlet", 1),
        ("out", "outlet", 2),
    ]
    assert set(lumen.patch) == {0, 1, 2}
    np.testing.assert_allclose(lumen.radius, 1.0, rtol=0.01)
    assert len(lumen.centerline) == len(lumen.radius)
