"""Rounded vessel ends of a closed surface: where the geodesic distance from one end peaks.

A peak counts as a vessel end when it stands out by more than a diameter of its own branch: the peaks of
the distance along the surface are joined in the order in which their regions meet (merge tree), and the height
between a peak and the place where it joins a higher one is the length of the branch.

Reference: Edelsbrunner, Letscher, Zomorodian, Discrete Comput Geom 28:511 (2002), doi 10.1007/s00454-002-2885-2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from pipeline.anatomy.surface import Flags, Floats, Ints, Surface, half_edges

_MIN_LENGTH = 1.0  # of a branch beyond its parent, in its own diameters
_MIN_EDGES = 4.0  # the same in edge lengths: less cannot be measured


def tips(surface: Surface, sources: Ints) -> list[int]:
    """Vertices at the vessel ends other than the sources.

    Args:
        surface: Closed surface.
        sources: Vertices of one known end; empty: the farthest point from anywhere is the first tip.

    Returns:
        One vertex an end; the first tip included when there were no sources.
    """
    graph = _edge_graph(surface)
    found: list[int] = []
    if len(sources) == 0:
        far = int(np.argmax(dijkstra(graph, directed=False, indices=0)))
        first = int(np.argmax(dijkstra(graph, directed=False, indices=far)))
        found, sources = [first], np.array([first])
    distance = dijkstra(graph, directed=False, indices=sources, min_only=True)
    for peak, height in _peaks(graph, np.asarray(distance)):
        edge = float(graph.data[graph.indptr[peak] : graph.indptr[peak + 1]].mean())
        if height > max(_MIN_EDGES * edge, _MIN_LENGTH * _width(surface, graph, peak, height)):
            found.append(peak)
    return found


def _edge_graph(surface: Surface) -> csr_matrix:
    edges = half_edges(surface.triangles)
    length = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
    size = len(surface.points)
    graph = coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(size, size)).tocsr()
    return graph.maximum(graph.T)


def _peaks(graph: csr_matrix, height: Floats) -> list[tuple[int, float]]:
    """Peaks of a function on a graph with their persistence, highest first."""
    owner = np.full(len(height), -1, dtype=np.int64)  # union-find; the root is the peak
    start, near = graph.indptr, graph.indices
    peaks: list[tuple[int, float]] = []

    def root(vertex: int) -> int:
        while owner[vertex] != vertex:
            owner[vertex] = owner[owner[vertex]]
            vertex = int(owner[vertex])
        return vertex

    for vertex in np.argsort(-height, kind="stable").tolist():
        owner[vertex] = vertex
        met = {root(int(w)) for w in near[start[vertex] : start[vertex + 1]] if owner[w] >= 0}
        if not met:
            continue
        highest = max(met, key=lambda peak: height[peak])
        for peak in met:
            if peak != highest:
                peaks.append((peak, float(height[peak] - height[vertex])))
            owner[peak] = highest
        owner[vertex] = highest
    top = int(np.argmax(height))
    return sorted([(top, float(height[top])), *peaks], key=lambda item: -item[1])


def _width(surface: Surface, graph: csr_matrix, peak: int, height: float) -> float:
    """Diameter of a branch from the surface area between half its length and its end."""
    reach = max(min(height, 20.0 * surface.edge_length), 1e-12)
    distance = dijkstra(graph, directed=False, indices=peak, limit=reach)
    areas = np.linalg.norm(surface.area_vectors, axis=1)
    far = distance[surface.triangles].max(axis=1)
    ring = areas[(far <= reach) & (far > 0.5 * reach)].sum() / (0.5 * reach)
    return float(ring / np.pi)


def near_patches(surface: Surface, vertex: int, patches: Sequence[int], reach: float) -> bool:
    """Whether a vertex lies within `reach` [mm] of one of the given caps."""
    mask: Flags = np.isin(surface.patch, np.array(patches, dtype=np.int64))
    if not mask.any():
        return False
    corners = surface.points[np.unique(surface.triangles[mask])]
    return bool(np.linalg.norm(corners - surface.points[vertex], axis=1).min() <= reach)
