"""Fills a surface mesh with straight tetrahedra, in a child process with a time limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshing.background import CELLS_PER_VOLUME, Background
from meshing.faults import at_triangles
from meshing.sizing import SizeField
from meshing.surface_mesh import SurfaceMesh
from meshing.topology import Floats, Ints, boundary_facets, triangle_areas
from meshing.worker import StepFailedError, call


@dataclass(frozen=True, slots=True)
class TetraMesh:
    """Straight tetrahedra [mm]; the vertices of the surface come first, in its order.

    Attributes:
        points: Vertices, ``(n, 3)``.
        tetrahedra: Positively oriented, ``(m, 4)``.
    """

    points: Floats
    tetrahedra: Ints


def fill(
    surface: SurfaceMesh,
    algorithm: str,
    netgen: bool,
    limit_s: float,
    background: Background | None = None,
) -> TetraMesh:
    """Fill a closed surface by Gmsh.

    Args:
        surface: The surface; its triangles become the boundary facets unchanged.
        algorithm: ``"hxt"`` or ``"delaunay"``.
        netgen: Optimise with Netgen too.
        limit_s: Time limit [s].
        background: Largest sizes inside; without, they come from the surface alone.

    Raises:
        StepFailedError: Gmsh failed, crashed, ran past the limit, or changed the boundary.
    """
    given = {
        "points": surface.points,
        "triangles": surface.triangles,
        "algorithm": algorithm,
        "netgen": netgen,
    }
    if background is not None:
        given["background_points"] = background.points
        given["background_tetrahedra"] = background.tetrahedra
        given["background_size"] = background.size
    out = call("gmsh", given, limit_s)
    mesh = TetraMesh(out["points"], out["tetrahedra"])
    facets, _ = boundary_facets(mesh.tetrahedra)
    if not same_triangles(facets, surface.triangles):
        lost = _missing(surface.triangles, facets)
        place = at_triangles(surface.points, surface.triangles, lost)
        raise StepFailedError(
            f"gmsh {algorithm}: the boundary of the filling is not the surface: {len(lost)} triangles "
            f"are lost, one at {place}",
            place,
        )
    return mesh


def same_triangles(one: Ints, two: Ints) -> bool:
    """Whether two lists hold the same triangles, orientation included, in any order."""
    return one.shape == two.shape and bool(np.array_equal(_canonical(one), _canonical(two)))


def _missing(wanted: Ints, found: Ints) -> Ints:
    """Rows of ``wanted`` that ``found`` lacks; all, if it lacks none (it has others besides)."""
    known = set(map(tuple, _rolled(found).tolist()))
    lost = [k for k, row in enumerate(map(tuple, _rolled(wanted).tolist())) if row not in known]
    return np.array(lost or range(len(wanted)), dtype=np.int64)


def _canonical(triangles: Ints) -> Ints:
    rolled = _rolled(triangles)
    return np.asarray(rolled[np.lexsort(rolled.T[::-1])])


def _rolled(triangles: Ints) -> Ints:
    """The same triangles, each beginning with its lowest vertex."""
    first = np.argmin(triangles, axis=1)
    return np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)


def predicted_cells(points: Floats, triangles: Ints, field: SizeField, layers: int) -> int:
    """Number of tetrahedra a size field asks for, from slices of a tube over each triangle.

    A wall triangle of area ``A`` at inscribed radius ``r`` stands for the volume ``A r / 2`` and for three
    tetrahedra a layer on each new triangle.
    """
    area, _ = triangle_areas(points, triangles)
    size = field.size[triangles].mean(axis=1)
    radius = field.radius[triangles].mean(axis=1)
    core = CELLS_PER_VOLUME * np.sum(area * radius / 2 / size**3)
    return int(core + 3 * layers * np.sum(area / size**2) * 4 / np.sqrt(3))
