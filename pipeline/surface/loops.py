"""Boundary loops: vessel ends and holes in the wall; filling a small hole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.surface.mesh import Floats, Ints, TriangleMesh
from pipeline.surface.topology import Edges, boundary_loops

FLATNESS = 0.15  # a vessel end leaves its plane by at most this part of its radius
LENGTHWISE = 0.5  # and the wall goes away from that plane at this cosine or more
LEAST_EDGES, LEAST_MM = 5, 0.25  # a smaller loop is where a triangle is missing
ROUNDNESS = 0.4  # 4 pi area / perimeter^2 of an end is at least this (a 1 : 4 ellipse has 0.54)
SMALL_HOLE_EDGES = 12
_NEEDLE = 1e-3  # twice the area of a triangle over its longest side squared, below which its corners lie on a line


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed boundary loop.

    Attributes:
        vertices: In order, ``(n,)``.
        centre: Mean of its edge middles [mm], ``(3,)``.
        diameter: Of the circle with the loop's area [mm].
        flatness: Largest distance from the plane over the radius.
        lengthwise: Mean cosine between the wall at the loop and the plane's normal: 1 at a cut tube's
            end, 0 around a hole in its wall.
        roundness: 4 pi area / perimeter^2.
    """

    vertices: Ints
    centre: Floats
    diameter: float
    flatness: float
    lengthwise: float
    roundness: float

    @property
    def is_end(self) -> bool:
        """Whether this looks like a vessel cut across."""
        large = len(self.vertices) >= LEAST_EDGES and self.diameter >= LEAST_MM
        cut_across = self.flatness < FLATNESS and self.lengthwise > LENGTHWISE
        return large and cut_across and self.roundness > ROUNDNESS

    def __str__(self) -> str:
        x, y, z = self.centre
        return (
            f"{len(self.vertices)} edges, {self.diameter:.2f} mm, at ({x:.1f}, {y:.1f}, {z:.1f}) mm"
        )


def find_loops(mesh: TriangleMesh) -> list[Loop]:
    """The boundary loops, measured."""
    opposite = _opposite(mesh)
    return [_measured(mesh, loop, opposite) for loop in boundary_loops(mesh)]


def _opposite(mesh: TriangleMesh) -> dict[tuple[int, int], int]:
    """Third vertex of the triangle on each boundary side."""
    single = Edges.of(mesh.triangles)
    cell, k = np.nonzero(single.count[single.of_cell] == 1)
    t = mesh.triangles[cell]
    rows = np.arange(len(t))
    a, b, c = t[rows, k], t[rows, (k + 1) % 3], t[rows, (k + 2) % 3]
    return {(int(i), int(j)): int(o) for i, j, o in zip(a, b, c, strict=True)}


def _measured(mesh: TriangleMesh, loop: Ints, opposite: dict[tuple[int, int], int]) -> Loop:
    a, b = mesh.points[loop], mesh.points[np.roll(loop, -1)]
    length = np.linalg.norm(b - a, axis=1)
    centre = ((a + b) / 2 * length[:, None]).sum(0) / length.sum()
    vector = 0.5 * np.cross(a - centre, b - centre).sum(0)
    area = float(np.linalg.norm(vector))
    normal = vector / max(area, 1e-300)
    radius = float(np.sqrt(area / np.pi))
    third = mesh.points[
        [opposite[(int(i), int(j))] for i, j in zip(loop, np.roll(loop, -1), strict=True)]
    ]
    along = (b - a) / np.maximum(length, 1e-300)[:, None]
    inward = third - a - ((third - a) * along).sum(1)[:, None] * along
    inward /= np.maximum(np.linalg.norm(inward, axis=1), 1e-300)[:, None]
    flatness = float(np.abs((a - centre) @ normal).max()) / max(radius, 1e-300)
    lengthwise = abs(float(((inward @ normal) * length).sum() / length.sum()))
    return Loop(
        loop, centre, 2 * radius, flatness, lengthwise, float(4 * np.pi * area / length.sum() ** 2)
    )


def filled(mesh: TriangleMesh, loop: Ints) -> TriangleMesh:
    """Close a loop by the triangles of least total area (Barequet & Sharir 1995; no new points).

    Triangles whose corners lie on a line cost more than any other filling.

    Reference: Comput Aided Geom Des 12:207-229, doi 10.1016/0167-8396(94)00011-G.
    """
    ring = loop[::-1]  # the filling runs against the boundary
    points = mesh.points[ring]
    n = len(ring)

    extent = float(np.linalg.norm(np.ptp(points, axis=0)))

    def area(i: int, j: int, k: int) -> float:
        a, b = points[j] - points[i], points[k] - points[i]
        twice, longest = float(np.linalg.norm(np.cross(a, b))), max(a @ a, b @ b, (a - b) @ (a - b))
        return twice if twice > _NEEDLE * longest else n * extent**2

    @cache
    def best(i: int, k: int) -> tuple[float, int]:
        if k - i < 2:
            return 0.0, -1
        return min((best(i, j)[0] + area(i, j, k) + best(j, k)[0], j) for j in range(i + 1, k))

    triangles, open_spans = [], [(0, n - 1)]
    for gap in range(2, n):  # bottom up: no deep recursion
        for i in range(n - gap):
            best(i, i + gap)
    while open_spans:
        i, k = open_spans.pop()
        if k - i >= 2:
            j = best(i, k)[1]
            triangles.append([ring[i], ring[j], ring[k]])
            open_spans += [(i, j), (j, k)]
    new = np.array(triangles, dtype=np.int64).reshape(-1, 3)
    return TriangleMesh(
        mesh.points,
        np.concatenate([mesh.triangles, new]),
        np.concatenate([mesh.cap, np.zeros(len(new), np.int32)]),
    )
