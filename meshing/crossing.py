"""Where a triangle surface crosses itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from meshing.topology import Floats, Ints

_CHUNK = 2_000_000
_PARALLEL = 1e-9  # a segment in the plane of a facet (as in a cap) does not cross it


def crossing_triangles(points: Floats, triangles: Ints) -> Ints:
    """Pairs of triangles without a common vertex that pass through each other, ``(k, 2)``.

    Each edge of one is tested against the other (Moeller and Trumbore 1997,
    doi:10.1080/10867651.1997.10487468); pairs come from balls around the triangles, by size class.
    """
    pairs = near_pairs(points, triangles)
    found = [
        _crossing(points, triangles, pairs[k : k + _CHUNK]) for k in range(0, len(pairs), _CHUNK)
    ]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *found])


def near_pairs(points: Floats, triangles: Ints) -> Ints:
    """Pairs of triangles whose boxes overlap and that share no vertex, ``(k, 2)``."""
    corners = points[triangles]
    centre = corners.mean(axis=1)
    ball = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)
    classes = np.floor(np.log2(np.maximum(ball, 1e-12 * ball.max()))).astype(np.int64)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for value in np.unique(classes):
        large = np.flatnonzero(classes == value)
        small = np.flatnonzero(classes <= value)
        near = cKDTree(centre[large]).query_ball_point(
            centre[small], ball[small] + ball[large].max()
        )
        counts = np.array([len(row) for row in near])
        one = np.repeat(small, counts)
        two = large[np.concatenate([np.asarray(row, dtype=np.int64) for row in near])]
        same = classes[one] == value
        keep = np.where(same, one < two, one != two)
        pairs.append(_overlapping(corners, triangles, np.stack([one[keep], two[keep]], axis=1)))
    return np.concatenate(pairs)


def _overlapping(corners: Floats, triangles: Ints, pairs: Ints) -> Ints:
    low, high = corners.min(axis=1), corners.max(axis=1)
    one, two = pairs.T
    meet = np.all((low[one] <= high[two]) & (low[two] <= high[one]), axis=1)
    pairs = pairs[meet]
    one, two = pairs.T
    shared = (triangles[one][:, :, None] == triangles[two][:, None, :]).any(axis=(1, 2))
    return np.asarray(pairs[~shared])


def _crossing(points: Floats, triangles: Ints, pairs: Ints) -> Ints:
    hit = np.zeros(len(pairs), dtype=bool)
    for a, b in ((0, 1), (1, 0)):
        edges, facet = triangles[pairs[:, a]], points[triangles[pairs[:, b]]]
        for i, j in ((0, 1), (1, 2), (2, 0)):
            hit |= _segment_meets(points[edges[:, i]], points[edges[:, j]], facet)
    return np.asarray(pairs[hit])


def _segment_meets(start: Floats, end: Floats, facet: Floats) -> npt.NDArray[np.bool_]:
    e1, e2 = facet[:, 1] - facet[:, 0], facet[:, 2] - facet[:, 0]
    ray = end - start
    p = np.cross(ray, e2)
    det = np.einsum("kd,kd->k", e1, p)
    scale = np.prod([np.linalg.norm(x, axis=1) for x in (ray, e1, e2)], axis=0)
    parallel = np.abs(det) <= _PARALLEL * scale
    safe = np.where(parallel, 1.0, det)
    s = start - facet[:, 0]
    u = np.einsum("kd,kd->k", s, p) / safe
    q = np.cross(s, e1)
    v = np.einsum("kd,kd->k", ray, q) / safe
    t = np.einsum("kd,kd->k", e2, q) / safe
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)
    return np.asarray(inside & ~parallel)
