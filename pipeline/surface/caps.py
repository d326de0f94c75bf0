"""Given cap patches: found among the triangles of the surface, or used to close its open ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from meshing.errors import InputError
from pipeline.surface.mesh import Floats, TriangleMesh
from pipeline.surface.reading import read_surface
from pipeline.surface.topology import Edges, Flags, merged, without_doubles

_MATCHED = 0.05  # part of a patch's area that may differ from the marked triangles
_NEAR = 0.02  # distance from the patch over its size


def with_caps(mesh: TriangleMesh, caps: Mapping[str, Path], unit: str) -> TriangleMesh:
    """Mark the triangles of each given patch with its number (1, 2, ...).

    A patch that coincides with a part of the surface marks it (triangulated alike or not); one that
    closes an open end is added.

    Raises:
        InputError: A patch is not on the surface and closes no end of it, or covers another one.
    """
    for number, (name, path) in enumerate(caps.items(), start=1):
        field = f"input.caps.{name}"
        patch = _clean(read_surface(path, unit, field))
        on = _covered(mesh, patch)
        share = float(mesh.areas[on].sum() / max(float(patch.areas.sum()), 1e-300))
        if abs(share - 1.0) <= _MATCHED:
            if (mesh.cap[on] != 0).any():
                raise InputError(
                    file=path,
                    field=field,
                    wanted="a patch of its own",
                    got="one that covers an earlier cap",
                    remedy="name each vessel end once",
                )
            cap = np.where(on, np.int32(number), mesh.cap)
            mesh = TriangleMesh(mesh.points, mesh.triangles, cap.astype(np.int32))
        else:
            mesh = _closed_with(mesh, patch, number, share, (path, field))
    return mesh


def _clean(patch: TriangleMesh) -> TriangleMesh:
    size = float(np.ptp(patch.points, axis=0).max())
    return without_doubles(merged(patch, 1e-6 * size))[0].compact()


def _covered(mesh: TriangleMesh, patch: TriangleMesh) -> Flags:
    """Triangles of the mesh that lie on a flat or curved patch: middle on it, all corners near it."""
    size = float(np.sqrt(patch.areas.sum()))
    near = _NEAR * size
    low, high = patch.points.min(axis=0) - near, patch.points.max(axis=0) + near
    corners = mesh.corners
    candidates = np.flatnonzero(((corners > low) & (corners < high)).all(axis=(1, 2)))
    on = np.zeros(len(mesh.triangles), np.bool_)
    if len(candidates) == 0:
        return on
    middle = corners[candidates].mean(axis=1)
    inside = _distance(middle, patch) < near
    for k in range(3):
        inside &= _distance(corners[candidates, k], patch) < near
    n, m = mesh.area_vectors[candidates], patch.area_vectors
    axis = m[cKDTree(patch.corners.mean(axis=1)).query(middle)[1]]
    cosine = np.abs((n * axis).sum(1)) / np.maximum(
        np.linalg.norm(n, axis=1) * np.linalg.norm(axis, axis=1), 1e-300
    )
    on[candidates[inside & (cosine > 0.7)]] = True
    return on


def _distance(points: Floats, patch: TriangleMesh) -> Floats:
    """Distance of points ``(n, 3)`` to a patch [mm], ``(n,)``."""
    best = np.full(len(points), np.inf)
    for corners in patch.corners:
        best = np.minimum(best, _to_triangle(points, corners))
    return best


def _to_triangle(points: Floats, corners: Floats) -> Floats:
    """Distance to one triangle ``(3, 3)``: to its plane where the foot is inside, else to its sides."""
    a, e1, e2 = corners[0], corners[1] - corners[0], corners[2] - corners[0]
    normal = np.cross(e1, e2)
    area2 = max(float(normal @ normal), 1e-300)
    rel = points - a
    u = np.cross(rel, e2) @ normal / area2
    v = np.cross(e1, rel) @ normal / area2
    out = np.abs(rel @ normal) / np.sqrt(area2)
    sides = [_to_side(points, corners[k], corners[(k + 1) % 3]) for k in range(3)]
    over = (u >= 0) & (v >= 0) & (u + v <= 1)
    return np.asarray(np.where(over, out, np.minimum.reduce(sides)))


def _to_side(points: Floats, p: Floats, q: Floats) -> Floats:
    way = q - p
    t = np.clip((points - p) @ way / max(float(way @ way), 1e-300), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - p - t[:, None] * way, axis=1))


def _closed_with(
    mesh: TriangleMesh, patch: TriangleMesh, number: int, share: float, where: tuple[Path, str]
) -> TriangleMesh:
    """The surface with the patch added, if its rim is an open rim of the surface."""
    both = TriangleMesh(
        np.concatenate([mesh.points, patch.points]),
        np.concatenate([mesh.triangles, patch.triangles + len(mesh.points)]),
        np.concatenate([mesh.cap, np.full(len(patch.triangles), number, np.int32)]),
    )
    sides = patch.corners - np.roll(patch.corners, 1, axis=1)
    joined = merged(both, 1e-3 * float(np.median(np.linalg.norm(sides, axis=2))))
    before, after = Edges.of(mesh.triangles).count, Edges.of(joined.triangles).count
    rim = int((Edges.of(patch.triangles).count == 1).sum())
    if (
        0 < rim == int((before == 1).sum()) - int((after == 1).sum())
        and (after > 2).sum() <= (before > 2).sum()
    ):
        return joined
    raise InputError(
        file=where[0],
        field=where[1],
        wanted="a patch that lies on the surface or closes one of its open ends",
        got=f"one of {patch.areas.sum():.3g} mm2, of which {share:.0%} lies on the surface",
        remedy="export surface and patches together, in the same unit and position",
    )
