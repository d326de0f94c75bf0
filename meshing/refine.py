"""Uniform refinement: every tetrahedron in eight, curved ones along their own quadratic map, so that meshes are nested.

Reference:
    Bey (1995), Computing 55, 355-378, https://doi.org/10.1007/BF02238487 (regular refinement; the octahedron in the
    middle is cut along its shortest diagonal).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from meshing.topology import TETRA_EDGES, TRIANGLE_EDGES, Floats, Ints, edge_keys
from meshing.vessel import MeshArrays

EDGES = np.array(TETRA_EDGES)  # whose middles are nodes 4 to 9
CORNERS = ((0, 4, 6, 7), (4, 1, 5, 8), (6, 5, 2, 9), (7, 8, 9, 3))
DIAGONALS = (  # of the octahedron in the middle, and the ring around each
    ((4, 9), (5, 6, 7, 8)),
    ((5, 7), (4, 6, 9, 8)),
    ((6, 8), (4, 5, 9, 7)),
)
FACE = ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))  # of a six-node triangle


def refine(mesh: MeshArrays) -> MeshArrays:
    """Cut every tetrahedron in eight and every boundary triangle in four.

    The refined mesh has the same order and covers exactly the same domain: new nodes lie where the quadratic map of
    their parent puts them. Nodes of the parent keep their numbers.

    Args:
        mesh: Of order 1 or 2.

    Returns:
        A mesh with eight times the cells; facet tags are inherited.
    """
    points, cells, facets = _with_middles(mesh)
    local = _children(points, cells)
    children = np.take_along_axis(cells[:, None, :], local, axis=2)
    parts = facets[:, np.array(FACE)].reshape(-1, 3)
    tags = np.repeat(mesh.facet_tags, 4)
    if mesh.order == 1:
        return MeshArrays(points, children.reshape(-1, 4), parts, tags)
    middles, ten, parts = _curved(points, cells, (children, local), parts)
    return MeshArrays(np.concatenate([points, middles]), ten, parts, tags)


def _with_middles(mesh: MeshArrays) -> tuple[Floats, Ints, Ints]:
    """Points, ten-node cells and six-node triangles of a mesh of either order."""
    if mesh.order == 2:
        return mesh.points, mesh.cells, mesh.facets
    n = len(mesh.points)
    sides = mesh.cells[:, EDGES]
    keys, first, where = np.unique(
        edge_keys(sides.reshape(-1, 2)), return_index=True, return_inverse=True
    )
    ends = sides.reshape(-1, 2)[first]
    points = np.concatenate([mesh.points, mesh.points[ends].mean(axis=1)])
    cells = np.concatenate([mesh.cells, n + where.reshape(len(mesh.cells), 6)], axis=1)
    return points, cells, _six_nodes(mesh.facets, keys, n)


def _children(points: Floats, cells: Ints) -> Ints:
    """Local node numbers of the eight children of every cell, ``(m, 8, 4)``."""
    ends = np.array([pair for pair, _ in DIAGONALS])
    across = points[cells[:, ends[:, 0]]] - points[cells[:, ends[:, 1]]]
    shortest = np.argmin((across**2).sum(axis=2), axis=1)
    patterns = np.array([_pattern(k) for k in range(3)])
    return np.asarray(patterns[shortest])


def _pattern(diagonal: int) -> list[tuple[int, ...]]:
    """The eight children, positively oriented, for one diagonal of the octahedron."""
    reference = np.vstack([np.zeros(3), np.eye(3)])
    nodes = np.vstack([reference, [reference[edge].mean(axis=0) for edge in EDGES]])
    (a, b), ring = DIAGONALS[diagonal]
    inner = [(a, b, c, d) for c, d in pairwise((*ring, ring[0]))]
    return [*CORNERS, *(_oriented(tetra, nodes) for tetra in inner)]


def _oriented(tetra: tuple[int, ...], nodes: Floats) -> tuple[int, ...]:
    a, b, c, d = (nodes[k] for k in tetra)
    return tetra if np.dot(np.cross(b - a, c - a), d - a) > 0 else (*tetra[:2], tetra[3], tetra[2])


def _curved(
    points: Floats, cells: Ints, children: tuple[Ints, Ints], parts: Ints
) -> tuple[Floats, Ints, Ints]:
    """Middles of the children's edges where the parents' maps have them; ten-node cells and six-node triangles.

    Args:
        points: The parents' nodes.
        cells: The parents, ``(m, 10)``.
        children: Corners of the children, ``(m, 8, 4)``: global numbers, and local ones in the parent.
        parts: Boundary triangles of the children, ``(k, 3)``.
    """
    n, m = len(points), len(cells)
    corners, local = children
    pairs = corners[:, :, EDGES].reshape(-1, 2)
    keys, first, where = np.unique(edge_keys(pairs), return_index=True, return_inverse=True)
    parent = first // (8 * 6)
    ends = local[:, :, EDGES].reshape(-1, 2)[first]
    weights = _map_at_middles()[ends[:, 0], ends[:, 1]]
    middles = np.einsum("kn,knd->kd", weights, points[cells[parent]])
    ten = np.concatenate([corners.reshape(-1, 4), n + where.reshape(8 * m, 6)], axis=1)
    return middles, ten, _six_nodes(parts, keys, n)


def _six_nodes(triangles: Ints, keys: Ints, n: int) -> Ints:
    """Triangles with the middles of their edges, which are nodes ``n`` on in the order of ``keys``."""
    around = triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    middle = n + np.searchsorted(keys, edge_keys(around)).reshape(-1, 3)
    return np.concatenate([triangles, middle], axis=1)


def _map_at_middles() -> Floats:
    """Shape functions of the parent half-way between any two of its nodes, ``(10, 10, 10)``."""
    bary = np.eye(4)
    nodes = np.vstack([bary, [bary[edge].mean(axis=0) for edge in EDGES]])
    at = 0.5 * (nodes[:, None] + nodes[None])
    corner = at * (2 * at - 1)
    edge = np.stack([4 * at[..., a] * at[..., b] for a, b in EDGES], axis=-1)
    return np.concatenate([corner, edge], axis=-1)
