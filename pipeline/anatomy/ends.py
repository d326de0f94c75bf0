"""Find the vessel ends of a lumen surface: given caps, open loops, flat caps of a closed surface, rounded tips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from meshing.errors import InputError
from pipeline.anatomy.capping import fill
from pipeline.anatomy.coronary import CoronarySide
from pipeline.anatomy.flat import flat_caps
from pipeline.anatomy.surface import (
    Floats,
    Surface,
    boundary_loops,
    loop_area_vector,
)
from pipeline.anatomy.tips import near_patches, tips

Role = Literal["inlet", "outlet"]
_HOLE = (
    0.5  # mean cosine between the wall around a rim and the way out: 0 at a tube's end, 1 in a wall
)
_RAGGED = 0.05  # rms distance of an open rim from its plane, in diameters: cut it afresh


@dataclass(frozen=True, slots=True)
class FoundEnd:
    """A vessel end before naming.

    Attributes:
        patch: Number of its cap; 0 for a rounded end still to be cut.
        origin: How it was found.
        name: Name given by the user, if any.
        role: Role given by the user, if any.
        place: Cap centroid, or the tip of a rounded end [mm].
        cut: Must be cut perpendicular to the centreline.
        hint: Where the user wants the cut, if anywhere [mm].
    """

    patch: int
    origin: Literal["given", "open", "flat", "rounded"]
    place: Floats
    name: str | None = None
    role: Role | None = None
    cut: bool = False
    hint: Floats | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What ``surface.json`` says of the ends.

    Attributes:
        names: Names of the given caps, by patch number - 1.
        roles: Their roles, None where unknown.
        hints: Points where ends shall be cut: name, role, point [mm].
        labels: The surface was made from a label map (whose ends are always rounded).
        side: Which coronary tree it is, where that is known.
    """

    names: tuple[str, ...] = ()
    roles: tuple[Role | None, ...] = ()
    hints: tuple[tuple[str, Role | None, Floats], ...] = field(default=())
    labels: bool = False
    side: CoronarySide | None = None


def find_ends(
    surface: Surface, told: Told, rounded: Literal["auto", "open", "closed"] = "auto"
) -> tuple[Surface, list[FoundEnd]]:
    """Find all ends and close the open ones.

    Args:
        surface: Lumen surface; patch numbers >= 1 are given caps.
        told: Names, roles and hints.
        rounded: What rounded tips are (`case.AnatomyOptions.rounded_ends`): with ``auto``, vessel ends in a surface
            of a label map or without any other end, and closed (an occlusion, a sac) elsewhere.

    Returns:
        The closed surface, flat ends marked by patch numbers, and the ends.
    """
    found = [
        _given(surface, patch, told) for patch in np.unique(surface.patch).tolist() if patch > 0
    ]
    surface, opened = _close(surface, 1 + max((end.patch for end in found), default=0))
    found += opened
    surface, flat = _mark_flat(surface, 1 + max((end.patch for end in found), default=0))
    found += flat
    if rounded == "open" or (rounded == "auto" and (told.labels or not found)):
        found += _rounded(surface, found)
    return surface, _with_hints(found, told)


def _given(surface: Surface, patch: int, told: Told) -> FoundEnd:
    known = patch <= len(told.names)
    return FoundEnd(
        patch,
        "given",
        _cap_centre(surface, patch),
        name=told.names[patch - 1] if known else None,
        role=told.roles[patch - 1] if known else None,
    )


def _cap_centre(surface: Surface, patch: int) -> Floats:
    cells = surface.patch == patch
    weights = np.linalg.norm(surface.area_vectors[cells], axis=1)
    return np.asarray(weights @ surface.centroids[cells] / weights.sum())


def _close(surface: Surface, patch: int) -> tuple[Surface, list[FoundEnd]]:
    """Fill open loops with flat caps."""
    found = []
    for number, loop in enumerate(boundary_loops(surface.triangles), start=patch):
        rim = surface.points[loop]
        vector = loop_area_vector(rim)
        area = float(np.linalg.norm(vector))
        off = float(np.std((rim - rim.mean(axis=0)) @ vector / area)) if area > 0 else np.inf
        diameter = 2.0 * np.sqrt(area / np.pi)
        _check_not_a_hole(surface, rim, vector, diameter)
        surface = fill(surface, loop, number)
        place = _cap_centre(surface, number)
        found.append(FoundEnd(number, "open", place, cut=off > _RAGGED * diameter))
    return surface, found


def _check_not_a_hole(surface: Surface, rim: Floats, vector: Floats, diameter: float) -> None:
    """Refuse an open loop whose plane lies in the wall instead of across the vessel.

    Raises:
        InputError: The wall around the rim faces the way the loop does.
    """
    centre = rim.mean(axis=0)
    reach = float(np.linalg.norm(rim - centre, axis=1).max()) + 0.3 * diameter
    near = np.linalg.norm(surface.centroids - centre, axis=1) < reach
    vectors = surface.area_vectors[near]
    size = np.linalg.norm(vectors, axis=1).sum()
    facing = float(vectors.sum(axis=0) @ -vector / np.linalg.norm(vector) / max(size, 1e-300))
    if facing > _HOLE:
        raise InputError(
            field=f"open rim at {np.round(centre, 1).tolist()} mm",
            wanted="open rims only at vessel ends",
            got=f"a hole in the wall, {diameter:.2f} mm wide",
            remedy="close the hole",
        )


def _mark_flat(surface: Surface, patch: int) -> tuple[Surface, list[FoundEnd]]:
    """Number flat caps of a closed surface."""
    numbers, found = surface.patch.copy(), []
    for number, cells in enumerate(flat_caps(surface), start=patch):
        numbers[cells] = number
        marked = replace(surface, patch=numbers)
        found.append(FoundEnd(number, "flat", _cap_centre(marked, number)))
    return replace(surface, patch=numbers), found


def _rounded(surface: Surface, known: Sequence[FoundEnd]) -> list[FoundEnd]:
    """Tips that are not at a flat cap."""
    patches = [end.patch for end in known]
    source = np.empty(0, dtype=np.int64)
    if patches:
        source = np.unique(surface.triangles[surface.patch == patches[0]])
    found = []
    for vertex in tips(surface, source):
        if not near_patches(surface, vertex, patches, 2.0 * surface.edge_length):
            found.append(FoundEnd(0, "rounded", surface.points[vertex].copy(), cut=True))
    return found


def _with_hints(found: list[FoundEnd], told: Told) -> list[FoundEnd]:
    """Give each hint to the nearest rounded end, or as a name to the nearest other end without one.

    Raises:
        InputError: No end is left for a hint.
    """
    result = list(found)
    taken: set[int] = set()
    for name, role, point in told.hints:
        free = [k for k in range(len(result)) if k not in taken and result[k].origin != "given"]
        if not free:
            raise InputError(
                field=f"end_hints[{name}]",
                wanted=f"a vessel end near {np.round(point, 1).tolist()} mm",
                got=f"{len(result)} ends, all taken: {describe(result)}",
                remedy="look at the surface: the vessel to that end may be missing or cut off",
            )
        best = min(free, key=lambda k: float(np.linalg.norm(result[k].place - point)))
        taken.add(best)
        hint = point if result[best].origin == "rounded" else None
        result[best] = replace(result[best], name=name, role=role, hint=hint)
    return result


def describe(ends: Sequence[FoundEnd]) -> str:
    """Ends with names and places, for messages."""
    return "; ".join(
        f"{end.name or 'unnamed'} ({end.origin}) at {np.round(end.place, 1).tolist()} mm"
        for end in ends
    )
