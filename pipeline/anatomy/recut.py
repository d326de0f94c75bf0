"""Cut ends that are rounded, ragged or oblique perpendicular to their centreline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from meshing.errors import ComputationError
from pipeline.anatomy.clip import cut_off
from pipeline.anatomy.ends import FoundEnd
from pipeline.anatomy.extrude import Section, extrude, free_length, section
from pipeline.anatomy.lines import Line, arc_length, between, plane_crossing, smooth
from pipeline.anatomy.sections import Slicer
from pipeline.anatomy.surface import Floats, Surface
from pipeline.anatomy.trace import RawLine, trace

OBLIQUE = 20.0  # degrees between cap normal and centreline
_LEAST_CLIP = 0.3  # diameters
_HINT_CLIP = 0.1  # the same where the user says where to cut
_FULL = 0.9  # area at a cut over the area further in
_GROWS = 1.04  # from one section to the next, half a radius on: a slanting end's
_SLANT = 6.0  # radii that it may be long
_LENGTHWISE = 1.6  # times the area further in: no section across the vessel
_BENT = 1.5  # radii: nearer to a tip the centreline bends towards it
_CAP = 0.8  # a flat patch smaller than this part of the section is the middle of a rounded end
_BUMP = 1.7  # radii from a centreline: what stands out less from a vessel's wall is no branch
_STUB = 3.5  # the same where no cut can be made; tips so near to each other are of one end
_NONE = -1  # patch of an end that is gone
_DEEPER = (0.0, 0.1, 0.2, 0.4, 0.6)  # diameters further in that a cut is tried


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

    A bump on a wall that was taken for an end, or one that went with another one's cut, has no patch: see `remaining`.

    Args:
        surface: Closed surface.
        ends: Ends as found.
        source: Index of the end the centrelines start from.
        clip_diameters: Distance of the cut from a rounded tip.

    Raises:
        ComputationError: An end cannot be cut.
    """
    raw = trace_ends(surface, ends, source)
    lines = [
        None if line is None else smooth(_unbent(line, ends[source], end))
        for line, end in zip(raw, ends, strict=True)
    ]
    first = next(line for line in lines if line is not None)
    backwards = Line(first.points[::-1], first.radius[::-1])
    slicer = Slicer(surface)
    notes: list[str] = []
    result: list[FoundEnd] = []
    for end, own in zip(ends, lines, strict=True):
        line = backwards if own is None else own
        others = [one for one in lines if one is not None and one is not own]
        others = others if own is not None else []  # every line begins at the source
        if end.patch == 0 and (_gone(surface, end.place) or _bump(end, others, _BUMP)):
            flat = replace(end, patch=_NONE)
        elif end.patch == 0:
            line = _follow(slicer, line, end.place)
            tips = _elsewhere(ends, end, line)
            try:
                surface, flat = _cut_tip(surface, slicer, (end, tips), line, clip_diameters)
            except ComputationError:
                if not _bump(end, others, _STUB):
                    raise
                flat = replace(end, patch=_NONE)
            else:
                notes.append(f"rounded end cut at {np.round(flat.place, 1).tolist()} mm")
                surface, flat, note = _straighten_tip(surface, slicer, (flat, tips), line)
                notes += note
        else:
            surface, flat, note = _straighten(surface, slicer, end, line)
            notes += note
        result.append(flat)
    return surface, result, notes


def remaining(
    surface: Surface, ends: Sequence[FoundEnd], source: int | None
) -> tuple[list[FoundEnd], int | None, list[str]]:
    """The ends that are left after all cuts, the source's place among them, and notes.

    What was given to an end that is none goes to the nearest that is left.
    """
    there = [k for k, end in enumerate(ends) if (surface.patch == end.patch).any()]
    kept, notes = [ends[k] for k in there], list[str]()
    new = {k: place for place, k in enumerate(there)}
    for k, end in enumerate(ends):
        if k in new:
            continue
        near = min(range(len(kept)), key=lambda j: float(np.linalg.norm(kept[j].place - end.place)))
        new[k] = near
        if kept[near].name is None:
            kept[near] = replace(kept[near], name=end.name)
        if kept[near].role is None:
            kept[near] = replace(kept[near], role=end.role)
        notes.append(f"the bump at {np.round(end.place, 1).tolist()} mm was not taken for an end")
    return kept, None if source is None else new[source], notes


def _bump(end: FoundEnd, lines: Sequence[Line], radii: float) -> bool:
    """Whether a tip lies beside a vessel that goes on: within so many radii of the centreline to another end."""
    if end.name is not None or end.role is not None or end.hint is not None:
        return False
    for line in lines:
        away = np.linalg.norm(line.points - end.place, axis=1)
        near = int(np.argmin(away - radii * line.radius))
        reach = radii * line.radius[near]
        if away[near] < reach < line.abscissa[-1] - line.abscissa[near]:
            return True
    return False


def _elsewhere(ends: Sequence[FoundEnd], end: FoundEnd, line: Line) -> list[Floats]:
    """Tips of other ends, but for those within `_STUB` radii of the vessel: a knob beside a tip goes with it."""
    last = line.abscissa > line.abscissa[-1] - 6.0 * line.radius[-1]
    reach = _STUB * float(line.radius[last].max())
    tips = [other.place for other in ends if other.patch == 0 and other is not end]
    return [tip for tip in tips if np.linalg.norm(tip - end.place) > reach]


def _gone(surface: Surface, place: Floats) -> bool:
    """Whether a tip was cut off."""
    away = surface.points[nearest(surface, place)] - place
    return bool(np.linalg.norm(away) > 1e-3 * surface.edge_length)


def _takes_more(before: Surface, after: Surface, tips: Sequence[Floats], own: int = 0) -> bool:
    """Whether a cut took caps but an end's ``own``, or tips of other ends, with it."""
    caps = np.setdiff1d(before.patch, np.append(after.patch, own))
    return len(caps) > 0 or any(_gone(after, tip) and not _gone(before, tip) for tip in tips)


def _free_patch(surface: Surface) -> int:
    return int(surface.patch.max()) + 1


def _axis(line: Line, at: float, back: float, ahead: float) -> Floats:
    """Mean direction of a line from `back` before to `ahead` after an abscissa."""
    start, stop = np.clip([at - back, at + ahead], 0.0, line.abscissa[-1])
    along = line.at(float(stop)) - line.at(float(start))
    return np.asarray(along / np.linalg.norm(along))


def _cut_tip(
    surface: Surface,
    slicer: Slicer,
    of: tuple[FoundEnd, Sequence[Floats]],
    line: Line,
    clip_diameters: float,
) -> tuple[Surface, FoundEnd]:
    """Cut a rounded end (first of ``of``; the tips of the others follow) where the vessel is as wide as further in.

    Raises:
        ComputationError: No cut removes the end in one loop, and no other one with it.
    """
    end, tips = of
    length = float(line.abscissa[-1])
    radius = float(line.radius[-1])
    left = max(clip_diameters, _LEAST_CLIP) * 2.0 * radius
    if end.hint is not None:
        nearest_point = int(np.argmin(np.linalg.norm(line.points - end.hint, axis=1)))
        left = max(length - float(line.abscissa[nearest_point]), _HINT_CLIP * 2.0 * radius)
    full = _full_area(slicer, line, length - left - radius)
    patch, problem = _free_patch(surface), "the vessel narrows up to its end"
    wide = max(radius, float(np.sqrt(full / np.pi)))
    for place in np.arange(length - left, max(length - left - 6.0 * wide, 0.0), -0.2 * radius):
        origin, normal = line.at(place), _axis(line, place, radius, radius)
        loop = slicer.around(origin, normal, 3.0 * wide)
        if loop is None or not _FULL * full <= loop.area <= _LENGTHWISE * full:
            continue
        try:
            cut = cut_off(surface, nearest(surface, end.place), origin, normal, patch)
        except ComputationError as error:
            problem = str(error)
            continue
        if _takes_more(surface, cut, tips):
            problem = "every cut takes other ends with it"
            continue
        return cut, replace(end, patch=patch, place=section(cut, patch).centre, cut=False)
    raise ComputationError(
        f"the vessel end at {np.round(end.place, 1).tolist()} mm cannot be cut flat: {problem}"
    )


def _unbent(line: RawLine, start: FoundEnd, end: FoundEnd) -> RawLine:
    """Leave out what lies near rounded ends, where a centreline bends towards the tip."""
    keep = np.ones(len(line.points), np.bool_)
    for tip in (start, end):
        if tip.patch == 0:
            keep &= np.linalg.norm(line.points - tip.place, axis=1) > _BENT * line.radius
    inside = np.flatnonzero(keep)
    if len(inside) < 3:
        return line
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    return RawLine(line.points[part], line.radius[part])


def _follow(slicer: Slicer, line: Line, tip: Floats) -> Line:
    """Prolong a line to a tip through the centroids of cross-sections, at last straight.

    A section that is not quite perpendicular still has its centroid on the axis of the vessel.
    """
    radius = float(line.radius[-1])
    start = max(float(line.abscissa[-1]) - 2.0 * radius, 0.0)
    track = [line.at(s) for s in np.linspace(start, float(line.abscissa[-1]), 9)]
    full = 0.0
    for _ in range(40):
        tangent = _end_tangent(np.array(track[-9:]))
        if (tip - track[-1]) @ tangent < 0.25 * radius:
            break
        loop = slicer.around(track[-1] + 0.25 * radius * tangent, tangent, 3.0 * radius)
        if loop is None or loop.area < _FULL * full:
            break
        full = max(full, loop.area)
        track.append(loop.centre)
    base = between(line, 0.0, start)
    points = np.vstack([base.points[:-1], track])
    axis = _end_tangent(np.array(track[-9:]))
    length = max(float((tip - points[-1]) @ axis), 0.1 * radius)
    steps = np.linspace(0.0, length, max(2, round(length / (0.1 * radius))))[1:, None]
    points = np.vstack([points, points[-1] + steps * axis])
    return Line(
        points, np.pad(base.radius[:-1], (0, len(points) - len(base.radius) + 1), mode="edge")
    )


def _end_tangent(points: Floats) -> Floats:
    """Direction at the last of some points, from a parabola through them, ``(3,)``."""
    s = arc_length(points)
    t = (s - s[-1]) / s[-1]
    slope = np.polynomial.polynomial.polyfit(t, points, 2)[1]
    return np.asarray(slope / np.linalg.norm(slope))


def _full_area(slicer: Slicer, line: Line, place: float) -> float:
    """Median cross-section over two radii upstream of a place, from where sections do not grow any more.

    A slanting end's sections grow until they are the vessel's.
    """
    radius, s, grown = float(line.radius[-1]), place, 0.0
    areas: list[float] = []
    while s > 0.0 and len(areas) < 4:
        loop = slicer.around(line.at(s), _axis(line, s, radius, radius), 3.0 * radius)
        if loop is not None:
            if len(areas) == 1 and loop.area > _GROWS * areas[0] and grown < _SLANT * radius:
                areas.clear()
            areas.append(loop.area)
            radius = max(radius, float(np.sqrt(loop.area / np.pi)))
        s, grown = s - 0.5 * radius, grown + 0.5 * radius
    return float(np.median(areas)) if areas else 0.0


def _straighten(
    surface: Surface, slicer: Slicer, end: FoundEnd, line: Line
) -> tuple[Surface, FoundEnd, list[str]]:
    """Cut a flat end again if it is ragged, oblique, or no more than the middle of a rounded end.

    Given caps are kept, and an oblique one is noted.
    """
    here = section(surface, end.patch)
    at = plane_crossing(line, here.centre, here.normal, 2.0 * here.reach)
    line = between(line, 0.0, float(line.abscissa[-1]) if at is None else at)
    axis = _end_axis(line, here.diameter)
    angle = float(np.degrees(np.arccos(np.clip(axis @ here.normal, -1.0, 1.0))))
    where = f"{end.name or 'end'} at {np.round(here.centre, 1).tolist()} mm"
    if end.origin == "given":
        tilted = angle > OBLIQUE
        return surface, end, [f"given cap {where} is {angle:.0f} degrees oblique; kept"] * tilted
    inner = slicer.around(
        line.at(float(line.abscissa[-1]) - 0.35 * here.diameter), axis, 2.0 * here.reach
    )
    rounded = end.origin == "flat" and inner is not None and here.area < _CAP * inner.area
    if angle <= OBLIQUE and not end.cut and not rounded:
        return surface, end, []
    cut, place = _cut_inside(surface, here, axis, 0.3 if rounded else 0.1)
    moved = replace(end, patch=int(cut.patch.max()), place=place, cut=False)
    fault = "rounded" if rounded else "ragged" if end.cut else f"{angle:.0f} degrees oblique"
    return cut, moved, [f"{where} was {fault}; cut perpendicular"]


def _straighten_tip(
    surface: Surface, slicer: Slicer, of: tuple[FoundEnd, Sequence[Floats]], line: Line
) -> tuple[Surface, FoundEnd, list[str]]:
    """Cut a tip again where its cut is oblique: to the rim of a slanting end a centreline bends from far.

    The first cut stays where no other one is possible.
    """
    end, tips = of
    try:
        cut, flat, note = _straighten(surface, slicer, end, line)
    except ComputationError:
        return surface, end, []
    return (surface, end, []) if _takes_more(surface, cut, tips, end.patch) else (cut, flat, note)


def _end_axis(line: Line, diameter: float) -> Floats:
    """Direction of the vessel at the end of a line, from a parabola through what lies further in.

    The last part is left out: there a line follows the cap rather than the vessel.
    """
    end = float(line.abscissa[-1])
    start, stop = max(end - 2.0 * diameter, 0.0), max(end - 0.4 * diameter, 0.5 * end)
    places = np.linspace(start, stop, 12)
    points = np.array([line.at(s) for s in places])
    t = (places - end) / diameter
    slope = np.polynomial.polynomial.polyfit(t, points, 2)[1]
    return np.asarray(slope / np.linalg.norm(slope))


def _cut_inside(
    surface: Surface, here: Section, axis: Floats, depth: float
) -> tuple[Surface, Floats]:
    """Cut perpendicular to an axis, `depth` diameters inside a cap; deeper where that is not one loop.

    Raises:
        ComputationError: No such cut is one loop.
    """
    corners = np.unique(surface.triangles[surface.patch == here.patch])
    height = (surface.points[corners] - here.centre) @ axis
    seed, patch = int(corners[np.argmax(height)]), _free_patch(surface)
    fault = ComputationError("no cut was tried")
    for deeper in _DEEPER:
        inside = float(height.min()) - (depth + deeper) * here.diameter
        try:
            cut = cut_off(surface, seed, here.centre + inside * axis, axis, patch)
        except ComputationError as error:
            fault = error
            continue
        return cut, section(cut, patch).centre
    raise fault
