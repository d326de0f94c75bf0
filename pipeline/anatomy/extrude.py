"""Flow extensions: the rim of an end swept along the normal of its cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.anatomy.surface import Floats, Surface, boundary_loops, loop_area_vector


@dataclass(frozen=True, slots=True)
class Section:
    """The flat cross-section at a vessel end.

    Attributes:
        patch: Number of the cap.
        centre: Area centroid [mm], ``(3,)``.
        normal: Unit normal out of the vessel, ``(3,)``.
        area: Area [mm2].
        reach: Largest distance of the rim from the centre [mm].
    """

    patch: int
    centre: Floats
    normal: Floats
    area: float
    reach: float

    @property
    def diameter(self) -> float:
        """Area-equivalent diameter [mm]."""
        return float(2.0 * np.sqrt(self.area / np.pi))


def section(surface: Surface, patch: int) -> Section:
    """Measure the cap `patch`."""
    cells = surface.patch == patch
    vectors = surface.area_vectors[cells]
    total = vectors.sum(axis=0)
    area = float(np.linalg.norm(total))
    normal = total / area
    weights = vectors @ normal
    centre = weights @ surface.centroids[cells] / weights.sum()
    corners = surface.points[np.unique(surface.triangles[cells])]
    return Section(
        patch, centre, normal, area, float(np.linalg.norm(corners - centre, axis=1).max())
    )


def extrude(surface: Surface, patch: int, length: float) -> Surface:
    """Move cap `patch` out along its normal by `length` [mm], swept wall between.

    The cross-section is kept, so the added volume is area times length. Layers are as far apart as rim points.
    """
    here = section(surface, patch)
    cells = surface.patch == patch
    rim = max(
        boundary_loops(surface.triangles[cells]), key=lambda loop: _area(surface.points[loop])
    )
    count, ring = len(surface.points), surface.points[rim]
    edge = float(np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1).mean())
    layers = max(1, round(length / edge))
    step = length / layers * here.normal
    inner = np.setdiff1d(np.unique(surface.triangles[cells]), rim)
    rings = np.vstack([ring + (k + 1) * step for k in range(layers)])
    size = len(rim)
    index = np.vstack([rim, count + np.arange(layers * size).reshape(layers, size)])
    renumber = np.arange(count, dtype=np.int64)
    renumber[rim] = index[-1]
    renumber[inner] = count + layers * size + np.arange(len(inner))
    low, high = index[:-1], index[1:]
    low_next, high_next = np.roll(low, -1, axis=1), np.roll(high, -1, axis=1)
    side = np.concatenate(
        [
            np.stack([low, low_next, high_next], axis=2).reshape(-1, 3),
            np.stack([low, high_next, high], axis=2).reshape(-1, 3),
        ]
    )
    triangles = surface.triangles.copy()
    triangles[cells] = renumber[triangles[cells]]
    whole = Surface(
        np.vstack([surface.points, rings, surface.points[inner] + length * here.normal]),
        np.vstack([triangles, side]),
        np.concatenate([surface.patch, np.zeros(len(side), np.int32)]),
        np.concatenate([surface.extension | cells, np.ones(len(side), np.bool_)]),
    )
    return whole.keep(np.ones(len(whole.triangles), np.bool_))


def _area(points: Floats) -> float:
    return float(np.linalg.norm(loop_area_vector(points)))


def free_length(surface: Surface, here: Section, wanted: float) -> float:
    """Longest extension of an end, up to `wanted` [mm], that keeps clear of the rest of the surface.

    Obstacles are vertices, edge middles and centroids of triangles that lie ahead of the cap within its reach
    plus a quarter of a diameter.
    """
    corners = surface.points[surface.triangles]
    middles = 0.5 * (corners + np.roll(corners, -1, axis=1))
    cloud = np.vstack([surface.points, middles.reshape(-1, 3), corners.mean(axis=1)])
    offset = cloud - here.centre
    ahead = offset @ here.normal
    aside = np.linalg.norm(offset - ahead[:, None] * here.normal, axis=1)
    margin = 0.25 * here.diameter
    in_way = (ahead > 0.1 * here.diameter) & (aside < here.reach + margin)
    in_way &= ahead < wanted + margin
    if not in_way.any():
        return wanted
    return float(max(0.0, ahead[in_way].min() - margin))


def extend_all(surface: Surface, lengths: Sequence[tuple[int, float]]) -> Surface:
    """Extrude several caps: pairs of patch and length [mm]; zero lengths are left alone."""
    for patch, length in lengths:
        if length > 0.0:
            surface = extrude(surface, patch, length)
    return surface
