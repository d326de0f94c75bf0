"""Lumen area in the plane of a throat, on the smooth wall and on the mesh that stands for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from meshing.sizing import Throat
from meshing.smooth_wall import SmoothWall
from meshing.topology import Floats, Ints, normalised

_PIECES = 6  # a triangle is cut in 36 for the section
_ROUNDING = 1e-9  # of coordinates, over the size of the section
_REACH = 3.0  # the section is taken within so many throat radii


def throat_areas(
    throats: Sequence[Throat], centerline: Floats, wall: SmoothWall, points: Floats, facets: Ints
) -> list[tuple[float | None, float | None]]:
    """Area [mm^2] at each throat, perpendicular to the centreline: smooth wall, mesh.

    None where the plane cuts no closed curve around the centreline within three radii of the throat: at an ostium it
    cuts along the parent vessel, whose area would say nothing about the throat.

    Args:
        throats: The narrowings.
        centerline: Centreline points, for the direction, ``(k, 3)``.
        wall: The smooth wall.
        points: Mesh nodes, ``(n, 3)``.
        facets: Wall facets of the mesh, ``(f, 3)`` or ``(f, 6)``.
    """
    inner = wall.triangles_centres()
    outer = points[facets[:, :3]].mean(axis=1)
    weights, cut = _pieces()
    shapes = _shapes(weights, facets.shape[1])
    areas = []
    for throat in throats:
        centre = np.array(throat.centre)
        axis = _axis(centerline, centre, throat.radius)
        on_wall = _near(inner, centre, throat.radius)
        smooth = wall.evaluate(
            np.repeat(on_wall, len(weights)), np.tile(weights, (len(on_wall), 1))
        ).reshape(-1, len(weights), 3)
        meshed = np.einsum(
            "wi,fid->fwd", shapes, points[facets[_near(outer, centre, throat.radius)]]
        )
        areas.append(
            (_cut_area(smooth[:, cut], centre, axis), _cut_area(meshed[:, cut], centre, axis))
        )
    return areas


def _near(centres: Floats, centre: Floats, radius: float) -> Ints:
    return np.flatnonzero(np.linalg.norm(centres - centre, axis=1) < _REACH * radius)


def _axis(centerline: Floats, centre: Floats, radius: float) -> Floats:
    """Direction of the centreline around its point ``centre``."""
    near = cKDTree(centerline).query_ball_point(centre, radius)
    spread = centerline[near] - centerline[near].mean(axis=0)
    return np.asarray(np.linalg.svd(spread)[2][0]) if len(near) > 1 else np.array([0.0, 0.0, 1.0])


def _pieces() -> tuple[Floats, Ints]:
    """Barycentric weights of a cut triangle ``(p, 3)`` and its pieces ``(36, 3)``."""
    n = _PIECES
    places = [(i, j) for i in range(n + 1) for j in range(n + 1 - i)]
    index = {place: k for k, place in enumerate(places)}
    weights = np.array([((n - i - j) / n, i / n, j / n) for i, j in places])
    up = [(index[i, j], index[i + 1, j], index[i, j + 1]) for i in range(n) for j in range(n - i)]
    down = [
        (index[i + 1, j], index[i + 1, j + 1], index[i, j + 1])
        for i in range(n)
        for j in range(n - i - 1)
    ]
    return weights, np.array(up + down)


def _shapes(weights: Floats, nodes: int) -> Floats:
    """Shape functions of a flat or six-node triangle at ``weights``, ``(p, nodes)``."""
    a, b, c = weights.T
    if nodes == 3:
        return weights
    corners = [a * (2 * a - 1), b * (2 * b - 1), c * (2 * c - 1)]
    return np.stack([*corners, 4 * a * b, 4 * b * c, 4 * c * a], axis=1)


def _cut_area(triangles: Floats, centre: Floats, axis: Floats) -> float | None:
    """Area inside the closed curve around ``centre`` in which a plane cuts triangles ``(..., 3, 3)``."""
    corners = triangles.reshape(-1, 3, 3) - centre
    height = corners @ normalised(axis)
    on_plane = np.abs(height) < _ROUNDING * np.abs(corners).max(initial=0.0)
    height = np.where(on_plane, 1e-300, height)  # to one side, in all triangles of a vertex
    crossed = np.abs(np.sign(height).sum(axis=1)) == 1
    corners, height = corners[crossed], height[crossed]
    # bring the corner that lies alone on its side of the plane first
    alone = np.argmax(np.sign(height) != np.sign(height).sum(axis=1)[:, None], axis=1)
    order = (alone[:, None] + np.arange(3)) % 3
    height = np.take_along_axis(height, order, axis=1)
    corners = np.take_along_axis(corners, order[:, :, None], axis=1)
    first = _between(corners[:, 0], corners[:, 1], height[:, 0], height[:, 1])
    second = _between(corners[:, 0], corners[:, 2], height[:, 0], height[:, 2])
    upward = (height[:, 0] > 0)[:, None]
    loop = _loop_around(np.where(upward, first, second), np.where(upward, second, first), axis)
    if loop is None:
        return None
    start, end = loop
    return abs(float(0.5 * np.sum(np.cross(start, end) @ normalised(axis))))


def _loop_around(start: Floats, end: Floats, axis: Floats) -> tuple[Floats, Floats] | None:
    """Those directed segments that make the closed curve around the origin; None where there is none."""
    if len(start) == 0:
        return None
    node = _same_places(np.concatenate([start, end])).reshape(2, -1)
    n = int(node.max()) + 1
    links = coo_array((np.ones(node.shape[1]), (node[0], node[1])), shape=(n, n))
    _, curve = connected_components(links, directed=False)
    closed = np.ones(int(curve.max()) + 1, dtype=bool)
    flux = np.bincount(node[0], minlength=n) - np.bincount(node[1], minlength=n)
    closed[curve[flux != 0]] = False
    across = np.cross(start, end) @ normalised(axis)
    angle = np.arctan2(across, (start * end).sum(axis=1))
    turns = np.bincount(curve[node[0]], weights=angle, minlength=len(closed)) / (2 * np.pi)
    around = np.flatnonzero(closed & (np.abs(np.abs(turns) - 1.0) < 0.1))
    if len(around) != 1:
        return None
    own = curve[node[0]] == around[0]
    return start[own], end[own]


def _same_places(points: Floats) -> Ints:
    """One number for points that differ by rounding only, ``(n,)``."""
    reach = _ROUNDING * float(np.abs(points).max())
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
    return np.asarray(connected_components(links, directed=False)[1])


def _between(one: Floats, two: Floats, a: Floats, b: Floats) -> Floats:
    return one + (a / (a - b))[:, None] * (two - one)
