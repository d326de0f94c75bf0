"""Where a triangle surface passes through itself."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pipeline.surface.mesh import Floats, Ints, TriangleMesh

_EPS = 1e-9
_BLOCK = 400_000


def crossing_triangles(mesh: TriangleMesh) -> tuple[Ints, Floats]:
    """Pairs of triangles of which an edge of one pierces the other.

    Triangles that share an edge are not compared; of those that share a point only the opposite edges are.
    Overlaps within one plane are not found (coinciding triangles: `topology.without_doubles`).

    Returns:
        Pairs ``(k, 2)`` and a point of each crossing [mm], ``(k, 3)``.
    """
    pairs = _near_pairs(mesh)
    found, where = [np.zeros((0, 2), np.int64)], [np.zeros((0, 3))]
    for i in range(0, len(pairs), _BLOCK):
        part = pairs[i : i + _BLOCK]
        for ordered in (part, part[:, ::-1]):
            hit, x = _pierced(mesh, ordered)
            found.append(np.sort(ordered[hit], axis=1))
            where.append(x[hit])
    both, points = np.concatenate(found), np.concatenate(where)
    unique, first = np.unique(both, axis=0, return_index=True)
    return unique, points[first]


def _near_pairs(mesh: TriangleMesh) -> Ints:
    """Pairs whose boxes overlap and that share at most one point; small and large ones apart by size."""
    corners = mesh.corners
    centre = corners.mean(axis=1)
    radius = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)
    size = np.floor(np.log2(np.maximum(radius, 1e-12))).astype(np.int64)
    groups = [np.flatnonzero(size == k) for k in np.unique(size)]
    trees = [cKDTree(centre[g]) for g in groups]
    low, high = corners.min(axis=1), corners.max(axis=1)
    out = [np.zeros((0, 2), np.int64)]
    for i, (gi, ti) in enumerate(zip(groups, trees, strict=True)):
        for gj, tj in zip(groups[i:], trees[i:], strict=True):
            reach = float(radius[gi].max() + radius[gj].max())
            near = ti.sparse_distance_matrix(tj, reach, output_type="ndarray")
            a, b = gi[near["i"]], gj[near["j"]]
            keep = (a < b) if gi is gj else np.ones(len(a), np.bool_)
            a, b = a[keep], b[keep]
            boxes = ((low[a] <= high[b]) & (low[b] <= high[a])).all(axis=1)
            out.append(np.column_stack([a[boxes], b[boxes]]))
    pairs = np.concatenate(out)
    shared = (
        mesh.triangles[pairs[:, 0]][:, :, None] == mesh.triangles[pairs[:, 1]][:, None, :]
    ).sum((1, 2))
    return np.asarray(pairs[shared < 2])


def _pierced(
    mesh: TriangleMesh, pairs: Ints
) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Floats]:
    """Whether an edge of the second triangle passes through the first, and where."""
    a, e1, e2 = _plane(mesh, pairs[:, 0])
    normal = np.cross(e1, e2)
    area2 = np.maximum((normal**2).sum(1), 1e-300)
    hit, where = np.zeros(len(pairs), np.bool_), np.zeros((len(pairs), 3))
    own = mesh.triangles[pairs[:, 0]]
    for k in range(3):
        p = mesh.triangles[pairs[:, 1], k]
        q = mesh.triangles[pairs[:, 1], (k + 1) % 3]
        apart = ~((own == p[:, None]) | (own == q[:, None])).any(axis=1)
        start, way = mesh.points[p], mesh.points[q] - mesh.points[p]
        height = ((start - a) * normal).sum(1)
        fall = (way * normal).sum(1)
        crosses = apart & (height * (height + fall) < -_EPS * area2 * np.sqrt(area2))
        t = -height / np.where(crosses, fall, 1.0)
        x = start + t[:, None] * way
        u = (np.cross(x - a, e2) * normal).sum(1) / area2
        v = (np.cross(e1, x - a) * normal).sum(1) / area2
        inside = crosses & (u > _EPS) & (v > _EPS) & (u + v < 1.0 - _EPS)
        where[inside] = x[inside]
        hit |= inside
    return hit, where


def _plane(mesh: TriangleMesh, cells: Ints) -> tuple[Floats, Floats, Floats]:
    corners = mesh.points[mesh.triangles[cells]]
    return corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
