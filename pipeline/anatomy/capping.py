"""Flat caps: triangulate a planar loop with triangles the size of its edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay

from meshing.errors import ComputationError
from pipeline.anatomy.surface import (
    Floats,
    Ints,
    Surface,
    half_edges,
    loop_area_vector,
    loop_centroid,
    open_edges,
)


def plane_axes(normal: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors that make a right-handed frame with `normal`."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    return np.asarray(first), np.asarray(np.cross(normal, first))


def fill(surface: Surface, loop: Ints, patch: int) -> Surface:
    """Close an open loop of the surface with a flat cap of number `patch`.

    The rim is projected onto its mean plane first, so that the cap is exactly flat.

    Args:
        surface: Surface with the open loop.
        loop: Vertices in the direction of the open half-edges (`surface.boundary_loops`).
        patch: Number of the new cap.

    Raises:
        ComputationError: The loop cannot be triangulated.
    """
    points = surface.points.copy()
    rim = points[loop]
    normal = -loop_area_vector(rim)  # the cap runs against the open edges
    length = float(np.linalg.norm(normal))
    if length == 0.0:
        raise ComputationError(f"a vessel end at {np.round(rim[0], 2).tolist()} mm has no area")
    normal /= length
    centre = loop_centroid(rim)
    rim = rim - np.outer((rim - centre) @ normal, normal)
    points[loop] = rim
    ring = loop[::-1]
    inner, cells = triangulate_loop(rim[::-1], normal)
    index = np.concatenate([ring, len(points) + np.arange(len(inner), dtype=np.int64)])
    count = len(cells)
    return Surface(
        np.vstack([points, inner]),
        np.vstack([surface.triangles, index[cells]]),
        np.concatenate([surface.patch, np.full(count, patch, np.int32)]),
        np.concatenate([surface.extension, np.zeros(count, np.bool_)]),
    )


def triangulate_loop(loop: Floats, normal: Floats) -> tuple[Floats, Ints]:
    """Triangulate a flat loop that runs counter-clockwise about `normal`.

    Returns:
        Inner points ``(k, 3)`` and triangles into (loop points, inner points), oriented along `normal`.
    """
    first, second = plane_axes(normal)
    centre = loop.mean(axis=0)
    flat = np.stack([(loop - centre) @ first, (loop - centre) @ second], axis=1)
    edge = float(np.linalg.norm(np.roll(flat, -1, axis=0) - flat, axis=1).mean())
    inner = _grid_inside(flat, edge)
    cells = _delaunay_cells(flat, inner)
    if cells is None:
        inner, cells = np.empty((0, 2)), _ear_cells(flat)
    return centre + inner[:, :1] * first + inner[:, 1:] * second, cells


def inside(polygon: Floats, points: Floats) -> npt.NDArray[np.bool_]:
    """Which points ``(k, 2)`` lie inside a polygon ``(n, 2)`` (even-odd rule)."""
    x, y = points[:, 0:1], points[:, 1:2]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    height = np.where(y1 == y0, 1.0, y1 - y0)
    crosses = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / height + x0)
    return np.asarray(crosses.sum(axis=1) % 2 == 1)


def _grid_inside(polygon: Floats, edge: float) -> Floats:
    """Points of a triangular grid, inside and not nearer to the rim than 0.6 of an edge."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    rows = np.arange(low[1], high[1] + edge, edge * np.sqrt(3) / 2)
    columns = np.arange(low[0], high[0] + edge, edge)
    x, y = np.meshgrid(columns, rows)
    x = x + np.where(np.arange(len(rows)) % 2, edge / 2, 0.0)[:, None]
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    grid = grid[inside(polygon, grid)]
    return grid[_distance_to_loop(polygon, grid) > 0.6 * edge]


def _distance_to_loop(polygon: Floats, points: Floats) -> Floats:
    start = polygon[None]
    along = np.roll(polygon, -1, axis=0)[None] - start
    offset = points[:, None] - start
    length2 = np.maximum(np.einsum("ijk,ijk->ij", along, along), 1e-300)
    t = np.clip(np.einsum("ijk,ijk->ij", offset, along) / length2, 0.0, 1.0)
    return np.asarray(np.linalg.norm(offset - t[..., None] * along, axis=2).min(axis=1))


def _delaunay_cells(loop: Floats, inner: Floats) -> Ints | None:
    """Delaunay triangles inside the loop; None unless they are a disc bounded by the loop."""
    points = np.vstack([loop, inner])
    bulged = np.vstack([_bulged(loop), inner])
    cells = Delaunay(bulged).simplices.astype(np.int64)
    cells = cells[inside(bulged[: len(loop)], bulged[cells].mean(axis=1))]
    area = _signed_areas(bulged, cells)
    cells[area < 0] = cells[area < 0][:, ::-1]
    exact = _polygon_area(loop)
    real = _signed_areas(points, cells)
    thin = bool((real < 1e-6 * exact / len(loop) ** 2).any())
    if thin or abs(real.sum() - exact) > 1e-6 * exact or not _is_disc(cells, len(loop)):
        return None
    return cells


def _bulged(loop: Floats) -> Floats:
    """The loop with points on straight stretches moved out a little, lest flat triangles join three of them."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    length = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    turn = (before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) / np.maximum(length, 1e-300)
    chord = before + after
    out = np.stack([chord[:, 1], -chord[:, 0]], axis=1) * 0.01
    return np.asarray(loop + np.where(np.abs(turn) < 0.05, 1.0, 0.0)[:, None] * out)


def _signed_areas(points: Floats, cells: Ints) -> Floats:
    a, b, c = (points[cells[:, i]] for i in range(3))
    return np.asarray(
        0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]), dtype=np.float64
    )


def _is_disc(cells: Ints, count: int) -> bool:
    """Whether the open edges of the triangles are those of the loop 0, 1, .. `count` - 1."""
    ring = np.arange(count)
    rim = {*zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True)}
    edges = half_edges(cells)
    unique = len(np.unique(edges, axis=0)) == len(edges)
    return unique and {(a, b) for a, b in open_edges(cells).tolist()} == rim


def _polygon_area(loop: Floats) -> float:
    x, y = loop.T
    return float(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)


def _ear_cells(loop: Floats) -> Ints:
    """Ear clipping of a simple counter-clockwise polygon, the best-shaped ear first.

    Raises:
        ComputationError: The polygon crosses itself.
    """
    left, cells = list(range(len(loop))), []
    while len(left) > 3:
        corners = np.stack([np.roll(left, 1), left, np.roll(left, -1)], axis=1)
        shape = _shapes(loop[corners])
        ear = next((i for i in np.argsort(-shape).tolist() if _is_ear(loop, left, i)), None)
        if ear is None:
            raise ComputationError("a vessel end cannot be capped: its rim crosses itself")
        cells.append(corners[ear].tolist())
        del left[ear]
    return np.array([*cells, left], dtype=np.int64)


def _shapes(corners: Floats) -> Floats:
    """Signed area over the square of the longest edge of triangles ``(m, 3, 2)``."""
    a, b, c = (corners[:, i] for i in range(3))
    twice = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).max(axis=1)
    return np.asarray(twice / np.maximum(longest, 1e-300) ** 2)


def _is_ear(loop: Floats, left: list[int], i: int) -> bool:
    corner = [left[i - 1], left[i], left[(i + 1) % len(left)]]
    if _shapes(loop[corner][None])[0] <= 0.0:
        return False
    others = loop[[v for v in left if v not in corner]]
    return not bool(inside(loop[corner], others).any())
