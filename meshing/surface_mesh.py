"""Remeshing of a lumen surface to a size field, with the vertices put back on the smooth wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshing.crossing import crossing_triangles
from meshing.faults import at_triangles
from meshing.lumen import LumenSurface
from meshing.sizing import SizeField
from meshing.slivers import without_slivers
from meshing.smooth_wall import SmoothWall
from meshing.topology import TRIANGLE_EDGES, Floats, Ints, scatter, triangle_areas, unique_edges
from meshing.worker import StepFailedError, call

_REPAIRS = 4  # rounds of moving vertices back where the wall would cross itself
_FOLD = 12  # so many crossing triangles at most are smoothed away
_REACH = 0.5  # a vertex is moved on to the smooth wall by at most so many target sizes


@dataclass(frozen=True, slots=True)
class SurfaceMesh:
    """A closed triangle mesh with patches [mm].

    Attributes:
        points: Vertices, ``(n, 3)``.
        triangles: Outward, ``(m, 3)``.
        patch: 0 wall, `Cap.patch` on caps, ``(m,)``.
    """

    points: Floats
    triangles: Ints
    patch: Ints

    def vertices_of(self, patch: int) -> Ints:
        """Vertices of the triangles of a patch, sorted."""
        return np.unique(self.triangles[self.patch == patch])


@dataclass(frozen=True, slots=True)
class Remesher:
    """How a surface is remeshed.

    Attributes:
        name: A surface remesher of `meshing.worker.TASKS`, or ``"none"`` (as it stands).
        tolerance: Deviation it may allow itself, in largest radii. When it is large the sizes alone
            steer the remesher; a small one keeps it at the given facets, and makes it refine noise.
    """

    name: str
    tolerance: float = 2.0


def remesh(
    surface: LumenSurface, wall: SmoothWall, field: SizeField, remesher: Remesher, limit_s: float
) -> SurfaceMesh:
    """Remesh a surface to a size field.

    Args:
        surface: The lumen.
        wall: Its smooth wall and rims, on which the vertices are put.
        field: Target sizes at the vertices of `surface`.
        remesher: Which one.
        limit_s: Time limit [s].

    Raises:
        StepFailedError: The remesher failed, crashed or ran past the limit.
    """
    if remesher.name == "none":
        made = SurfaceMesh(surface.points.copy(), surface.triangles, surface.patch.astype(np.int64))
    else:
        rims = [np.stack([r.vertices, np.roll(r.vertices, -1)], axis=1) for r in wall.rims]
        out = call(
            remesher.name,
            {
                "points": surface.points,
                "triangles": surface.triangles,
                "patch": surface.patch,
                "size": field.size,
                "rim_edges": np.concatenate(rims),
                "tolerance": remesher.tolerance * field.radius.max(),
            },
            limit_s,
        )
        patch = out["patch"].astype(np.int64)
        triangles = without_slivers(out["points"], out["triangles"], patch)
        made = SurfaceMesh(out["points"], triangles, patch)
    return put_on_wall(made, wall, field.at(surface.points, made.points))


def put_on_wall(mesh: SurfaceMesh, wall: SmoothWall, size: Floats) -> SurfaceMesh:
    """Move wall vertices on to the smooth wall, rims on to their curves, caps into their planes.

    Where the moved wall would cross itself, its vertices go back to where the remesher had them; where
    only a few triangles cross all the same (in a crease), they go towards the mean of their neighbours.

    Raises:
        StepFailedError: The surface crosses itself all the same; the message names the place.
    """
    moved = _moved(mesh, wall, size)
    for attempt in range(2 * _REPAIRS):
        faulty = np.unique(crossing_triangles(moved.points, moved.triangles))
        if attempt < _REPAIRS:
            faulty = np.union1d(faulty, _flipped(mesh, moved))
        if not len(faulty):
            return moved
        back = np.setdiff1d(mesh.triangles[faulty], _cap_vertices(mesh))
        points = moved.points.copy()
        if attempt < _REPAIRS:
            points[back] = mesh.points[back]
        elif len(faulty) <= _FOLD:
            points[back] = _limited(mesh.points[back], _means(moved, back), size[back])
        moved = SurfaceMesh(points, mesh.triangles, mesh.patch)
    faulty = np.unique(crossing_triangles(moved.points, moved.triangles))
    if len(faulty):
        place = at_triangles(moved.points, moved.triangles, faulty)
        raise StepFailedError(
            f"the remeshed surface crosses itself at {len(faulty)} triangles, one at {place}", place
        )
    return moved


def _means(mesh: SurfaceMesh, vertices: Ints) -> Floats:
    """Mean of the neighbours of some vertices, ``(k, 3)``."""
    edges, _ = unique_edges(mesh.triangles, TRIANGLE_EDGES)
    one, two = np.concatenate([edges, edges[:, ::-1]]).T
    size = len(mesh.points)
    total = scatter(one, mesh.points[two], size)[vertices]
    return np.asarray(total / np.bincount(one, minlength=size)[vertices, None])


def _flipped(before: SurfaceMesh, after: SurfaceMesh) -> Ints:
    """Triangles that a move of their vertices has turned over."""
    _, one = triangle_areas(before.points, before.triangles)
    _, two = triangle_areas(after.points, after.triangles)
    return np.flatnonzero(np.sum(one * two, axis=1) < 0.2)


def _cap_vertices(mesh: SurfaceMesh) -> Ints:
    return np.unique(mesh.triangles[mesh.patch != 0])


def _moved(mesh: SurfaceMesh, wall: SmoothWall, size: Floats) -> SurfaceMesh:
    points = mesh.points.copy()
    on_wall = mesh.vertices_of(0)
    points[on_wall] = _limited(points[on_wall], wall.project(points[on_wall]), size[on_wall])
    for rim in wall.rims:
        on_cap = mesh.vertices_of(rim.cap.patch)
        on_rim = np.intersect1d(on_cap, on_wall)
        points[on_rim] = rim.project(mesh.points[on_rim])
        points[on_cap] -= ((points[on_cap] - rim.origin) @ rim.normal)[:, None] * rim.normal
    return SurfaceMesh(points, mesh.triangles, mesh.patch)


def _limited(points: Floats, target: Floats, size: Floats) -> Floats:
    move = target - points
    length = np.linalg.norm(move, axis=1)
    scale = np.minimum(1.0, _REACH * size / np.where(length > 0, length, 1.0))
    return points + move * scale[:, None]
