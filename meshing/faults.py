"""Where a way to a mesh failed: the place, and the triangles there, so that it can be told and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshing.crossing import crossing_triangles
from meshing.errors import ComputationError
from meshing.lumen import LumenSurface
from meshing.place import Place
from meshing.topology import TETRA_FACES, Floats, Ints, triangle_areas

_SAME = 3.0  # places nearer to each other than so many inscribed radii are one


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Why and where one rung of the ladder failed.

    Attributes:
        rung: Its name.
        reason: With numbers and place.
        place: Where.
        radius: Inscribed radius of the lumen there [mm].
    """

    rung: str
    reason: str
    place: Place
    radius: float


class NoMeshError(ComputationError):
    """No rung gave an acceptable mesh.

    Attributes:
        faults: One a rung.
        worst: The place that most of them name; the first of these.
    """

    def __init__(self, message: str, faults: tuple[Fault, ...], worst: Fault) -> None:
        self.faults, self.worst = faults, worst
        super().__init__(message)


def no_mesh(faults: Sequence[Fault], remedies: Sequence[str]) -> NoMeshError:
    """The error when all rungs have failed: every reason, the place that most rungs name, the remedy."""
    at = np.array([fault.place.at for fault in faults])
    reach = _SAME * np.array([fault.radius for fault in faults])
    alike = np.linalg.norm(at[:, None] - at[None], axis=2) < reach[:, None]
    worst = faults[int(np.argmax(alike.sum(axis=1)))]
    lines = ["no acceptable mesh of this surface"]
    lines += [f"{fault.rung}: {fault.reason}" for fault in faults]
    lines += [
        f"place: {worst.place} ({alike.sum(axis=1).max()} of {len(faults)} ways failed there)"
    ]
    known = [text for text in dict.fromkeys(remedies) if text]
    known += [
        "look at the surface there and repair or smooth it, or change mesh.elements_per_diameter"
    ]
    lines += ["remedy: " + "; or ".join(known)]
    return NoMeshError("\n  ".join(lines), tuple(faults), worst)


def at_triangles(points: Floats, triangles: Ints, faulty: Ints) -> Place:
    """The place of some triangles of a surface: the one in the middle of them."""
    corners = points[triangles]
    centre = corners[faulty].mean(axis=1)
    nearest = np.argmin(np.linalg.norm(centre - np.median(centre, axis=0), axis=1))
    return Place(centre[nearest], corners[faulty], corners)


def at_point(point: Floats, points: Floats, triangles: Ints) -> Place:
    """A point of a surface or in it."""
    return Place(np.asarray(point, dtype=np.float64), np.zeros((0, 3, 3)), points[triangles])


def at_cell(points: Floats, cell: Ints, facets: Ints) -> Place:
    """A tetrahedron (straight, ``(4,)``) of a mesh with these boundary triangles."""
    corners = points[cell]
    return Place(corners.mean(axis=0), corners[np.array(TETRA_FACES)], points[facets[:, :3]])


def suspect(surface: LumenSurface) -> tuple[str, Place]:
    """The most doubtful place of a surface, for a mesher that failed without a word: what and where."""
    crossing = np.unique(crossing_triangles(surface.points, surface.triangles))
    if len(crossing):
        return "crossing triangles", at_triangles(surface.points, surface.triangles, crossing)
    area, _ = triangle_areas(surface.points, surface.triangles)
    ends = surface.points[surface.triangles]
    square = ((ends - np.roll(ends, 1, axis=1)) ** 2).sum(axis=(1, 2))
    worst = np.array([int(np.argmin(area / np.where(square > 0, square, np.inf)))])
    return "the thinnest triangle", at_triangles(surface.points, surface.triangles, worst)


def nearest_radius(surface: LumenSurface, at: npt.NDArray[np.float64]) -> float:
    """Inscribed radius at the centreline point nearest to a place [mm]."""
    nearest = np.argmin(np.linalg.norm(surface.centerline - at, axis=1))
    return float(surface.radius[nearest])
