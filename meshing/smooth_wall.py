"""A smooth wall through the vertices of a triangulated lumen, with closest-point projection.

Each wall triangle carries a cubic Bezier triangle (Vlachos et al. 2001, "Curved PN triangles",
doi:10.1145/364338.364387), with the tangent lengths of circular arcs instead of a third of the
chord, so that a faceted circle regains its area. Vertex normals come from a quadric fitted to the
wall vertices around (caps never take part), so they are right on uneven triangles and at rims.
"""

from __future__ import annotations

import numpy as np

from meshing.locator import FacetLocator
from meshing.lumen import LumenSurface
from meshing.normals import fit_normals, smoothed_curvature
from meshing.rims import Rim, handle, make_rim
from meshing.topology import (
    TRIANGLE_EDGES,
    Floats,
    Ints,
    edge_keys,
    loops,
    normalised,
    unique_edges,
)

# exponents (i, j, k) of the ten control points: corners, two on each edge, centre
_EXPONENTS = np.array(
    [
        *[(3, 0, 0), (0, 3, 0), (0, 0, 3), (2, 1, 0), (1, 2, 0)],
        *[(0, 2, 1), (0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 1, 1)],
    ]
)
_MULTIPLICITY = np.array([1, 1, 1, 3, 3, 3, 3, 3, 3, 6])


class SmoothWall:
    """The smooth wall and the smooth rims of one lumen surface.

    Attributes:
        rims: One a cap, in the order of `LumenSurface.caps`.
        triangles: Wall triangles, ``(w, 3)``.
        normals: Unit outward wall normals at the surface vertices, ``(n, 3)``; 0 off the wall.
    """

    def __init__(self, surface: LumenSurface) -> None:
        self.rims = surface_rims(surface)
        self.triangles = surface.triangles[surface.patch == 0]
        self._points = surface.points.copy()
        for rim in self.rims:
            self._points[rim.vertices] = rim.points
        self.normals, self._shape = fit_normals(self._points, self.triangles)
        self._align_rims()
        self._controls = self._patches()
        self._locator = FacetLocator(self._points, self.triangles)

    def _align_rims(self) -> None:
        for rim in self.rims:
            normal = self.normals[rim.vertices]
            normal -= np.sum(normal * rim.tangents, axis=1)[:, None] * rim.tangents
            self.normals[rim.vertices] = normalised(normal)

    def _patches(self) -> Floats:
        """Control points of every wall triangle, ``(w, 10, 3)``."""
        points, tri = self._points, self.triangles
        edges, number = unique_edges(tri, TRIANGLE_EDGES)
        pair = np.stack(
            [self._handles(edges[:, 0], edges[:, 1]), self._handles(edges[:, 1], edges[:, 0])], 1
        )
        keys = edge_keys(edges)
        for rim in self.rims:
            self._put_rim(pair, edges, keys, rim)
        controls = np.empty((len(tri), 10, 3))
        controls[:, :3] = points[tri]
        for k, (i, j) in enumerate(TRIANGLE_EDGES):
            forward = tri[:, i] < tri[:, j]
            both = pair[number[:, k]]
            controls[:, 3 + 2 * k] = np.where(forward[:, None], both[:, 0], both[:, 1])
            controls[:, 4 + 2 * k] = np.where(forward[:, None], both[:, 1], both[:, 0])
        controls[:, 9] = controls[:, 3:9].sum(axis=1) / 4 - controls[:, :3].sum(axis=1) / 6
        return controls

    def _handles(self, start: Ints, end: Ints) -> Floats:
        a, b, n = self._points[start], self._points[end], self.normals[start]
        chord = b - a
        return handle(a, b, normalised(chord - np.sum(chord * n, axis=1)[:, None] * n))

    @staticmethod
    def _put_rim(pair: Floats, edges: Ints, keys: Ints, rim: Rim) -> None:
        """Overwrite the handles of the rim edges by those of the rim curve."""
        controls = rim.controls()
        following = np.roll(rim.vertices, -1)
        number = np.searchsorted(keys, edge_keys(np.stack([rim.vertices, following], 1)))
        forward = edges[number, 0] == rim.vertices
        pair[number, 0] = np.where(forward[:, None], controls[:, 1], controls[:, 2])
        pair[number, 1] = np.where(forward[:, None], controls[:, 2], controls[:, 1])

    def evaluate(self, triangle: Ints, weights: Floats) -> Floats:
        """Wall points at barycentric ``weights`` ``(k, 3)`` of wall triangles ``(k,)``."""
        powers = np.prod(weights[:, None, :] ** _EXPONENTS, axis=2) * _MULTIPLICITY
        return np.asarray(np.einsum("ki,kid->kd", powers, self._controls[triangle]))

    def project(self, points: Floats) -> Floats:
        """Points of the smooth wall closest to ``points`` ``(k, 3)`` (fixed-point iteration)."""
        sought = points
        result = points
        for _ in range(2):
            triangle, weights = self._locator.closest(sought)
            result = self.evaluate(triangle, weights)
            normal = self._normal(triangle, weights)
            gap = points - result
            sought = sought + gap - np.sum(gap * normal, axis=1)[:, None] * normal
        return result

    def triangles_centres(self) -> Floats:
        """Centroids of the flat wall triangles, ``(w, 3)``."""
        return np.asarray(self._controls[:, :3].mean(axis=1))

    def curvature(self, scale: Floats) -> Floats:
        """Largest absolute principal curvature at the surface vertices [1/mm], ``(n,)``.

        Args:
            scale: Length over which curvature is averaged, so that noise counts for nothing, ``(n,)``.
        """
        return smoothed_curvature(self._points, self.triangles, self._shape, scale)

    def normal_at(self, points: Floats) -> Floats:
        """Outward unit normals of the wall nearest to ``points`` ``(k, 3)``."""
        return self._normal(*self._locator.closest(points))

    def _normal(self, triangle: Ints, weights: Floats) -> Floats:
        corner = self.normals[self.triangles[triangle]]
        return normalised(np.einsum("ki,kid->kd", weights, corner))

    def volume(self) -> float:
        """Volume enclosed by the smooth wall and the flat caps [mm^3], exact for the patches."""
        total = sum(float(rim.origin @ rim.normal) * rim.area() for rim in self.rims)
        nodes, weights = np.polynomial.legendre.leggauss(5)
        everything = np.arange(len(self.triangles))
        for u, wu in zip(0.5 * (nodes + 1), 0.5 * weights, strict=True):
            for v, wv in zip(0.5 * (nodes + 1), 0.5 * weights, strict=True):
                at = np.array([1 - u, u * (1 - v), u * v])
                position, du, dv = self._derivatives(everything, at)
                total += wu * wv * u * float(np.sum(position * np.cross(du, dv)))
        return total / 3.0

    def _derivatives(self, triangle: Ints, at: Floats) -> tuple[Floats, Floats, Floats]:
        controls = self._controls[triangle]
        value = np.prod(at**_EXPONENTS, axis=1) * _MULTIPLICITY
        partial = []
        for k in range(3):
            lowered = _EXPONENTS.copy()
            lowered[:, k] = np.maximum(lowered[:, k] - 1, 0)
            partial.append(np.prod(at**lowered, axis=1) * _EXPONENTS[:, k] * _MULTIPLICITY)
        point = np.einsum("i,kid->kd", value, controls)
        du = np.einsum("i,kid->kd", partial[1] - partial[0], controls)
        dv = np.einsum("i,kid->kd", partial[2] - partial[0], controls)
        return point, du, dv


def surface_rims(surface: LumenSurface) -> tuple[Rim, ...]:
    """The rim of every cap of a checked surface (`meshing.check`)."""
    directed = surface.triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    patch = np.repeat(surface.patch, 3)
    on_wall = np.isin(edge_keys(directed), edge_keys(directed[patch == 0]))
    rims = []
    for cap in surface.caps:
        (vertices,) = loops(directed[(patch == cap.patch) & on_wall])
        rims.append(make_rim(cap, vertices, surface.points[vertices]))
    return tuple(rims)
