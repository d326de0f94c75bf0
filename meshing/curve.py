"""Raises straight tetrahedra to order 2 with the mid-edge nodes of the wall on the smooth wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshing.jacobian import jacobian_bounds
from meshing.quality import corner_jacobian
from meshing.smooth_wall import SmoothWall
from meshing.surface_mesh import SurfaceMesh
from meshing.tetra import TetraMesh
from meshing.topology import (
    TETRA_EDGES,
    TRIANGLE_EDGES,
    Floats,
    Ints,
    edge_keys,
    unique_edges,
)

BLENDS = (1.0, 0.5, 0.25, 0.0)
_MARGIN = 1.5  # over the least scaled Jacobian, in relaxing
_VALID = 0.2  # lower bound of det J over its mean below which an element is straightened
_REACH = 0.2  # a mid-edge node leaves its chord by at most this share of the edge


@dataclass(frozen=True, slots=True)
class CurvedMesh:
    """Ten-node tetrahedra [mm].

    Attributes:
        points: Nodes: the vertices, then the mid-edge nodes, ``(n, 3)``.
        cells: VTK order, ``(m, 10)``.
        facets: Boundary triangles in the order of the surface mesh, ``(k, 6)``.
        curved: Number of mid-edge nodes off their chord.
        relaxed: Mid-edge nodes brought nearer to their chord to keep cells valid.
        straightened: Of those, all the way.
    """

    points: Floats
    cells: Ints
    facets: Ints
    curved: int
    relaxed: int
    straightened: int


def curve(
    surface: SurfaceMesh,
    mesh: TetraMesh,
    wall: SmoothWall,
    copies: Ints | None = None,
    least: float = 0.02,
) -> CurvedMesh:
    """Put a node on every edge, on the smooth wall where the edge lies on it.

    Nodes of rim edges lie on the rim curve in the cap plane, all others on the chord. Where the
    Bernstein bound of det J is not safely positive, the curved edges of the cell are relaxed by
    steps towards their chords until every cell is valid. With boundary layers the copies of a wall
    edge (`LayeredMesh.copies`) and the diagonals between them are bent like the edge itself.
    Thin cells are relaxed earlier, so that their scaled Jacobian stays above ``least``.
    """
    edges, of_cell = unique_edges(mesh.tetrahedra, TETRA_EDGES)
    keys = edge_keys(edges)
    chord = mesh.points[edges].mean(axis=1)
    shift = wall_shifts(surface, mesh.points, wall, keys, edges, chord)
    if copies is not None:
        _bend_copies(shift, mesh.points, keys, copies)
    start = len(mesh.points)
    cells = np.concatenate([mesh.tetrahedra, start + of_cell], axis=1)
    straight = corner_jacobian(mesh.points[mesh.tetrahedra])
    valid = np.clip(_MARGIN * least / np.maximum(straight, 1e-9), _VALID, 0.95)
    blend = relax(np.concatenate([mesh.points, chord]), cells, of_cell, shift, valid)
    nodes = np.concatenate([mesh.points, chord + blend[:, None] * shift])
    on_facet = np.searchsorted(keys, edge_keys(_edge_ends(surface.triangles))).reshape(-1, 3)
    moved = np.any(shift != 0, axis=1)
    return CurvedMesh(
        nodes,
        cells,
        np.concatenate([surface.triangles, start + on_facet], axis=1),
        curved=int(np.sum(moved & (blend > 0))),
        relaxed=int(np.sum(moved & (blend < 1))),
        straightened=int(np.sum(moved & (blend == 0))),
    )


def _edge_ends(triangles: Ints) -> Ints:
    return np.asarray(triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2))


def wall_shifts(
    surface: SurfaceMesh, points: Floats, wall: SmoothWall, keys: Ints, edges: Ints, chord: Floats
) -> Floats:
    """Displacement of every edge node from the middle of its chord, ``(e, 3)``."""
    shift = np.zeros_like(chord)
    wall_keys = np.unique(edge_keys(_edge_ends(surface.triangles[surface.patch == 0])))
    rim_numbers = []
    for rim in wall.rims:
        cap_keys = edge_keys(_edge_ends(surface.triangles[surface.patch == rim.cap.patch]))
        number = np.searchsorted(keys, np.intersect1d(wall_keys, cap_keys))
        shift[number] = rim.project(chord[number]) - chord[number]
        rim_numbers.append(number)
    number = np.setdiff1d(np.searchsorted(keys, wall_keys), np.concatenate(rim_numbers))
    shift[number] = wall.project(chord[number]) - chord[number]
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    size = np.linalg.norm(shift, axis=1)
    scale = np.minimum(1.0, _REACH * length / np.where(size > 0, size, 1.0))
    shift[size < 1e-9 * length] = 0.0
    return shift * scale[:, None]


def _bend_copies(shift: Floats, points: Floats, keys: Ints, copies: Ints) -> None:
    """Give the copies of wall edges in the layers the bend of the edge, shortened as they are."""
    length = np.linalg.norm(points[copies[:, :, 0]] - points[copies[:, :, 1]], axis=2)
    share = np.clip(length / length[:, :1], 0.0, 1.0)
    outer = shift[np.searchsorted(keys, edge_keys(copies[:, 0]))].copy()
    for k in range(1, copies.shape[1]):
        shift[np.searchsorted(keys, edge_keys(copies[:, k]))] = share[:, k, None] * outer
        diagonal = np.stack([copies[:, k - 1, 0], copies[:, k, 1]], axis=1)
        middle = 0.5 * (share[:, k - 1] + share[:, k])
        shift[np.searchsorted(keys, edge_keys(diagonal))] = middle[:, None] * outer


def relax(nodes: Floats, cells: Ints, of_cell: Ints, shift: Floats, valid: Floats) -> Floats:
    """Blend factor of every edge's displacement, one of `BLENDS`, that makes all cells valid.

    Args:
        nodes: Vertices and chord middles, ``(n, 3)``.
        cells: ``(m, 10)``.
        of_cell: Edge numbers of each cell, ``(m, 6)``.
        shift: Displacement of each edge node, ``(e, 3)``.
        valid: Lower bound of det J over its mean wanted of each cell, ``(m,)``.
    """
    level = np.zeros(len(shift), dtype=np.int64)
    blends = np.array(BLENDS)
    moved = np.any(shift != 0, axis=1)
    near_wall = np.flatnonzero(np.any(moved[of_cell], axis=1))
    suspect = near_wall
    start = len(nodes) - len(shift)
    while len(suspect):
        trial = nodes.copy()
        trial[start:] += blends[level][:, None] * shift
        lowest, mean = jacobian_bounds(trial, cells[suspect])
        bad = np.unique(of_cell[suspect[lowest <= valid[suspect] * mean]])
        bad = bad[moved[bad] & (level[bad] < len(BLENDS) - 1)]
        if not len(bad):
            break
        level[bad] += 1
        touched = np.zeros(len(shift), dtype=bool)
        touched[bad] = True
        suspect = near_wall[np.any(touched[of_cell[near_wall]], axis=1)]
    return np.asarray(blends[level])
