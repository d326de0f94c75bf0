"""Cross-sections of a surface by planes: the loop around a point, its area, what else it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.anatomy.capping import plane_axes
from pipeline.anatomy.surface import Floats, Ints, Surface, components


@dataclass(frozen=True, slots=True)
class Slice:
    """One closed loop of a plane section, in the plane's own axes about the point asked for.

    Attributes:
        starts: Segment starts ``(n, 2)``.
        ends: Segment ends ``(n, 2)``.
        origin: The point asked for, ``(3,)``.
        axes: The plane's axes, ``(2, 3)``.
    """

    starts: Floats
    ends: Floats
    origin: Floats
    axes: Floats

    @property
    def area(self) -> float:
        """Enclosed area."""
        return float(abs(_cross(self.starts, self.ends).sum()) / 2.0)

    @property
    def centre(self) -> Floats:
        """Area centroid, ``(3,)``."""
        weights = _cross(self.starts, self.ends)
        flat = ((self.starts + self.ends) * weights[:, None]).sum(axis=0) / (3.0 * weights.sum())
        return np.asarray(self.origin + flat @ self.axes)

    @property
    def reach(self) -> float:
        """Largest distance from the point asked for."""
        return float(np.linalg.norm(self.starts, axis=1).max())

    def holds(self, point: Floats) -> bool:
        """Whether the loop runs around a point ``(2,)`` of the plane."""
        return bool(abs(_winding(self.starts - point, self.ends - point).sum()) > np.pi)


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _winding(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.arctan2(_cross(a, b), np.einsum("ij,ij->i", a, b)))


class Slicer:
    """Cuts one surface by many small planes."""

    def __init__(self, surface: Surface) -> None:
        """Index the triangles by place."""
        self._points, self._triangles = surface.points, surface.triangles
        self._centroids = surface.centroids
        corners = surface.points[surface.triangles]
        self._size = float(np.linalg.norm(corners - self._centroids[:, None], axis=2).max())
        self._tree = cKDTree(self._centroids)

    def around(self, point: Floats, normal: Floats, reach: float) -> Slice | None:
        """Return the closed loop of the plane section that runs around `point`.

        Args:
            point: Point of the plane inside the vessel, ``(3,)``.
            normal: Unit normal of the plane.
            reach: First guess of the loop's reach [mm]; doubled up to three times.

        Returns:
            The loop, or None where none is closed around the point.
        """
        for factor in (1.0, 2.0, 4.0, 8.0):
            found = self._try(point, normal, reach * factor)
            if found is not None:
                return found
        return None

    def _try(self, point: Floats, normal: Floats, reach: float) -> Slice | None:
        near = np.array(self._tree.query_ball_point(point, reach + self._size), dtype=np.int64)
        if len(near) == 0:
            return None
        starts, ends, keys = self._segments(self._triangles[near], point, normal)
        if len(starts) == 0:
            return None
        nodes, inverse = np.unique(keys, return_inverse=True)
        links = inverse.reshape(-1, 2).astype(np.int64)
        part = components(len(nodes), links)[links[:, 0]]
        degree = np.bincount(links.ravel(), minlength=len(nodes))
        broken = np.zeros(part.max() + 1, np.bool_)
        broken[part[(degree[links] != 2).any(axis=1)]] = True
        turns = np.bincount(part, weights=_winding(starts, ends))
        around = np.flatnonzero((np.abs(turns) > np.pi) & ~broken)
        axes = np.stack(plane_axes(normal))
        loops = [Slice(starts[part == i], ends[part == i], point, axes) for i in around]
        return min(loops, key=lambda loop: loop.area, default=None)

    def _segments(self, cells: Ints, point: Floats, normal: Floats) -> tuple[Floats, Floats, Ints]:
        """Segments (plane axes) where triangles cross the plane, and keys of the edges they join."""
        first, second = plane_axes(normal)
        offset = self._points[cells] - point
        height = offset @ normal
        height = np.where(height == 0.0, 1e-12, height)
        positive = height > 0
        mixed = positive.any(axis=1) & ~positive.all(axis=1)
        cells, offset, height, positive = (
            cells[mixed],
            offset[mixed],
            height[mixed],
            positive[mixed],
        )
        following = np.roll(positive, -1, axis=1)
        up = np.argmax(~positive & following, axis=1)
        down = np.argmax(positive & ~following, axis=1)
        row = np.arange(len(cells))
        places, keys = [], []
        for k in (up, down):
            n = (k + 1) % 3
            t = height[row, k] / (height[row, k] - height[row, n])
            where = offset[row, k] + t[:, None] * (offset[row, n] - offset[row, k])
            places.append(np.stack([where @ first, where @ second], axis=1))
            low = np.minimum(cells[row, k], cells[row, n])
            high = np.maximum(cells[row, k], cells[row, n])
            keys.append(low * len(self._points) + high)
        return places[0], places[1], np.stack(keys, axis=1)
