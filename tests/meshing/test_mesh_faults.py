"""When no rung gives a mesh, the error holds the place: checked against where the fault was put."""

import dataclasses
import re

import numpy as np
import pytest

from meshing.crossing import crossing_triangles
from meshing.faults import NoMeshError
from meshing.generate import generate
from meshing.ladder import RUNGS, Rung, climb
from meshing.options import MeshOptions
from meshing.quality import cell_quality
from meshing.smooth_wall import SmoothWall
from meshing.surface_mesh import Remesher, SurfaceMesh, put_on_wall
from meshing.tetra import _missing
from meshing.worker import StepFailedError, call

COARSE = MeshOptions(elements_per_diameter=4)
PLACE = r"\((-?[\d.]+), (-?[\d.]+), (-?[\d.]+)\) mm"


def pushed_through(surface):
    """The wall around (1.5, 0, 6) mm pushed out through the wall at the other side."""
    points = surface.points.copy()
    points[np.linalg.norm(points - [1.5, 0, 6], axis=1) < 0.9, 0] -= 3.3
    return dataclasses.replace(surface, points=points)


def told_place(line):
    return np.array([float(value) for value in re.findall(PLACE, line)[0]])


def say_nothing(progress):
    pass


@pytest.fixture(scope="module")
def crossing(shapes, tmp_path_factory):
    with pytest.raises(NoMeshError) as caught:
        generate(pushed_through(shapes["tube"]()), COARSE, tmp_path_factory.mktemp("m") / "mesh")
    return caught.value


def test_every_rung_names_a_place_and_the_error_the_one_at_fault(crossing):
    assert [fault.rung for fault in crossing.faults] == [rung.name for rung in RUNGS]
    lines = str(crossing).splitlines()
    for fault, line in zip(crossing.faults, lines[1:], strict=False):
        assert line.strip().startswith(fault.rung)
        told = told_place(line)
        assert np.linalg.norm(told - fault.place.at) < 0.01
        assert np.linalg.norm(told - [-1.5, 0, 6]) < 1.3  # where the pushed wall comes out
    (place,) = [line for line in lines if line.strip().startswith("place:")]
    assert "6 of 6" in place
    assert told_place(place) == pytest.approx(crossing.worst.place.at, abs=0.006)
    assert any(line.strip().startswith("remedy:") for line in lines)


def test_the_triangles_at_fault_do_cross(crossing):
    """Each has an edge through another one or is met by one: signed volumes, pair by pair."""
    corners = crossing.worst.place.faulty
    assert len(corners) > 3

    def side(a, b, c, d):
        return np.sign(np.dot(np.cross(b - a, c - a), d - a))

    def pierced(t, s):
        for i in range(3):
            p, q = s[i], s[(i + 1) % 3]
            turns = [side(p, q, t[k], t[(k + 1) % 3]) for k in range(3)]
            if side(t[0], t[1], t[2], p) * side(t[0], t[1], t[2], q) < 0 and len(set(turns)) == 1:
                return True
        return False

    met = [any(pierced(t, s) or pierced(s, t) for s in corners if s is not t) for t in corners]
    assert np.mean(met) > 0.9


def test_the_worst_cell_is_the_one_told(shapes):
    strict = COARSE.model_copy(update={"min_dihedral_deg": 60.0})
    with pytest.raises(NoMeshError) as caught:
        climb(shapes["tube"](), strict, say_nothing, RUNGS[:2])
    for fault in caught.value.faults:
        told = float(re.findall(r"dihedral angle ([\d.]+) < 60", fault.reason)[0])
        corners = np.unique(fault.place.faulty.reshape(-1, 3), axis=0)
        assert corners.shape == (4, 3)
        cell = np.arange(4)[None] if _volume(corners) > 0 else np.array([[0, 2, 1, 3]])
        assert cell_quality(corners, cell).dihedral[0] == pytest.approx(told, rel=0.006)


def _volume(p):
    return np.dot(np.cross(p[1] - p[0], p[2] - p[0]), p[3] - p[0])


def test_a_mesher_that_says_nothing_leaves_the_thinnest_triangle_as_suspect(shapes):
    surface = shapes["tube"]()
    points = surface.points.copy()
    centre = points[surface.triangles].mean(axis=1)
    triangle = surface.triangles[np.argmin(np.linalg.norm(centre - [0, 1.5, 4], axis=1))]
    a, b, c = points[triangle]
    points[triangle[0]] = 0.04 * a + 0.48 * (b + c)
    thin = dataclasses.replace(surface, points=points)
    rung = Rung("slow", Remesher("mmgs"), "hxt")
    with pytest.raises(NoMeshError, match="suspect: the thinnest triangle") as caught:
        climb(thin, COARSE, say_nothing, (rung,), limit_s=0.01)
    assert np.linalg.norm(caught.value.worst.place.at - points[triangle].mean(axis=0)) < 1e-9


def test_the_place_that_gmsh_tells_is_read(shapes):
    surface = pushed_through(shapes["tube"]())
    arrays = {"points": surface.points, "triangles": surface.triangles}
    arrays |= {"algorithm": "hxt", "netgen": False}
    with pytest.raises(StepFailedError, match="gmsh: ") as caught:
        call("gmsh", arrays, 60)
    assert caught.value.place is not None
    assert np.linalg.norm(caught.value.place.at - [-1.5, 0, 6]) < 1.3


def test_lost_triangles_of_the_boundary_are_found_whatever_their_first_vertex():
    wanted = np.array([[0, 1, 2], [3, 1, 4], [5, 6, 7]])
    assert _missing(wanted, np.array([[1, 2, 0], [4, 1, 3], [7, 5, 6]])).tolist() == [1]


def test_a_small_fold_is_smoothed_away(shapes):
    """Two neighbours laid over each other, in the wall itself: no move on to it can part them."""
    surface = shapes["tube"]()
    points = surface.points.copy()
    points[240] += [-0.1, 0.4, -0.5]
    points[257] += [0.3, -0.1, 0.3]
    folded = dataclasses.replace(surface, points=points)
    mesh = SurfaceMesh(points, surface.triangles, surface.patch.astype(np.int64))
    crossing = np.unique(crossing_triangles(points, surface.triangles))
    assert 0 < len(crossing) <= 6
    made = put_on_wall(mesh, SmoothWall(folded), np.full(len(points), 0.5))
    assert len(crossing_triangles(made.points, made.triangles)) == 0
    moved = np.flatnonzero(np.linalg.norm(made.points - points, axis=1) > 0.01)
    assert len(moved)
    assert np.linalg.norm(made.points[moved] - points[240], axis=1).max() < 1.5
    assert np.linalg.norm(made.points - points, axis=1).max() <= 0.26  # half a size
