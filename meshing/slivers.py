"""Turns edges where a remesher has left a triangle whose corners lie almost on a line.

One such triangle in a hundred thousand spoils the cells on it, and leaves boundary layers no room.
"""

from __future__ import annotations

import numpy as np

from meshing.topology import TRIANGLE_EDGES, Floats, Ints, edge_keys, triangle_areas

_SLIVER = 0.35  # shape below which a triangle is mended
_ROUNDS = 4
_BEND = 0.5  # new triangles turn from the old ones by at most 60 degrees


def triangle_shapes(points: Floats, triangles: Ints) -> Floats:
    """4 sqrt(3) area over the sum of squared edges, ``(m,)``: 1 for the equilateral triangle, 0 on a line."""
    area, _ = triangle_areas(points, triangles)
    corners = points[triangles]
    square = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=(1, 2))
    return np.asarray(4 * np.sqrt(3) * area / np.where(square > 0, square, 1.0))


def without_slivers(points: Floats, triangles: Ints, patch: Ints) -> Ints:
    """Turn the longest edge of slivers where that betters the worse of the two triangles on it.

    Args:
        points: Vertices, ``(n, 3)``.
        triangles: ``(m, 3)``, closed; keep their number, orientation and patch.
        patch: Patch of each; edges between patches stay, ``(m,)``.

    Returns:
        The triangles, ``(m, 3)``.
    """
    made = triangles.copy()
    for _ in range(_ROUNDS):
        thin = np.flatnonzero(triangle_shapes(points, made) < _SLIVER)
        if not sum(_turned(points, made, patch, int(cell)) for cell in thin):
            break
    return made


def _turned(points: Floats, triangles: Ints, patch: Ints, cell: int) -> bool:
    """Turn the longest edge of one triangle in place, if that helps; whether it was done."""
    corners = points[triangles[cell]]
    length = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    k = int(np.argmax(length))
    a, b, tip = (int(triangles[cell, (k + i) % 3]) for i in range(3))
    beside = np.flatnonzero((triangles == a).any(axis=1) & (triangles == b).any(axis=1))
    other = int(beside[beside != cell][0])
    far = int(triangles[other][~np.isin(triangles[other], (a, b))][0])
    if patch[other] != patch[cell] or _joined(triangles, tip, far):
        return False
    before = triangles[[cell, other]]
    after = np.array([[a, far, tip], [far, b, tip]])
    if triangle_shapes(points, after).min() <= triangle_shapes(points, before).min():
        return False
    area, normal = triangle_areas(points, before)
    mean = (area[:, None] * normal).sum(axis=0)
    _, turned = triangle_areas(points, after)
    if (turned @ mean).min() < _BEND * np.linalg.norm(mean):
        return False
    triangles[[cell, other]] = after
    return True


def _joined(triangles: Ints, one: int, two: int) -> bool:
    """Whether an edge joins two vertices."""
    around = triangles[(triangles == one).any(axis=1)]
    ends = np.concatenate([around[:, [i, j]] for i, j in TRIANGLE_EDGES])
    return bool((edge_keys(ends) == edge_keys(np.array([[one, two]]))[0]).any())
