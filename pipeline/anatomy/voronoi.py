"""Centrelines without VMTK: cheapest paths along the edges of the Voronoi diagram of the surface points.

Nodes are the circumcentres of the Delaunay tetrahedra inside the surface, with the circumradius R; an edge costs
its length over the mean radius. Less smooth than VMTK's fronts on the Voronoi faces, but nothing in it can
break off: where the tetrahedra inside are connected, there is a path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import Delaunay, QhullError

from meshing.errors import ComputationError
from pipeline.anatomy.surface import Flags, Floats, Ints, Surface
from pipeline.anatomy.vtkio import enclosed


def voronoi_paths(
    surface: Surface, source: int, targets: Sequence[int]
) -> list[tuple[Floats, Floats]]:
    """Paths from one surface vertex to others.

    Args:
        surface: Closed surface without unused points.
        source: Vertex to start from.
        targets: Vertices to reach.

    Returns:
        Points ``(n, 3)`` and radii ``(n,)`` for each target, the source first.

    Raises:
        ComputationError: No tetrahedralisation, or no path to a target.
    """
    try:
        mesh = Delaunay(surface.points, qhull_options="Qbb Qc Qz Q12")
    except QhullError as error:
        raise ComputationError(f"Delaunay tetrahedra: {str(error).splitlines()[0]}") from error
    cells, adjacent = mesh.simplices.astype(np.int64), mesh.neighbors.astype(np.int64)
    centre, radius = _circumspheres(surface.points, cells)
    inside = _inside(surface, cells, centre) & np.isfinite(radius)
    first, face = np.nonzero((adjacent >= 0) & inside[:, None])
    second = adjacent[first, face]
    use = inside[second]
    first, second = first[use], second[use]
    length = np.linalg.norm(centre[first] - centre[second], axis=1)
    cost = length / (0.5 * (radius[first] + radius[second])) + 1e-9
    graph = coo_matrix((cost, (first, second)), shape=(len(cells),) * 2).tocsr()
    start = _pole(cells, radius, inside, source)
    total, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    result = []
    for target in targets:
        end = _pole(cells, radius, inside, target)
        if not np.isfinite(total[end]):
            place = np.round(surface.points[target], 2).tolist()
            raise ComputationError(f"no way inside the surface to the end at {place} mm")
        path = _walk_back(before.astype(np.int64), end)
        points = np.vstack([surface.points[source], centre[path], surface.points[target]])
        result.append((points, np.pad(radius[path], 1, mode="edge")))
    return result


def _circumspheres(points: Floats, cells: Ints) -> tuple[Floats, Floats]:
    """Centres and radii of the spheres through four points; infinite radius for flat ones."""
    origin = points[cells[:, 0]]
    edges = points[cells[:, 1:]] - origin[:, None]
    square = np.einsum("ijk,ijk->ij", edges, edges)
    crosses = np.stack(
        [np.cross(edges[:, (i + 1) % 3], edges[:, (i + 2) % 3]) for i in range(3)], 1
    )
    volume = np.einsum("ij,ij->i", edges[:, 0], crosses[:, 0])
    size = np.sqrt(square.max(axis=1)) ** 3
    flat = np.abs(volume) < 1e-9 * size
    offset = np.einsum("ij,ijk->ik", square, crosses) / (2.0 * np.where(flat, 1.0, volume))[:, None]
    radius = np.where(flat, np.inf, np.linalg.norm(offset, axis=1))
    return origin + offset, radius


def _inside(surface: Surface, cells: Ints, centre: Floats) -> Flags:
    """Whether the centres lie inside: behind the surface as seen from all four vertices.

    At concave rims the vertices disagree; there the sign of the distance decides.
    """
    normals = np.zeros_like(surface.points)
    np.add.at(normals, surface.triangles.ravel(), np.repeat(surface.area_vectors, 3, axis=0))
    towards = centre[:, None] - surface.points[cells]
    behind = (np.einsum("ijk,ijk->ij", towards, normals[cells]) < 0.0).sum(axis=1)
    inside = behind == 4
    unsure = np.flatnonzero((behind > 0) & ~inside)
    reach = np.linalg.norm(towards[unsure, 0], axis=1)
    unsure = unsure[(reach > surface.edge_length) & (reach < np.ptp(surface.points, axis=0).max())]
    inside[unsure] = enclosed(surface, centre[unsure])
    return np.asarray(inside)


def _pole(cells: Ints, radius: Floats, inside: Flags, vertex: int) -> int:
    """The tetrahedron inside with the largest sphere through a vertex."""
    around = np.flatnonzero((cells == vertex).any(axis=1) & inside)
    if len(around) == 0:
        raise ComputationError(f"no tetrahedron inside the surface at vertex {vertex}")
    return int(around[np.argmax(radius[around])])


def _walk_back(before: Ints, end: int) -> Ints:
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return np.array(path[::-1], dtype=np.int64)
