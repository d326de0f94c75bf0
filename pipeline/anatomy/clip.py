"""Cut one vessel end off with a plane and close it flat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from pipeline.anatomy.capping import fill
from pipeline.anatomy.collapse import RimTidier
from pipeline.anatomy.surface import (
    Flags,
    Floats,
    Ints,
    Surface,
    boundary_loops,
    components,
    half_edges,
)

Patches = npt.NDArray[np.int32]

_SHORT = 0.3  # edges at the rim shorter than this part of the median are collapsed


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
    distance = _heights(surface, seed, origin, normal)
    beyond = _beyond(surface, distance, seed)
    corners = surface.triangles
    lost = beyond[corners]
    kept, mixed = ~lost.any(axis=1), lost.any(axis=1) & ~lost.all(axis=1)
    split, made = _split(surface.points, distance, beyond, corners[mixed], surface.patch[mixed])
    points = np.vstack([surface.points, made])
    triangles = np.vstack([corners[kept], split[0]])
    loops = boundary_loops(triangles)
    if len(loops) != 1:
        raise ComputationError(
            f"the cut at {np.round(origin, 2).tolist()} mm gives {len(loops)} loops, not one"
        )
    tidier = RimTidier(points, triangles, loops[0])
    tidier.run(_SHORT * _edge_near(surface, mixed))
    patches = np.concatenate([surface.patch[kept], split[1]])[tidier.alive]
    whole = Surface.of(points, triangles[tidier.alive], patches)
    whole = fill(whole, np.array(tidier.ring, dtype=np.int64), patch)
    return whole.keep(np.ones(len(whole.triangles), np.bool_))


def _heights(surface: Surface, seed: int, origin: Floats, normal: Floats) -> Floats:
    """Distances from the plane, moved by up to a quarter of an edge where it runs along a row of vertices."""
    height = np.asarray((surface.points - origin) @ normal)
    beyond = _beyond(surface, height, seed)
    edges = half_edges(surface.triangles)
    edge = surface.edge_length
    crossing = edges[beyond[edges[:, 0]] & ~beyond[edges[:, 1]]]
    local = np.unique(crossing)
    shifts = edge * np.array([0.0, *(sign * k * 0.05 for k in range(1, 6) for sign in (1, -1))])
    hits = [int((np.abs(height[local] + shift) < 0.01 * edge).sum()) for shift in shifts]
    few = max(2, len(crossing) // 20)
    best = 0 if hits[0] <= few else int(np.argmin(hits))
    height = height + shifts[best]
    return np.where(np.abs(height) < 1e-7 * edge, 1e-7 * edge, height)


def _edge_near(surface: Surface, cells: Flags) -> float:
    """Median length of the edges of some triangles."""
    corners = surface.points[surface.triangles[cells]]
    return float(np.median(np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)))


def _beyond(surface: Surface, distance: Floats, seed: int) -> Flags:
    if distance[seed] <= 0.0:
        raise ComputationError(
            f"the cut does not remove the vessel end at {np.round(surface.points[seed], 2).tolist()} mm"
        )
    edges = half_edges(surface.triangles)
    ahead = distance > 0.0
    label = components(len(surface.points), edges[ahead[edges].all(axis=1)])
    return np.asarray(ahead & (label == label[seed]))


def _split(
    points: Floats, distance: Floats, beyond: Flags, cells: Ints, patch: Patches
) -> tuple[tuple[Ints, Patches], Floats]:
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
            if beyond[a] != beyond[b]:
                polygon.append(crossing(b, a) if beyond[a] else crossing(a, b))
        for k in range(1, len(polygon) - 1):
            pieces.append([polygon[0], polygon[k], polygon[k + 1]])
            owner.append(number)
    new = np.array(made) if made else np.empty((0, 3))
    return (np.array(pieces, np.int64).reshape(-1, 3), np.array(owner, np.int32)), new
