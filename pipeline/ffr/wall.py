"""The wall: its facets, where they lie along the vessel, wall shear stress statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from meshing.vessel import WALL_TAG, MeshArrays
from pipeline.anatomy.types import Centerline, Lesion

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUARTERS = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]])


@dataclass(frozen=True, slots=True)
class Wall:
    """Straight wall triangles; quadratic facets are cut in four at their mid-edge nodes.

    Attributes:
        triangles: Node indices of the mesh, ``(t, 3)``.
        centres_mm: ``(t, 3)``.
        area_mm2: ``(t,)``.
        shear_Pa: Mean magnitude of the wall shear stress, ``(t,)``.
        abscissa_mm: Of the nearest point of any centreline, ``(t,)``.
        branch: Branch number there, ``(t,)``.
    """

    triangles: Ints
    centres_mm: Floats
    area_mm2: Floats
    shear_Pa: Floats
    abscissa_mm: Floats
    branch: Ints


def wall_triangles(mesh: MeshArrays) -> Ints:
    """Straight triangles of the wall, ``(t, 3)``."""
    facets: Ints = mesh.facets[mesh.facet_tags == WALL_TAG]
    if facets.shape[1] == 3:
        return facets
    return np.ascontiguousarray(facets[:, QUARTERS].reshape(-1, 3))


def wall(mesh: MeshArrays, points_mm: Floats, shear: Floats, lines: Sequence[Centerline]) -> Wall:
    """Collect the wall.

    Args:
        mesh: The mesh.
        points_mm: Its nodes [mm].
        shear: Nodal wall shear stress [Pa], ``(n, 3)``.
        lines: The centrelines.
    """
    triangles = wall_triangles(mesh)
    a, b, c = (points_mm[triangles[:, k]] for k in range(3))
    centres = (a + b + c) / 3
    stations = np.concatenate([line.points_mm for line in lines])
    abscissa = np.concatenate([line.abscissa_mm for line in lines])
    branch = np.concatenate([line.branch for line in lines]).astype(np.int64)
    _, nearest = KDTree(stations).query(centres)
    return Wall(
        triangles=triangles,
        centres_mm=centres,
        area_mm2=0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1),
        shear_Pa=np.linalg.norm(shear, axis=1)[triangles].mean(axis=1),
        abscissa_mm=abscissa[nearest],
        branch=branch[nearest],
    )


def statistics(wall: Wall, lesion: Lesion, line: Centerline) -> dict[str, Any]:
    """Wall shear stress between the shoulders of a lesion: area-weighted mean, extremes, percentiles [Pa]."""
    inside = _between(wall, lesion, line)
    if not inside.any():
        return {"area_mm2": 0.0}
    shear, area = wall.shear_Pa[inside], wall.area_mm2[inside]
    order = np.argsort(shear)
    share = np.cumsum(area[order]) / area.sum()
    low, median, high = np.interp([0.05, 0.5, 0.95], share, shear[order])
    return {
        "area_mm2": float(area.sum()),
        "mean_Pa": float((shear * area).sum() / area.sum()),
        "min_Pa": float(shear.min()),
        "p05_Pa": float(low),
        "median_Pa": float(median),
        "p95_Pa": float(high),
        "max_Pa": float(shear.max()),
    }


def _between(wall: Wall, lesion: Lesion, line: Centerline) -> npt.NDArray[np.bool_]:
    """Triangles whose nearest centreline point lies between the shoulders, on the lesion's own branches."""
    s = line.abscissa_mm
    branches = np.unique(line.branch[(s >= lesion.start_mm) & (s <= lesion.end_mm)])
    return np.asarray(
        np.isin(wall.branch, branches)
        & (wall.abscissa_mm >= lesion.start_mm)
        & (wall.abscissa_mm <= lesion.end_mm),
        dtype=np.bool_,
    )
