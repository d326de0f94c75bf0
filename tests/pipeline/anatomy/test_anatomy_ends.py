"""Vessel ends: found in every kind of surface, cut, named; and what is refused."""

import numpy as np
import pytest

from meshing.errors import ComputationError, InputError
from pipeline.anatomy import recut
from pipeline.anatomy.capping import triangulate_loop
from pipeline.anatomy.clip import cut_off
from pipeline.anatomy.flat import flat_caps, without_wall
from pipeline.anatomy.surface import Surface, boundary_loops, half_edges
from pipeline.anatomy.tips import tips


def tapered(shapes, **kind):
    points = shapes.straight(20)
    return shapes.tube(points, np.linspace(1.6, 1.2, len(points)), **kind)


def bare(surface):
    return Surface.of(surface.points, surface.triangles)


def test_open_ends_are_capped(case, shapes):
    anatomy, _ = case.put(tapered(shapes, capped=False)).run()
    assert [(end.name, end.role, end.patch) for end in anatomy.ends] == [
        ("inlet", "inlet", 1),
        ("outlet_1", "outlet", 2),
    ]
    assert anatomy.inlet.area_mm2 == pytest.approx(np.pi * 1.6**2, rel=1e-6)
    np.testing.assert_allclose(anatomy.inlet.centre_mm, (0, 0, 0), atol=1e-6)
    np.testing.assert_allclose(anatomy.inlet.normal, (0, 0, -1), atol=1e-6)
    assert anatomy.outlets[0].area_mm2 == pytest.approx(np.pi * 1.2**2, rel=1e-6)


def test_flat_caps_of_a_closed_surface_are_found(case, shapes):
    surface = tapered(shapes)
    caps = flat_caps(bare(surface))
    assert [set(surface.patch[cells]) for cells in caps] == [{1}, {2}]
    anatomy, _ = case.put(bare(surface)).run()
    assert anatomy.inlet.area_mm2 == pytest.approx(np.pi * 1.6**2, rel=1e-6)
    (note,) = anatomy.notes
    assert note.startswith("inlet: the largest end, 3.20 mm wide")


def test_flat_caps_are_found_under_noise(shapes):
    surface = tapered(shapes, around=40)
    noisy = bare(surface)
    noisy.points[:] += np.random.default_rng(2).normal(0, 0.02, noisy.points.shape)
    caps = flat_caps(noisy)
    assert [set(surface.patch[cells]) for cells in caps] == [{1}, {2}]


@pytest.mark.parametrize("around", [6, 8, 12])
def test_facets_of_a_coarse_tube_are_no_caps(shapes, around):
    surface = tapered(shapes, around=around)
    assert [set(surface.patch[cells]) for cells in flat_caps(bare(surface))] == [{1}, {2}]


@pytest.mark.parametrize("patch", [1, 2])
def test_wall_triangles_that_joined_a_flat_cap_are_left_out(shapes, patch):
    surface = tapered(shapes)
    cap = np.flatnonzero(surface.patch == patch)
    rim = np.isin(surface.triangles, surface.triangles[cap]).any(axis=1)
    wall = np.flatnonzero(rim & (surface.patch == 0))
    assert without_wall(surface, np.concatenate([cap, wall[:3]])).tolist() == cap.tolist()
    assert without_wall(surface, cap).tolist() == cap.tolist()
    everything = np.arange(len(surface.triangles))
    assert without_wall(surface, everything).tolist() == everything.tolist()


def capsule(shapes, step=0.2, bumps=()):
    def distance(p):
        d = shapes.capsule(p, [0, 0, 0], [2, 0, 20], 1.5)
        for place in bumps:
            d = np.minimum(d, np.linalg.norm(p - place, axis=1) - 0.8)
        return d

    return shapes.level_set(distance, [-3, -3, -3], [5, 3, 23], step)


def test_rounded_ends_are_cut_perpendicular(case, shapes):
    anatomy, (line,) = case.put(capsule(shapes)).run(end_clip_diameters=1.0)
    axis = np.array([2, 0, 20]) / np.hypot(2, 20)
    assert len(anatomy.outlets) == 1
    for end in anatomy.ends:
        assert end.diameter_mm == pytest.approx(3.0, rel=0.02)
        assert abs(np.dot(end.normal, axis)) > np.cos(np.radians(3))
    # the capsule is 20.1 + 3 mm long; one diameter goes at each end
    length = line.abscissa_mm[~line.extension][-1]
    assert length == pytest.approx(np.hypot(2, 20) + 3 - 2 * 3.0, abs=0.6)
    np.testing.assert_allclose(line.area_mm2, np.pi * 1.5**2, rtol=0.03)


@pytest.mark.parametrize("slant", [50, 58, 64])
def test_an_end_as_oblique_as_an_ostium_is_cut_perpendicular(case, shapes, slant):
    """A tip on the rim of a slanting end: the centreline bends towards it from far, and sections begin small."""
    axis, slant = np.array([0.0, 0.0, 1.0]), np.radians(slant)
    face = np.array([np.sin(slant), 0.0, np.cos(slant)])

    def distance(p):
        tube = shapes.capsule(p, [0, 0, 0], [0, 0, 30], 2.0)
        return np.maximum(tube, (p - [0, 0, 24]) @ face)

    surface = shapes.level_set(distance, [-3, -3, -3], [3, 3, 29], 0.25)
    anatomy, _ = case.put(surface).run(inlet=(-2, 0, 26), rounded_ends="open")
    assert anatomy.inlet.diameter_mm == pytest.approx(4.0, rel=0.06)
    assert abs(np.dot(anatomy.inlet.normal, axis)) > np.cos(np.radians(20))


def test_bumps_are_no_ends(shapes):
    surface = capsule(shapes, bumps=([1.6, 1.0, 8], [0.2, -1.4, 13], [3.0, 0.2, 17]))
    assert len(tips(surface, np.empty(0, np.int64))) == 2


def test_hints_say_where_to_cut_and_what_to_call_it(case, shapes):
    places = [[1.8, 0.0, 18.0], [0.1, 0.0, 1.0]]
    hints = [
        {"name": "LM", "role": "inlet", "point_mm": places[0]},
        {"name": "LAD", "role": "outlet", "point_mm": places[1]},
    ]
    anatomy, _ = case.put(capsule(shapes), hints=hints).run()
    assert [end.name for end in anatomy.ends] == ["LM", "LAD"]
    np.testing.assert_allclose(anatomy.inlet.centre_mm, places[0], atol=0.3)
    np.testing.assert_allclose(anatomy.outlets[0].centre_mm, places[1], atol=0.3)


def test_oblique_open_end_is_cut_again_but_a_given_cap_is_kept(case, shapes):
    surface = shapes.tube(shapes.straight(24), np.full(97, 1.5))
    last = np.isclose(surface.points[:, 2], 24)
    surface.points[last, 2] += 1.0 * surface.points[last, 0]  # 45 degrees
    caps = (("in", "inlet"), ("out", "outlet"))
    kept, _ = case.put(surface, caps).run()
    assert kept.outlets[0].area_mm2 == pytest.approx(np.pi * 1.5**2 * np.sqrt(2), rel=0.01)
    assert any("oblique; kept" in note for note in kept.notes)
    cut, _ = case.put(bare(surface)).run(inlet=(0, 0, 0))
    assert cut.outlets[0].area_mm2 == pytest.approx(np.pi * 1.5**2, rel=0.02)
    assert cut.outlets[0].normal[2] > np.cos(np.radians(5))
    assert any("cut perpendicular" in note for note in cut.notes)


def test_a_cut_that_fails_is_tried_deeper(case, shapes, monkeypatch):
    """Rough ends of label maps are in several loops at one place and in one a little further in."""
    surface = shapes.tube(shapes.straight(24), np.full(97, 1.5))
    last = np.isclose(surface.points[:, 2], 24)
    surface.points[last, 2] += 1.0 * surface.points[last, 0]
    places = []

    def rough(surface, seed, origin, normal, patch):
        places.append(origin[2])
        if len(places) < 3:
            raise ComputationError("the cut gives 4 loops, not one")
        return cut_off(surface, seed, origin, normal, patch)

    monkeypatch.setattr(recut, "cut_off", rough)
    anatomy, _ = case.put(bare(surface)).run(inlet=(0, 0, 0))
    assert places == sorted(places, reverse=True)
    assert anatomy.outlets[0].centre_mm[2] == pytest.approx(places[2], abs=0.2)
    monkeypatch.setattr(recut, "_DEEPER", (0.0,))
    places.clear()
    with pytest.raises(ComputationError, match="4 loops"):
        case.run(inlet=(0, 0, 0))


@pytest.mark.parametrize(("height", "ends"), [(1.1, 2), (1.4, 2), (8.0, 3)])
def test_a_bump_is_no_end_and_a_branch_is(case, shapes, height, ends):
    """A knob or a stub on a wall, however slender, must not cost a vessel its outlet."""

    def distance(p):
        vessel = shapes.capsule(p, [0, 0, 0], [0, 0, 40], 1.6)
        knob = shapes.capsule(p, [0, 0, 22], [1.6 + height, 0, 22], 0.5)
        return np.minimum(vessel, knob)

    surface = shapes.level_set(distance, [-2, -2, -2], [11, 2, 42], 0.2)
    hints = [{"name": "LM", "role": "inlet", "point_mm": [0.0, 0.0, 0.0]}]
    anatomy, _ = case.put(surface, hints=hints).run()
    assert len(anatomy.ends) == ends
    assert anatomy.inlet.centre_mm[2] == pytest.approx(0.0, abs=1.5)
    assert any(end.centre_mm[2] > 37 for end in anatomy.outlets)
    for end in anatomy.outlets:
        if end.centre_mm[2] < 37:
            assert end.centre_mm[0] > 6


def test_a_knob_beside_a_tip_goes_with_it(case, shapes):
    """One end, though two places of it stand out."""

    def distance(p):
        vessel = shapes.capsule(p, [0, 0, 0], [0, 0, 40], 1.6)
        knobs = [
            shapes.capsule(p, [0, 0, 39], [x, 0, z], 0.5) for x, z in ((1.2, 42.6), (-1.2, 42.2))
        ]
        return np.minimum.reduce([vessel, *knobs])

    surface = shapes.level_set(distance, [-2.5, -2, -2], [2.5, 2, 46], 0.15)
    assert len(tips(surface, np.empty(0, np.int64))) == 3
    hints = [{"name": "LM", "role": "inlet", "point_mm": [0.0, 0.0, 0.0]}]
    anatomy, _ = case.put(surface, hints=hints).run()
    (outlet,) = anatomy.outlets
    assert 2.5 < outlet.diameter_mm < 3.3  # of the vessel, not of a knob
    assert 36 < outlet.centre_mm[2] < 41.6


def test_mixed_ends(case, shapes):
    """One given cap, the other end rounded."""

    def distance(p):
        return np.maximum(shapes.capsule(p, [0, 0, -5], [0, 0, 15], 1.5), -p[:, 2])

    surface = shapes.level_set(distance, [-2, -2, -1], [2, 2, 18], 0.2)
    surface.patch[surface.centroids[:, 2] < 0.05] = 1
    case.put(surface, [("aorta", None)])
    with pytest.raises(
        InputError, match=r"(?s)1 vessel end.*rounded_ends"
    ):  # it may be an occlusion
        case.run()
    anatomy, _ = case.run(rounded_ends="open")
    assert anatomy.inlet.name == "aorta" or anatomy.outlets[0].name == "aorta"
    (other,) = [end for end in anatomy.ends if end.name != "aorta"]
    assert other.diameter_mm == pytest.approx(3.0, rel=0.02)
    assert 12 < other.centre_mm[2] < 15.5


def test_cut_removes_exactly_what_is_beyond_the_plane(shapes):
    surface = shapes.tube(shapes.straight(10), np.full(41, 1.0), around=48)
    origin = np.array([0.0, 0.0, 6.1])
    normal = np.array([np.sin(0.3), 0.0, np.cos(0.3)])
    seed = int(np.argmax(surface.points[:, 2]))
    cut = cut_off(surface, seed, origin, normal, 9)
    assert boundary_loops(cut.triangles) == []
    assert cut.volume == pytest.approx(np.pi * 6.1, rel=2e-3)  # an oblique cut through the axis
    assert set(cut.patch) == {0, 1, 9}
    cap = cut.points[np.unique(cut.triangles[cut.patch == 9])]
    np.testing.assert_allclose((cap - origin) @ normal, 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["round", "flat", "coarse", "marching cubes"])
def test_cuts_leave_a_manifold_without_slivers(shapes, kind):
    """Planes anywhere, every third along a row of vertices."""
    points = shapes.straight(8, 0.1 if kind == "flat" else 0.25)
    radius = np.full(len(points), 1.2)
    surface = {
        "round": lambda: shapes.tube(points, radius),
        "flat": lambda: shapes.tube(points, radius, scale=(1.6, 0.6)),
        "coarse": lambda: shapes.tube(shapes.straight(8, 1.0), radius[:9], around=7),
        "marching cubes": lambda: shapes.level_set(
            lambda p: np.maximum.reduce(
                [np.hypot(p[:, 0], p[:, 1]) - 1.2, -p[:, 2], p[:, 2] - 8.0]
            ),
            [-1.5, -1.5, -0.5],
            [1.5, 1.5, 8.5],
            0.3,
        ),
    }[kind]()
    usual = np.linalg.norm(surface.area_vectors, axis=1)
    rng = np.random.default_rng(4)
    for k in range(12):
        height = 4 + 2 * rng.random()
        tilt, turn = (0.0, 0.0) if k % 3 == 0 else (0.5 * rng.random(), 6.28 * rng.random())
        if k % 3 == 0:
            height = round(height, 1)
        normal = np.array([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
        seed = int(np.argmax(surface.points[:, 2]))
        cut = cut_off(surface, seed, np.array([0, 0, height]), normal, 3)
        edges = np.sort(half_edges(cut.triangles), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
        sizes = np.linalg.norm(cut.area_vectors, axis=1)
        assert sizes.min() > min(1e-2 * np.median(usual), 0.1 * usual.min())


def test_cap_of_a_hollow_rim_keeps_its_edges():
    """A crescent: not convex, so that a plain Delaunay triangulation would bridge it."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rim = np.column_stack([np.cos(t), np.sin(t) * (1 - 0.8 * (np.cos(t) > 0)), 0 * t])
    rim[:, 0] -= 0.9 * np.exp(-((rim[:, 1] / 0.15) ** 2)) * (np.cos(t) > 0.5)
    inner, cells = triangulate_loop(rim, np.array([0, 0, 1.0]))
    cap = Surface.of(np.vstack([rim, inner]), cells)
    x, y = rim[:, 0], rim[:, 1]
    shoelace = 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    assert cap.area_vectors[:, 2].min() > 0
    assert cap.area_vectors[:, 2].sum() == pytest.approx(shoelace)
    (loop,) = boundary_loops(cells)
    assert len(loop) == len(rim)


def test_the_inlet_is_the_largest_end_unless_told(case, shapes):
    case.put(tapered(shapes), [("a", None), ("b", None)])
    assert case.run()[0].inlet.name == "a"
    assert case.run(inlet="b")[0].inlet.name == "b"
    assert case.run(inlet=(0.5, 0.2, 21))[0].inlet.name == "b"
    case.put(tapered(shapes), [("a", "outlet"), ("b", "inlet")])
    assert case.run()[0].inlet.name == "b"


def test_a_loop_of_vessels_is_noted(case, shapes):
    """A ring of radius 6 between two arms: blood can take two ways."""

    def distance(p):
        ring = np.hypot(np.hypot(p[:, 0], p[:, 1]) - 6.0, p[:, 2]) - 1.2
        arms = [shapes.capsule(p, [k * 6, 0, 0], [k * 18, 0, 0], 1.2) for k in (-1, 1)]
        return np.minimum.reduce([ring, *arms])

    ring = shapes.level_set(distance, [-21, -8.5, -2], [21, 8.5, 2], 0.3)
    anatomy, _ = case.put(ring).run()
    assert len(anatomy.ends) == 2  # where the two ways meet again is no end
    assert any("1 loop" in note for note in anatomy.notes)
    points = shapes.straight(12)
    plain, _ = case.put(
        shapes.tube(points, np.full(len(points), 1.0)), [("a", "inlet"), ("b", None)]
    ).run()
    assert plain.notes == ()


def test_names_go_to_the_nearest_ends(case, shapes):
    anatomy, _ = case.put(tapered(shapes, capped=False)).run(
        names={"RCA": (0.1, 0, 20.5), "ostium": (0, 0, 0)}
    )
    assert (anatomy.inlet.name, anatomy.outlets[0].name) == ("ostium", "RCA")


@pytest.mark.parametrize(
    ("caps", "options", "words"),
    [
        (
            (("a", None), ("b", None)),
            {"inlet": "c"},
            ("'c'", "a (given)", "b (given)", "20.0] mm"),
        ),
        ((("a", None), ("b", None)), {"inlet": (0, 0, 10.2)}, ("clearly nearest",)),
        ((("a", None), ("a", None)), {}, ("more than once",)),
        ((("a", "inlet"), ("b", "inlet")), {}, ("2 caps with that role",)),
        ((), {"names": {"x": (0, 0, 0), "y": (0.1, 0, 0)}}, ("already 'x'",)),
        ((), {"names": {"x": (40, 0, 0)}}, ("40", "ends:")),
    ],
)
def test_contradictions_are_refused(case, shapes, caps, options, words):
    case.put(tapered(shapes, capped=bool(caps)), caps)
    with pytest.raises(InputError) as error:
        case.run(**options)
    for word in words:
        assert word in str(error.value)


def test_hint_without_an_end_is_refused(case, shapes):
    hints = [{"name": f"end{k}", "role": None, "point_mm": [0, 0, 20 * k]} for k in range(3)]
    case.put(tapered(shapes, capped=False), hints=hints)
    with pytest.raises(InputError, match="end_hints"):
        case.run()


def test_one_end_is_refused(case, shapes):
    def distance(p):
        return np.maximum(np.linalg.norm(p, axis=1) - 3.0, -p[:, 2])

    bowl = shapes.level_set(distance, [-4, -4, -1], [4, 4, 4], 0.3)
    bowl.patch[bowl.centroids[:, 2] < 0.1] = 1
    with pytest.raises(InputError, match="at least one outlet"):
        case.put(bowl, [("aorta", None)]).run()


def test_two_bodies_are_refused(case, shapes):
    one = tapered(shapes)
    two = Surface.of(
        np.vstack([one.points, one.points + np.array([9.0, 0, 0])]),
        np.vstack([one.triangles, one.triangles + len(one.points)]),
    )
    with pytest.raises(InputError, match="2 bodies"):
        case.put(two).run()


def test_hole_in_the_wall_is_refused(case, shapes):
    surface = tapered(shapes)
    hole = np.linalg.norm(surface.centroids - [1.4, 0, 10], axis=1) < 0.6
    with pytest.raises(InputError, match="hole in the wall"):
        case.put(surface.keep(~hole), (("a", None), ("b", None))).run()


def test_missing_array_is_named(case, shapes):
    from pipeline.anatomy.vtkio import poly_data, write

    case.put(tapered(shapes))
    lumen = case.folder / "surface" / "lumen.vtp"
    write(lumen, poly_data(*(lambda s: (s.points, s.triangles))(tapered(shapes))))
    with pytest.raises(InputError, match="cap"):
        case.run()


def test_a_spoilt_file_is_an_error_not_a_message(case, shapes, capfd):
    case.put(tapered(shapes))
    (case.folder / "surface" / "lumen.vtp").write_text("<VTKFile type='PolyData'><Piece")
    with pytest.raises(Exception, match=r"lumen\.vtp"):
        case.run()
    assert capfd.readouterr().err == ""
