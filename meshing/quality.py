"""What a mesh is worth, in numbers: angles, Jacobians, elements across, volume, patch areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshing.jacobian import jacobian_bounds
from meshing.lumen import LumenSurface
from meshing.sizing import Throat, nearest_ball
from meshing.topology import TETRA_EDGES, TETRA_FACES, Floats, Ints, normalised

_CORNER_EDGES = (
    ((1, 0), (2, 0), (3, 0)),
    ((0, 1), (3, 1), (2, 1)),
    ((0, 2), (1, 2), (3, 2)),
    ((0, 3), (2, 3), (1, 3)),
)
_BINS = {  # of the report: from, to, number of edges
    "dihedral": (0.0, 72.0, 25),
    "max_dihedral": (69.0, 180.0, 38),
    "scaled_jacobian": (0.0, 1.0, 21),
    "aspect": (1.0, 12.0, 23),
}


@dataclass(frozen=True, slots=True)
class CellQuality:
    """Quality of every cell, ``(m,)`` each.

    Attributes:
        dihedral: Smallest dihedral angle of the straight cell [degrees].
        max_dihedral: Largest one.
        aspect: Longest edge over 2 sqrt(6) times the inscribed radius of the straight cell; 1 for the regular one.
        scaled_jacobian: sqrt(2) times the smallest corner volume over its edge lengths (1 for the
            regular tetrahedron), times `distortion`.
        distortion: Lower bound of det J over its mean, at most 1; 1 for a straight cell.
        volume: Volume [mm^3], exact for curved cells.
    """

    dihedral: Floats
    max_dihedral: Floats
    aspect: Floats
    scaled_jacobian: Floats
    distortion: Floats
    volume: Floats

    def worst(self) -> int:
        """The cell with the smallest scaled Jacobian."""
        return int(np.argmin(self.scaled_jacobian))


def cell_quality(points: Floats, cells: Ints) -> CellQuality:
    """Measure every cell of a straight or curved mesh (sizes ``(n, 3)``, ``(m, 4 or 10)``)."""
    lowest, mean = jacobian_bounds(points, cells)
    corners = points[cells[:, :4]]
    distortion = np.minimum(1.0, lowest / np.where(mean > 0, mean, np.inf))
    scaled = corner_jacobian(corners) * distortion
    return CellQuality(*_dihedrals(corners), _aspect(corners), scaled, distortion, mean / 6)


def corner_jacobian(corners: Floats) -> Floats:
    """Scaled Jacobian of straight tetrahedra ``(m, 4, 3)``; 1 for the regular one."""
    worst = np.full(len(corners), np.inf)
    for edges in _CORNER_EDGES:
        a, b, c = (normalised(corners[:, i] - corners[:, j]) for i, j in edges)
        worst = np.minimum(worst, np.einsum("kd,kd->k", np.cross(a, b), c))
    return np.asarray(np.sqrt(2.0) * worst)


def _dihedrals(corners: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest dihedral angle [degrees]."""
    normals = [
        normalised(np.cross(corners[:, b] - corners[:, a], corners[:, c] - corners[:, a]))
        for a, b, c in TETRA_FACES
    ]
    low, high = np.full(len(corners), 1.0), np.full(len(corners), -1.0)
    for i in range(4):
        for j in range(i):
            cosine = -np.einsum("kd,kd->k", normals[i], normals[j])
            low, high = np.minimum(low, cosine), np.maximum(high, cosine)
    smallest, largest = (np.degrees(np.arccos(np.clip(c, -1.0, 1.0))) for c in (high, low))
    return smallest, largest


def _aspect(corners: Floats) -> Floats:
    twice_area = np.zeros(len(corners))
    for a, b, c in TETRA_FACES:
        cross = np.cross(corners[:, b] - corners[:, a], corners[:, c] - corners[:, a])
        twice_area += np.linalg.norm(cross, axis=1)
    first, second, third = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    six_volumes = np.abs(np.einsum("kd,kd->k", np.cross(first, second), third))
    longest = np.zeros(len(corners))
    for i, j in TETRA_EDGES:
        longest = np.maximum(longest, np.linalg.norm(corners[:, i] - corners[:, j], axis=1))
    inscribed = six_volumes / np.maximum(twice_area, 1e-300)
    return np.asarray(longest / (2 * np.sqrt(6) * np.maximum(inscribed, 1e-12 * longest)))


def mean_edge(points: Floats, cells: Ints) -> Floats:
    """Mean length of the six straight edges of each cell, ``(m,)``."""
    total = np.zeros(len(cells))
    for i, j in TETRA_EDGES:
        total += np.linalg.norm(points[cells[:, i]] - points[cells[:, j]], axis=1)
    return total / len(TETRA_EDGES)


def elements_across_throats(
    points: Floats, cells: Ints, throats: Sequence[Throat]
) -> list[dict[str, Any]]:
    """Inscribed diameter over the mean edge of the cells at each throat, measured on the mesh."""
    centre = points[cells[:, :4]].mean(axis=1)
    edge = mean_edge(points, cells)
    rows = []
    for throat in throats:
        away = np.linalg.norm(centre - np.array(throat.centre), axis=1)
        near = away < throat.radius
        near = near if near.any() else away == away.min()
        across = 2 * throat.radius / float(edge[near].mean())
        rows.append(
            {"centre_mm": list(throat.centre), "diameter_mm": 2 * throat.radius, "across": across}
        )
    return rows


def elements_by_radius(points: Floats, cells: Ints, surface: LumenSurface) -> list[dict[str, Any]]:
    """Diameter over mean edge by classes of local radius (halves of octaves of a millimetre)."""
    centre = points[cells[:, :4]].mean(axis=1)
    radius = surface.radius[nearest_ball(surface.centerline, surface.radius, centre)]
    across = 2 * radius / mean_edge(points, cells)
    classes = np.floor(2 * np.log2(radius)).astype(np.int64)
    rows = []
    for value in np.unique(classes):
        inside = across[classes == value]
        rows.append(
            {
                "radius_from_mm": float(2 ** (value / 2)),
                "radius_to_mm": float(2 ** ((value + 1) / 2)),
                "cells": len(inside),
                "across_median": float(np.median(inside)),
                "across_1_percent": float(np.percentile(inside, 1)),
            }
        )
    return rows


def facet_areas(points: Floats, facets: Ints) -> Floats:
    """Areas of flat or six-node triangles, ``(k,)`` (Gauss-Legendre, 3 x 3 collapsed)."""
    nodes = points[facets]
    if facets.shape[1] == 3:
        cross = np.cross(nodes[:, 1] - nodes[:, 0], nodes[:, 2] - nodes[:, 0])
        return np.asarray(0.5 * np.linalg.norm(cross, axis=1))
    x, w = np.polynomial.legendre.leggauss(3)
    total = np.zeros(len(facets))
    for u, wu in zip(0.5 * (x + 1), 0.5 * w, strict=True):
        for v, wv in zip(0.5 * (x + 1), 0.5 * w, strict=True):
            a, b, c = 1 - u, u * (1 - v), u * v
            along_b = np.array([1 - 4 * a, 4 * b - 1, 0, 4 * (a - b), 4 * c, -4 * c])
            along_c = np.array([1 - 4 * a, 0, 4 * c - 1, -4 * b, 4 * b, 4 * (a - c)])
            cross = np.cross(
                np.einsum("i,kid->kd", along_b, nodes), np.einsum("i,kid->kd", along_c, nodes)
            )
            total += wu * wv * u * np.linalg.norm(cross, axis=1)
    return total


def summary(cells: CellQuality) -> dict[str, Any]:
    """The cell quality in a few JSON-able numbers."""
    return {
        "cells": len(cells.volume),
        "min_dihedral_deg": float(cells.dihedral.min()),
        "dihedral_deg_1_percent": float(np.percentile(cells.dihedral, 1)),
        "max_dihedral_deg": float(cells.max_dihedral.max()),
        "max_dihedral_deg_99_percent": float(np.percentile(cells.max_dihedral, 99)),
        "max_aspect": float(cells.aspect.max()),
        "aspect_99_percent": float(np.percentile(cells.aspect, 99)),
        "min_scaled_jacobian": float(cells.scaled_jacobian.min()),
        "scaled_jacobian_1_percent": float(np.percentile(cells.scaled_jacobian, 1)),
        "min_distortion": float(cells.distortion.min()),
        "volume_mm3": float(cells.volume.sum()),
        "histograms": {
            name: _histogram(getattr(cells, name), bins) for name, bins in _BINS.items()
        },
    }


def _histogram(values: Floats, bins: tuple[float, float, int]) -> dict[str, Any]:
    """Edges and counts; what lies beyond the last edge is in the last bin."""
    edges = np.linspace(*bins)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
