"""Triangle surfaces as arrays: measures, boundary loops, connected parts. No VTK here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle surface [mm] with a patch number on each triangle.

    Attributes:
        points: ``(n, 3)``.
        triangles: ``(m, 3)``, normals outward.
        patch: ``(m,)``; 0 on the wall.
        extension: ``(m,)``; True on flow extensions.
    """

    points: Floats
    triangles: Ints
    patch: npt.NDArray[np.int32]
    extension: Flags

    @classmethod
    def of(
        cls,
        points: Floats,
        triangles: Ints,
        patch: npt.NDArray[np.int32] | None = None,
        extension: Flags | None = None,
    ) -> Surface:
        """Make a surface; patch and extension are zero where absent."""
        count = len(triangles)
        return cls(
            points=np.asarray(points, dtype=np.float64),
            triangles=np.asarray(triangles, dtype=np.int64).reshape(-1, 3),
            patch=np.zeros(count, np.int32) if patch is None else np.asarray(patch, np.int32),
            extension=np.zeros(count, np.bool_) if extension is None else extension,
        )

    def keep(self, cells: Flags) -> Surface:
        """Return the surface of some triangles, unused points dropped."""
        triangles = self.triangles[cells]
        used, inverse = np.unique(triangles, return_inverse=True)
        return Surface(
            self.points[used],
            inverse.reshape(-1, 3).astype(np.int64),
            self.patch[cells],
            self.extension[cells],
        )

    @property
    def area_vectors(self) -> Floats:
        """Area times outward normal of each triangle, ``(m, 3)``."""
        a, b, c = (self.points[self.triangles[:, i]] for i in range(3))
        return np.asarray(0.5 * np.cross(b - a, c - a))

    @property
    def centroids(self) -> Floats:
        """Triangle centroids, ``(m, 3)``."""
        return np.asarray(self.points[self.triangles].mean(axis=1))

    @property
    def volume(self) -> float:
        """Enclosed volume of a closed surface (divergence theorem)."""
        origin = self.points.mean(axis=0)
        return float(np.einsum("ij,ij->", self.centroids - origin, self.area_vectors) / 3.0)

    @property
    def edge_length(self) -> float:
        """Median edge length."""
        a, b = self.points[self.triangles], self.points[np.roll(self.triangles, -1, axis=1)]
        return float(np.median(np.linalg.norm(b - a, axis=2)))


def half_edges(triangles: Ints) -> Ints:
    """Return the directed edges ``(3 m, 2)``; edge ``3 i + k`` leaves vertex k of triangle i."""
    return np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)


def neighbours(triangles: Ints) -> Ints:
    """Return pairs of triangles that share an edge, ``(k, 2)`` (manifold edges only)."""
    edges = np.sort(half_edges(triangles), axis=1)
    key = edges[:, 0] * (int(triangles.max(initial=0)) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    first = np.flatnonzero(ranked[1:] == ranked[:-1])
    return np.stack([order[first] // 3, order[first + 1] // 3], axis=1)


def components(count: int, pairs: Ints) -> Ints:
    """Label the connected parts of a graph of `count` nodes, ``(count,)``."""
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def open_edges(triangles: Ints) -> Ints:
    """Return the directed edges without an opposite, ``(k, 2)``."""
    edges = half_edges(triangles)
    size = int(triangles.max(initial=0)) + 1
    forward, backward = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    return edges[~np.isin(forward, backward)]


def boundary_loops(triangles: Ints) -> list[Ints]:
    """Chain the open edges into closed loops of vertices.

    Each loop runs with the triangles it bounds (their normals and the loop obey the right-hand rule).
    At a vertex where two loops touch, the shorter loop is closed first.
    """
    following: dict[int, list[int]] = {}
    for start, end in open_edges(triangles).tolist():
        following.setdefault(start, []).append(end)
    loops: list[Ints] = []
    for first in list(following):
        while following.get(first):
            loops.extend(_walk(first, following))
    return [loop for loop in loops if len(loop) >= 3]


def _walk(first: int, following: dict[int, list[int]]) -> list[Ints]:
    """Follow the open edges from `first` until it is met again; pinched-off loops come separately."""
    path, place, loops = [first], {first: 0}, []
    while following.get(path[-1]):
        vertex = following[path[-1]].pop()
        if vertex in place:
            cut = place[vertex]
            loops.append(np.array(path[cut:], dtype=np.int64))
            for gone in path[cut + 1 :]:
                del place[gone]
            path = path[: cut + 1]
            if cut == 0:
                break
        else:
            place[vertex] = len(path)
            path.append(vertex)
    return loops


def loop_area_vector(points: Floats) -> Floats:
    """Area vector of a closed polygon, ``(3,)``; right-hand rule."""
    centred = points - points.mean(axis=0)
    return np.asarray(0.5 * np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0))


def loop_centroid(points: Floats) -> Floats:
    """Area centroid of a nearly flat closed polygon, ``(3,)``."""
    middle = points.mean(axis=0)
    a, b = points - middle, np.roll(points, -1, axis=0) - middle
    weights = np.cross(a, b) @ loop_area_vector(points)
    total = weights.sum()
    if abs(total) < 1e-300:
        return np.asarray(middle)
    return np.asarray(middle + ((a + b) / 3.0 * weights[:, None]).sum(axis=0) / total)


def merge_points(surface: Surface, tolerance: float) -> Surface:
    """Merge points closer than `tolerance` [mm] (grid of that size) and drop collapsed triangles."""
    cells = np.round(surface.points / tolerance).astype(np.int64)
    _, index, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    triangles = inverse.reshape(-1)[surface.triangles]
    a, b, c = triangles.T
    good = (a != b) & (b != c) & (c != a)
    merged = Surface(
        surface.points[index], triangles[good], surface.patch[good], surface.extension[good]
    )
    return merged.keep(np.ones(len(merged.triangles), np.bool_))
