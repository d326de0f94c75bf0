"""Flat caps of a closed surface, found by geometry: compact planar patches with a sharp rim all round."""

from __future__ import annotations

import numpy as np

from pipeline.anatomy.surface import (
    Floats,
    Ints,
    Surface,
    boundary_loops,
    components,
    neighbours,
)

_SHARP = np.cos(np.radians(40.0))
_FLAT = 0.04  # rms distance from the plane, in diameters
_EVEN = 0.97  # |sum of area vectors| / area
_COMPACT = 0.6  # 4 pi area / perimeter^2
_OFF = (
    0.05,
    0.02,
)  # a triangle so far off a flat cap's plane belongs to the wall, in diameters; twice
_MOST, _PLANE = 0.9, 0.005  # a cap keeps so much area without them, and is so flat


def flat_caps(surface: Surface, minimum_area: float = 0.0) -> list[Ints]:
    """Find flat caps; triangles of each, largest first.

    Only wall triangles (patch 0) are looked at.
    """
    wall = surface.patch == 0
    pairs = neighbours(surface.triangles)
    normals = _calm_normals(surface, pairs)
    soft = np.einsum("ij,ij->i", normals[pairs[:, 0]], normals[pairs[:, 1]]) > _SHARP
    soft &= wall[pairs].all(axis=1)
    label = components(len(surface.triangles), pairs[soft])
    areas = np.linalg.norm(surface.area_vectors, axis=1)
    size = np.bincount(label, weights=areas * wall)
    largest = int(np.argmax(size))
    caps = [
        np.flatnonzero((label == k) & wall)
        for k in np.flatnonzero(size > minimum_area).tolist()
        if k != largest
    ]
    caps = [without_wall(surface, cells) for cells in caps]
    good = [cells for cells in caps if _is_cap(surface, cells)]
    return sorted(good, key=lambda cells: -float(areas[cells].sum()))


def _calm_normals(surface: Surface, pairs: Ints) -> Floats:
    """Unit normals, averaged with neighbours that face a similar way (keeps sharp rims)."""
    vectors = surface.area_vectors
    normals = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    both = np.vstack([pairs, pairs[:, ::-1]])
    for _ in range(3):
        likeness = np.einsum("ij,ij->i", normals[both[:, 0]], normals[both[:, 1]])
        weight = np.clip((likeness - 0.5) / 0.5, 0.0, 1.0)[:, None]
        total = normals.copy()
        np.add.at(total, both[:, 0], weight * normals[both[:, 1]])
        normals = total / np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(normals)


def without_wall(surface: Surface, cells: Ints) -> Ints:
    """A flat cap without the few wall triangles that joined it across its rim; others as they are."""
    rest = cells
    for off in _OFF:
        total = surface.area_vectors[rest].sum(axis=0)
        area = float(np.linalg.norm(total))
        if area == 0.0:
            return cells
        diameter = 2.0 * np.sqrt(area / np.pi)
        height = surface.points[surface.triangles[cells]] @ (total / area)
        middle = np.median(height[np.isin(cells, rest)])
        rest = cells[np.abs(height - middle).max(axis=1) <= off * diameter]
        if len(rest) == 0:
            return cells
    size = np.linalg.norm(surface.area_vectors, axis=1)
    corners = surface.points[np.unique(surface.triangles[rest])] @ (total / area)
    most = size[rest].sum() >= _MOST * size[cells].sum()
    return rest if most and float(np.std(corners)) < _PLANE * diameter else cells


def _is_cap(surface: Surface, cells: Ints) -> bool:
    if len(cells) < 4:
        return False
    vectors = surface.area_vectors[cells]
    total = vectors.sum(axis=0)
    area = float(np.linalg.norm(total))
    if area < _EVEN * float(np.linalg.norm(vectors, axis=1).sum()):
        return False
    loops = boundary_loops(surface.triangles[cells])
    if len(loops) != 1:
        return False
    rim = surface.points[loops[0]]
    perimeter = float(np.linalg.norm(np.roll(rim, -1, axis=0) - rim, axis=1).sum())
    corners = surface.points[np.unique(surface.triangles[cells])]
    rough = float(np.std((corners - corners.mean(axis=0)) @ (total / area)))
    diameter = 2.0 * np.sqrt(area / np.pi)
    return rough < _FLAT * diameter and 4 * np.pi * area > _COMPACT * perimeter**2
