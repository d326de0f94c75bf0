"""Vertex normals and curvature of a triangulated wall, right on uneven triangles and at rims."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from meshing.topology import (
    TRIANGLE_EDGES,
    Floats,
    Ints,
    normalised,
    scatter,
    triangle_areas,
    unique_edges,
)

_NEIGHBOURS = 32
_ROUNDS = 30  # of averaging curvature, at most


def fit_normals(points: Floats, triangles: Ints) -> tuple[Floats, Floats]:
    """Vertex normals and curvature tensors from quadrics through each vertex.

    In the frame of a first normal ``w = a u + b v + c u^2 + d u v + e v^2`` is fitted to the
    vertices around, weighted by the area each stands for and by a Gaussian of its distance.

    Returns:
        Unit normals ``(n, 3)`` and curvature tensors ``(n, 3, 3)`` [1/mm]; zero at vertices of no
        triangle.
    """
    first, area = _max_normals(points, triangles)
    used = np.unique(triangles)
    tree = cKDTree(points[used])
    count = min(_NEIGHBOURS, len(used))
    found, index = tree.query(points[used], k=count)
    distance: Floats = np.asarray(found)
    near = used[index]
    n0 = first[used]
    support = 0.6 * distance[:, min(17, count - 1)]
    weight = area[near] * np.exp(-((distance / support[:, None]) ** 2))
    weight *= np.sum(first[near] * n0[:, None], axis=2) > 0.3
    weight[near == used[:, None]] = 0.0
    u, v = _frame(n0)
    away = (points[near] - points[used][:, None]) / support[:, None, None]
    x, y, z = (np.einsum("knd,kd->kn", away, axis) for axis in (u, v, n0))
    design = np.stack([x, y, x * x, x * y, y * y], axis=2)
    moment = np.einsum("kni,kn,knj->kij", design, weight, design)
    right = np.einsum("kni,kn,kn->ki", design, weight, z)
    ridge = 1e-4 * np.trace(moment, axis1=1, axis2=2) + 1e-300
    fit = np.linalg.solve(moment + ridge[:, None, None] * np.eye(5), right[:, :, None])[:, :, 0]
    normals, shape = np.zeros_like(points), np.zeros((len(points), 3, 3))
    normals[used] = normalised(n0 - fit[:, :1] * u - fit[:, 1:2] * v)
    uu, vv = 2 * fit[:, 2, None] * u, 2 * fit[:, 4, None] * v
    cross = fit[:, 3, None] * u
    shape[used] = sum(a[:, :, None] * b[:, None, :] for a, b in ((uu, u), (vv, v), (cross, v)))
    shape[used] += np.swapaxes(cross[:, :, None] * v[:, None, :], 1, 2)
    shape[used] /= support[:, None, None]
    return normals, shape


def smoothed_curvature(points: Floats, triangles: Ints, shape: Floats, scale: Floats) -> Floats:
    """Largest absolute principal curvature of tensors averaged over a length.

    Args:
        points: Vertices, ``(n, 3)``.
        triangles: Wall triangles.
        shape: Curvature tensors of `fit_normals`.
        scale: Standard deviation of the averaging [mm], ``(n,)``.

    Returns:
        ``(n,)`` [1/mm]; 0 off the wall.
    """
    edges, _ = unique_edges(triangles, TRIANGLE_EDGES)
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    degree = np.maximum(np.bincount(a, minlength=len(points)), 1)
    square = np.sum((points[a] - points[b]) ** 2, axis=1)
    step = scatter(a, square, len(points)) / degree
    rounds = np.minimum(_ROUNDS, 2 * scale**2 / np.where(step > 0, step, np.inf))
    tensor = shape.reshape(len(points), 9)[:, [0, 1, 2, 4, 5, 8]]
    for k in range(int(np.ceil(rounds.max()))):
        mean = 0.5 * (tensor + scatter(a, tensor[b], len(points)) / degree[:, None])
        tensor = np.where((rounds > k)[:, None], mean, tensor)
    full = tensor[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    return np.asarray(np.abs(np.linalg.eigvalsh(full)).max(axis=1))


def _max_normals(points: Floats, triangles: Ints) -> tuple[Floats, Floats]:
    """Vertex normals (weights of Max 1999, doi:10.1080/10867651.1999.10487501) and vertex areas."""
    area, normal = triangle_areas(points, triangles)
    total = np.zeros_like(points)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        one = np.sum((points[triangles[:, j]] - points[triangles[:, i]]) ** 2, axis=1)
        two = np.sum((points[triangles[:, k]] - points[triangles[:, i]]) ** 2, axis=1)
        weight = 2 * area / np.maximum(one * two, 1e-300)
        total += scatter(triangles[:, i], normal * weight[:, None], len(points))
    share = scatter(triangles.ravel(), np.repeat(area / 3, 3), len(points))
    return normalised(total), share


def _frame(normals: Floats) -> tuple[Floats, Floats]:
    helper = np.eye(3)[np.argmin(np.abs(normals), axis=1)]
    u = normalised(np.cross(normals, helper))
    return u, np.cross(normals, u)
