"""Cross-sections of a tetrahedral mesh and the mean pressure and flow on them.

Quadratic tetrahedra are cut as eight straight ones (their mid-edge nodes are kept), so a section of a curved vessel is
a fine polygon, a linear pressure field is averaged exactly, and the flow is integrated with the element's own
quadratic velocity. Only cells near the centreline point are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPLIT = {
    4: np.array([[0, 1, 2, 3]]),
    10: np.array(  # corners, then the inner octahedron around its axis 6-8
        [
            [0, 4, 6, 7],
            [4, 1, 5, 8],
            [6, 5, 2, 9],
            [7, 8, 9, 3],
            [6, 8, 4, 5],
            [6, 8, 5, 9],
            [6, 8, 9, 7],
            [6, 8, 7, 4],
        ]
    ),
}
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))
REFERENCE = np.vstack([VERTICES, [(VERTICES[a] + VERTICES[b]) / 2 for a, b in EDGES]])

# Cut edges of a tetrahedron whose vertices are sorted by distance, by the number below the plane.
CUTS = {
    1: np.array([[0, 1], [0, 2], [0, 3]]),
    2: np.array([[0, 2], [0, 3], [1, 3], [1, 2]]),
    3: np.array([[0, 3], [1, 3], [2, 3]]),
}
FIRST_REACH = 2.5  # of the section's radius
LARGEST_REACH = 6.0
DISC = 1.2  # of the inscribed radius: what counts where a section cuts more than one vessel
SMALLEST_AREA = 0.8  # of the inscribed circle
NUDGES = (0.0, 1e-3, -1e-3, 0.01, -0.01, 0.05, -0.05)  # inscribed radii along the tangent
LARGEST_AREA = 1.5  # of the area anatomy found: more means another vessel is in the section


@dataclass(frozen=True, slots=True)
class Section:
    """Means over one cross-section.

    Attributes:
        pressure: Area-weighted mean, in the unit of the field.
        flow_mL_per_s: Flow along the tangent; NaN if the section is not whole.
        area_mm2: Area of what was averaged.
        peak_m_per_s: Largest speed at the section's quadrature points.
        size_mm: Mean edge length of the cells cut.
        whole: True for the connected section of the vessel, False for a disc in it.
    """

    pressure: float
    flow_mL_per_s: float
    area_mm2: float
    peak_m_per_s: float
    size_mm: float
    whole: bool


@dataclass(frozen=True, slots=True)
class _Cut:
    """Triangles of a plane cut: vertices, pressure at them, reference coordinates in their parent cell."""

    points: Floats  # (t, 3, 3)
    pressure: Floats  # (t, 3)
    reference: Floats  # (t, 3, 3)
    parent: Ints  # (t,)
    part: npt.NDArray[np.int32]  # (t,) connected component

    @property
    def centroids(self) -> Floats:
        return self.points.mean(axis=1)

    @property
    def areas(self) -> Floats:
        a, b, c = self.points[:, 0], self.points[:, 1], self.points[:, 2]
        return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)

    def only(self, keep: npt.NDArray[np.bool_]) -> _Cut:
        return _Cut(
            self.points[keep],
            self.pressure[keep],
            self.reference[keep],
            self.parent[keep],
            self.part[keep],
        )


@dataclass(frozen=True)
class Sectioner:
    """Cuts one mesh with its fields.

    Attributes:
        points: Nodes [mm], ``(n, 3)``.
        cells: Tetrahedra in VTK node order, ``(m, 4)`` or ``(m, 10)``.
        pressure: Nodal pressure, any unit, ``(n,)``.
        velocity: Nodal velocity [m/s], ``(n, 3)``.
    """

    points: Floats
    cells: Ints
    pressure: Floats
    velocity: Floats

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points[self.cells[:, :4]].mean(axis=1))

    @cached_property
    def _size_of_cell(self) -> Floats:
        """The largest distance of a node from its cell's centroid, ``(m,)``."""
        centroid = self._tree.data
        largest = np.zeros(len(centroid))
        for k in range(self.cells.shape[1]):
            np.maximum(
                largest,
                np.linalg.norm(self.points[self.cells[:, k]] - centroid, axis=1),
                out=largest,
            )
        return largest

    @cached_property
    def _largest(self) -> float:
        return float(self._size_of_cell.max())

    def section(
        self, centre: Floats, tangent: Floats, radius: float, area: float = np.nan
    ) -> Section | None:
        """Average over the cross-section at a centreline point.

        Args:
            centre: Centreline point [mm].
            tangent: Unit normal of the plane; flow along it is positive.
            radius: Maximum-inscribed-sphere radius [mm].
            area: Area of the section as anatomy found it [mm^2]; NaN where the plane cuts more than one vessel, which
                limits the average to the disc of 1.2 inscribed radii around the centre.

        Returns:
            The averages; None where the plane cuts no cell.
        """
        equivalent = radius if np.isnan(area) else max(radius, float(np.sqrt(area / np.pi)))
        reach = FIRST_REACH * equivalent
        found = self._nudged(centre, tangent, radius, reach)
        while found is not None and not np.isnan(area) and _touches(found, centre, reach):
            reach *= 1.6
            if reach > LARGEST_REACH * equivalent:
                area = np.nan
                break
            found = self._nudged(centre, tangent, radius, reach)
        if found is None:
            return None
        whole = not np.isnan(area) and bool(found.areas.sum() <= LARGEST_AREA * area)
        if not whole:
            found = _disc(found, centre, DISC * radius)
        return self._average(found, tangent, whole)

    def _nudged(self, centre: Floats, tangent: Floats, radius: float, reach: float) -> _Cut | None:
        """The component at the centre; near an end plane, a hair inside of it.

        A plane that meets the inscribed sphere's great circle cuts at least its area; less means that the plane leaves
        the mesh through an end.
        """
        best, least = None, SMALLEST_AREA * np.pi * radius**2
        for shift in NUDGES:
            cut = self._cut(centre + shift * radius * tangent, tangent, reach)
            if cut is None:
                continue
            nearest = np.argmin(np.linalg.norm(cut.centroids - centre, axis=1))
            cut = cut.only(cut.part == cut.part[nearest])
            if best is None or cut.areas.sum() > best.areas.sum():
                best = cut
            if best.areas.sum() >= least:
                break
        return best

    def _cut(self, centre: Floats, tangent: Floats, reach: float) -> _Cut | None:
        near = np.asarray(
            self._tree.query_ball_point(centre, reach + self._largest), dtype=np.int64
        )
        offset = self._tree.data[near] - centre
        size = self._size_of_cell[near]
        near = near[
            (np.abs(offset @ tangent) <= size) & (np.linalg.norm(offset, axis=1) <= reach + size)
        ]
        if near.size == 0:
            return None
        split = SPLIT[self.cells.shape[1]]
        nodes = self.cells[near][:, split].reshape(-1, 4)
        height = (self.points[nodes] - centre) @ tangent
        local = np.tile(split, (near.size, 1))
        parent = np.repeat(near, len(split))
        cut = (height.min(axis=1) < 0) & (height.max(axis=1) >= 0)
        if not cut.any():
            return None
        return self._triangles(nodes[cut], height[cut], local[cut], parent[cut])

    def _triangles(self, nodes: Ints, height: Floats, local: Ints, parent: Ints) -> _Cut:
        order = np.argsort(height, axis=1)
        nodes = np.take_along_axis(nodes, order, axis=1)
        height = np.take_along_axis(height, order, axis=1)
        local = np.take_along_axis(local, order, axis=1)
        below = (height < 0).sum(axis=1)
        ends, weights, references, parents, polygons = [], [], [], [], []
        for count, edges in CUTS.items():
            rows = np.flatnonzero(below == count)
            a, b = edges.T
            t = height[rows][:, a] / (height[rows][:, a] - height[rows][:, b])
            lower, upper = REFERENCE[local[rows][:, a]], REFERENCE[local[rows][:, b]]
            reference = lower + t[..., None] * (upper - lower)
            pair = np.stack([nodes[rows][:, a], nodes[rows][:, b]], axis=-1)
            for corner in ((0, 1, 2), (0, 2, 3))[: len(edges) - 2]:
                ends.append(pair[:, corner])
                weights.append(t[:, corner])
                references.append(reference[:, corner])
                parents.append(parent[rows])
                polygons.append(rows)
        return self._assemble(
            np.concatenate(ends),
            np.concatenate(weights),
            np.concatenate(references),
            np.concatenate(parents),
            np.concatenate(polygons),
        )

    def _assemble(
        self, ends: Ints, weight: Floats, reference: Floats, parent: Ints, polygon: Ints
    ) -> _Cut:
        a, b, t = ends[..., 0], ends[..., 1], weight[..., None]
        points = self.points[a] + t * (self.points[b] - self.points[a])
        pressure = self.pressure[a] + weight * (self.pressure[b] - self.pressure[a])
        return _Cut(points, pressure, reference, parent, _parts(a, b, polygon, len(self.points)))

    def _average(self, cut: _Cut, tangent: Floats, whole: bool) -> Section:
        areas = cut.areas
        total = float(areas.sum())
        if total <= 0.0:
            return Section(float(cut.pressure.mean()), np.nan, 0.0, np.nan, np.nan, False)
        velocity = self._velocity(cut)
        flow = float((areas * (velocity @ tangent).mean(axis=1)).sum())  # mm^2 m/s = mL/s
        return Section(
            pressure=float((areas * cut.pressure.mean(axis=1)).sum() / total),
            flow_mL_per_s=flow if whole else np.nan,
            area_mm2=total,
            peak_m_per_s=float(np.linalg.norm(velocity, axis=2).max()),
            size_mm=self._size(np.unique(cut.parent)),
            whole=whole,
        )

    def _velocity(self, cut: _Cut) -> Floats:
        """Velocity at the mid-sides of the triangles (exact for quadratics), ``(t, 3, 3)``."""
        middle = 0.5 * (cut.reference + np.roll(cut.reference, -1, axis=1))
        shape = shape_functions(middle, self.cells.shape[1])
        result: Floats = np.einsum("tqi,tid->tqd", shape, self.velocity[self.cells[cut.parent]])
        return result

    def _size(self, parents: Ints) -> float:
        corner = self.points[self.cells[parents, :4]]
        return float(
            np.mean([np.linalg.norm(corner[:, a] - corner[:, b], axis=1) for a, b in EDGES])
        )


def shape_functions(reference: Floats, nodes: int) -> Floats:
    """Lagrange shape functions of a tetrahedron with 4 or 10 nodes in VTK order; ``(..., 3)`` to ``(..., nodes)``."""
    first = 1.0 - reference.sum(axis=-1, keepdims=True)
    linear = np.concatenate([first, reference], axis=-1)
    if nodes == 4:
        return linear
    edges = [4.0 * linear[..., a] * linear[..., b] for a, b in EDGES]
    return np.concatenate([linear * (2.0 * linear - 1.0), np.stack(edges, axis=-1)], axis=-1)


def _parts(a: Ints, b: Ints, polygon: Ints, nodes: int) -> npt.NDArray[np.int32]:
    """Connected component of each triangle; polygons that share a cut edge are neighbours."""
    key = np.minimum(a, b) * nodes + np.maximum(a, b)
    _, edge = np.unique(key.ravel(), return_inverse=True)
    row = np.repeat(polygon, 3)
    count, offset = int(polygon.max()) + 1, int(edge.max()) + 1
    graph = coo_matrix(
        (np.ones(row.size, dtype=np.int8), (row, count + edge)),
        shape=(count + offset, count + offset),
    )
    _, label = connected_components(graph, directed=False)
    return np.asarray(label[polygon], dtype=np.int32)


def _touches(cut: _Cut, centre: Floats, reach: float) -> bool:
    """Whether the component may go on beyond what was looked at."""
    return bool(np.linalg.norm(cut.points - centre, axis=2).max() > reach)


def _disc(cut: _Cut, centre: Floats, radius: float) -> _Cut:
    distance = np.linalg.norm(cut.centroids - centre, axis=1)
    return cut.only(distance <= max(radius, float(distance.min())))
