"""Connectivity of triangles and tetrahedra: unique edges, neighbours, boundary facets, loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TRIANGLE_EDGES = ((0, 1), (1, 2), (2, 0))
TETRA_EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))
TETRA_FACES = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))  # normals outward


def unique_edges(cells: Ints, local: tuple[tuple[int, int], ...]) -> tuple[Ints, Ints]:
    """Number the edges of triangles or tetrahedra.

    Args:
        cells: Vertex indices, ``(m, 3)`` or ``(m, 4)``.
        local: Local edges, `TRIANGLE_EDGES` or `TETRA_EDGES`.

    Returns:
        The edges, lower vertex first and sorted, ``(e, 2)``; the edge number of each local edge, ``(m, k)``.
    """
    ends = np.sort(cells[:, np.array(local)], axis=2).reshape(-1, 2)
    keys, inverse = np.unique(edge_keys(ends), return_inverse=True)
    edges = np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)
    return edges, inverse.reshape(len(cells), len(local)).astype(np.int64)


def edge_keys(ends: Ints) -> Ints:
    """One integer an edge, whatever the order of its ends, ``(e,)``."""
    ordered = np.sort(np.asarray(ends, dtype=np.int64), axis=1)
    return (ordered[:, 0] << 32) | ordered[:, 1]


def boundary_facets(tetrahedra: Ints) -> tuple[Ints, Ints]:
    """Triangles that belong to one tetrahedron only, oriented outward.

    Returns:
        The facets ``(k, 3)`` and the tetrahedron of each ``(k,)``.
    """
    faces = tetrahedra[:, np.array(TETRA_FACES)].reshape(-1, 3)
    ordered = np.sort(faces, axis=1)
    edge = np.unique(edge_keys(ordered[:, :2]), return_inverse=True)[1].astype(np.int64)
    key = (edge << 31) | ordered[:, 2]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    alone = np.ones(len(faces), dtype=bool)
    alone[1:] &= ~same
    alone[:-1] &= ~same
    chosen = np.sort(order[alone])
    return faces[chosen], chosen // 4


def loops(directed: Ints) -> list[Ints]:
    """Chain directed edges ``(e, 2)`` into closed loops of vertices.

    Raises:
        ValueError: A vertex has not exactly one edge in and one out (its index is ``args[0]``).
    """
    starts, counts = np.unique(directed[:, 0], return_counts=True)
    if np.any(counts > 1):
        raise ValueError(int(starts[counts > 1][0]))
    step = dict(zip(directed[:, 0].tolist(), directed[:, 1].tolist(), strict=True))
    found = []
    while step:
        first, vertex = next(iter(step.items()))
        chain = []
        while vertex in step:
            chain.append(vertex)
            vertex = step.pop(vertex)
        if chain[-1] != first:
            raise ValueError(int(vertex))
        found.append(np.array(chain, dtype=np.int64))
    return found


def triangle_areas(points: Floats, triangles: Ints) -> tuple[Floats, Floats]:
    """Areas ``(m,)`` and unit normals ``(m, 3)`` of triangles (zero where the area is zero)."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    return 0.5 * length, normal / np.where(length > 0, length, 1.0)[:, None]


def scatter(index: Ints, values: Floats, size: int) -> Floats:
    """Sum ``values`` ``(k,)`` or ``(k, d)`` into ``size`` slots."""
    if values.ndim == 1:
        return np.bincount(index, weights=values, minlength=size)
    columns = [np.bincount(index, weights=column, minlength=size) for column in values.T]
    return np.stack(columns, axis=1)


def normalised(vectors: Floats) -> Floats:
    """Unit vectors along the last axis; zero stays zero."""
    length: Any = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0), dtype=np.float64)
