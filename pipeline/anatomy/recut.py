"""Cut ends that are rounded, ragged or oblique perpendicular to their centreline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from meshing.errors import ComputationError, InputError
from pipeline.anatomy.clip import cut_off
from pipeline.anatomy.ends import FoundEnd
from pipeline.anatomy.extrude import Section, extrude, free_length, section
from pipeline.anatomy.lines import Line, plane_crossing, smooth
from pipeline.anatomy.surface import Floats, Surface
from pipeline.anatomy.trace import RawLine, trace

OBLIQUE = 20.0  # degrees between cap normal and centreline
_HOLE = 60.0  # degrees: not an end but a hole in the wall
_LEAST_CLIP = 0.3  # diameters


def prolonged(surface: Surface, patches: Sequence[int], least: float) -> Surface:
    """Prolong flat ends by `least` diameters where there is room, so that centrelines run straight out."""
    for patch in patches:
        here = section(surface, patch)
        length = free_length(surface, here, least * here.diameter)
        if length > 0.2 * here.diameter:
            surface = extrude(surface, patch, length)
    return surface


def trace_ends(surface: Surface, ends: Sequence[FoundEnd], source: int) -> list[RawLine | None]:
    """Raw centrelines from end number `source` to each end (None for itself), in a prolonged surface."""
    longer = prolonged(surface, [end.patch for end in ends if end.patch > 0], 1.5)
    seeds = [
        nearest(longer, section(longer, end.patch).centre if end.patch > 0 else end.place)
        for end in ends
    ]
    targets = [k for k in range(len(ends)) if k != source]
    lines = trace(longer, seeds[source], [seeds[k] for k in targets])
    result: list[RawLine | None] = [None] * len(ends)
    for k, line in zip(targets, lines, strict=True):
        result[k] = line
    return result


def nearest(surface: Surface, point: Floats) -> int:
    """The vertex nearest to a point."""
    return int(np.argmin(np.linalg.norm(surface.points - point, axis=1)))


def recut(
    surface: Surface, ends: Sequence[FoundEnd], source: int, clip_diameters: float
) -> tuple[Surface, list[FoundEnd], list[str]]:
    """Cut every end that needs it; return the surface, the ends (all flat now), and notes.

    Args:
        surface: Closed surface.
        ends: Ends as found.
        source: Index of the end the centrelines start from.
        clip_diameters: Distance of the cut from a rounded tip.

    Raises:
        InputError: An open loop is a hole in the wall.
        ComputationError: An end cannot be cut.
    """
    raw = trace_ends(surface, ends, source)
    lines = [None if line is None else smooth(line) for line in raw]
    first = next(line for line in lines if line is not None)
    backwards = Line(first.points[::-1], first.radius[::-1])
    notes: list[str] = []
    result: list[FoundEnd] = []
    for end, own in zip(ends, lines, strict=True):
        line = backwards if own is None else own
        if end.patch == 0:
            surface, flat = _cut_tip(surface, end, line, clip_diameters)
            notes.append(f"rounded end cut at {np.round(flat.place, 1).tolist()} mm")
        else:
            surface, flat, note = _straighten(surface, end, line)
            notes += note
        result.append(flat)
    return surface, result, notes


def _free_patch(surface: Surface) -> int:
    return int(surface.patch.max()) + 1


def _axis(line: Line, at: float, back: float, ahead: float) -> Floats:
    """Mean direction of a line from `back` before to `ahead` after an abscissa."""
    s = line.abscissa
    start, stop = np.clip([at - back, at + ahead], 0.0, s[-1])
    ends = [[np.interp(x, s, line.points[:, k]) for k in range(3)] for x in (start, stop)]
    along = np.asarray(ends[1]) - np.asarray(ends[0])
    return np.asarray(along / np.linalg.norm(along))


def _cut_tip(
    surface: Surface, end: FoundEnd, line: Line, clip_diameters: float
) -> tuple[Surface, FoundEnd]:
    s = line.abscissa
    left = s[-1] - s
    widest = np.maximum.accumulate(line.radius[::-1])[::-1]
    local = np.where(left < 4.0 * widest, widest, line.radius)
    clip = max(clip_diameters, _LEAST_CLIP)
    far_enough = np.flatnonzero(left >= clip * 2.0 * local)
    at = int(far_enough[-1]) if len(far_enough) else len(s) // 2
    if end.hint is not None:
        limit = np.flatnonzero(left >= _LEAST_CLIP * 2.0 * local)
        wanted = int(np.argmin(np.linalg.norm(line.points - end.hint, axis=1)))
        at = min(wanted, int(limit[-1])) if len(limit) else at
    diameter = 2.0 * float(line.radius[at])
    patch, problem = _free_patch(surface), ""
    for back in np.arange(0.0, 2.1, 0.25) * diameter:
        place = max(float(s[at]) - back, 0.0)
        origin = np.array([np.interp(place, s, line.points[:, k]) for k in range(3)])
        normal = _axis(line, place, 0.75 * diameter, 0.25 * diameter)
        try:
            cut = cut_off(surface, nearest(surface, end.place), origin, normal, patch)
        except ComputationError as error:
            problem = str(error)
            continue
        return cut, replace(end, patch=patch, place=section(cut, patch).centre, cut=False)
    raise ComputationError(
        f"the vessel end at {np.round(end.place, 1).tolist()} mm cannot be cut flat: {problem}"
    )


def _straighten(surface: Surface, end: FoundEnd, line: Line) -> tuple[Surface, FoundEnd, list[str]]:
    """Cut a flat end again if it is ragged or oblique (given caps are kept, and noted)."""
    here = section(surface, end.patch)
    at = plane_crossing(line, here.centre, here.normal, 2.0 * here.reach)
    at = float(line.abscissa[-1]) if at is None else at
    axis = _axis(line, at - 0.4 * here.diameter, here.diameter, 0.0)
    angle = float(np.degrees(np.arccos(np.clip(axis @ here.normal, -1.0, 1.0))))
    where = f"{end.name or 'end'} at {np.round(here.centre, 1).tolist()} mm"
    if end.origin == "given":
        tilted = angle > OBLIQUE
        return surface, end, [f"given cap {where} is {angle:.0f} degrees oblique; kept"] * tilted
    if end.origin == "open" and angle > _HOLE:
        raise InputError(
            field=where,
            wanted="open rims only at vessel ends",
            got=f"a hole in the wall, {here.diameter:.2f} mm wide, {angle:.0f} degrees to the vessel",
            remedy="close the hole",
        )
    if angle <= OBLIQUE and not end.cut:
        return surface, end, []
    cut, place = _cut_inside(surface, here, axis)
    moved = replace(end, patch=int(cut.patch.max()), place=place, cut=False)
    return cut, moved, [f"{where} was {angle:.0f} degrees oblique or ragged; cut perpendicular"]


def _cut_inside(surface: Surface, here: Section, axis: Floats) -> tuple[Surface, Floats]:
    """Cut perpendicular to an axis, just inside a cap."""
    corners = np.unique(surface.triangles[surface.patch == here.patch])
    height = (surface.points[corners] - here.centre) @ axis
    seed, patch = int(corners[np.argmax(height)]), _free_patch(surface)
    origin = here.centre + (float(height.min()) - 0.1 * here.diameter) * axis
    cut = cut_off(surface, seed, origin, axis, patch)
    return cut, section(cut, patch).centre
