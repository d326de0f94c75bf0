"""Cut one vessel end off with a plane and close it flat."""

from __future__ import annotations

import numpy as np

from meshing.errors import ComputationError
from pipeline.anatomy.capping import fill
from pipeline.anatomy.surface import (
    Flags,
    Floats,
    Ints,
    Surface,
    boundary_loops,
    components,
    half_edges,
)

_SNAP = 0.2  # crossings nearer to a vertex than this part of the edge move the vertex


def cut_off(surface: Surface, seed: int, origin: Floats, normal: Floats, patch: int) -> Surface:
    """Remove the part beyond a plane that holds vertex `seed`; close the hole with cap `patch`.

    Only the connected part with the seed goes; the plane does not touch the rest of the tree.

    Args:
        surface: Closed surface.
        seed: A vertex beyond the plane.
        origin: Point of the plane.
        normal: Unit normal, towards the part to remove.
        patch: Number of the new cap.

    Raises:
        ComputationError: The seed is not beyond the plane, or the cut is not one loop.
    """
    distance = (surface.points - origin) @ normal
    beyond = _beyond(surface, distance, seed)
    points, distance, beyond = _snap(surface, distance, beyond)
    on_plane = ~beyond & (distance == 0.0)
    corners = surface.triangles
    lost = beyond[corners]
    kept = ~lost.any(axis=1) & ~on_plane[corners].all(axis=1)
    mixed = lost.any(axis=1) & (~lost & ~on_plane[corners]).any(axis=1)
    split, made = _split(points, distance, beyond, corners[mixed], surface.patch[mixed])
    whole = Surface.of(
        np.vstack([points, made]),
        np.vstack([corners[kept], split[0]]),
        np.concatenate([surface.patch[kept], split[1]]),
    )
    loops = boundary_loops(whole.triangles)
    if len(loops) != 1:
        raise ComputationError(
            f"the cut at {np.round(origin, 2).tolist()} mm gives {len(loops)} loops, not one"
        )
    whole = fill(whole, loops[0], patch)
    return whole.keep(np.ones(len(whole.triangles), np.bool_))


def _beyond(surface: Surface, distance: Floats, seed: int) -> Flags:
    if distance[seed] <= 0.0:
        raise ComputationError(
            f"the cut does not remove the vessel end at {np.round(surface.points[seed], 2).tolist()} mm"
        )
    edges = half_edges(surface.triangles)
    ahead = distance > 0.0
    label = components(len(surface.points), edges[ahead[edges].all(axis=1)])
    return np.asarray(ahead & (label == label[seed]))


def _snap(surface: Surface, distance: Floats, beyond: Flags) -> tuple[Floats, Floats, Flags]:
    """Move vertices close to the plane onto it, along the edge that crosses nearest."""
    points, distance, beyond = surface.points.copy(), distance.copy(), beyond.copy()
    edges = half_edges(surface.triangles)
    edges = edges[beyond[edges[:, 0]] & ~beyond[edges[:, 1]]]
    out, kept = edges[:, 0], edges[:, 1]
    t = distance[kept] / (distance[kept] - distance[out])  # position of the crossing from `kept`
    crossing = points[kept] + t[:, None] * (points[out] - points[kept])
    taken: set[int] = set()
    for i in np.argsort(np.minimum(t, 1.0 - t)).tolist():
        near = min(t[i], 1.0 - t[i])
        if near > _SNAP:
            break
        vertex = int(kept[i] if t[i] < 0.5 else out[i])
        if vertex not in taken:
            taken.add(vertex)
            points[vertex], distance[vertex], beyond[vertex] = crossing[i], 0.0, False
    return points, distance, beyond


def _split(
    points: Floats, distance: Floats, beyond: Flags, cells: Ints, patch: Ints
) -> tuple[tuple[Ints, Ints], Floats]:
    """Split triangles at the plane; return the kept pieces with their patches, and the new points."""
    made: list[Floats] = []
    index: dict[tuple[int, int], int] = {}

    def crossing(kept: int, out: int) -> int:
        key = (kept, out)
        if key not in index:
            t = distance[kept] / (distance[kept] - distance[out])
            index[key] = len(points) + len(made)
            made.append(points[kept] + t * (points[out] - points[kept]))
        return index[key]

    pieces: list[list[int]] = []
    owner: list[int] = []
    for cell, number in zip(cells.tolist(), patch.tolist(), strict=True):
        polygon: list[int] = []
        for a, b in zip(cell, [*cell[1:], cell[0]], strict=True):
            if not beyond[a]:
                polygon.append(a)
            if beyond[a] != beyond[b] and distance[b if beyond[a] else a] != 0.0:
                polygon.append(crossing(b, a) if beyond[a] else crossing(a, b))
        for k in range(1, len(polygon) - 1):
            pieces.append([polygon[0], polygon[k], polygon[k + 1]])
            owner.append(number)
    new = np.array(made) if made else np.empty((0, 3))
    return (np.array(pieces, np.int64).reshape(-1, 3), np.array(owner, np.int32)), new
