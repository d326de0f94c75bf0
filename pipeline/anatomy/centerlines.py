"""Centrelines of a vessel tree: smooth, branched, with cross-sections and flow extensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from pipeline.anatomy.capping import plane_axes
from pipeline.anatomy.extrude import Section
from pipeline.anatomy.lines import Line, arc_length, between, plane_crossing, smooth
from pipeline.anatomy.sections import Slicer
from pipeline.anatomy.surface import Floats, Surface
from pipeline.anatomy.trace import RawLine
from pipeline.anatomy.tree import STEP, Branch, split
from pipeline.anatomy.types import Centerline
from pipeline.anatomy.vtkio import wall_distance

_OTHER = 0.3  # another branch this many radii off the point, inside the loop: more than one vessel
_FAR_TOO_LARGE = 8.0  # loop area over inscribed circle
_TOO_LARGE = 1.8  # the same near a bifurcation
_NEAR = 3.0  # radii of the parent


def branched(surface: Surface, raw: Sequence[RawLine], sections: Sequence[Section]) -> list[Branch]:
    """The branches of smooth centrelines made from raw ones.

    Args:
        surface: Surface the raw lines were traced in (ends prolonged so that sections near them are whole).
        raw: One line an outlet.
        sections: Anatomical end sections, the inlet first, then in the order of `raw`.
    """
    inlet, outlets = sections[0], sections[1:]
    return split(
        [
            _anatomical(_inscribed(surface, smooth(line)), inlet, outlet)
            for line, outlet in zip(raw, outlets, strict=True)
        ]
    )


def centerlines(
    surface: Surface,
    branches: Sequence[Branch],
    sections: Sequence[Section],
    extensions: Sequence[float],
    names: Sequence[str],
) -> tuple[Centerline, ...]:
    """Centrelines of branches, one an outlet, with the sections' areas and the flow extensions.

    Args:
        surface: As in `branched`.
        branches: Of the tree.
        sections: As in `branched`.
        extensions: Length of the flow extension of each section [mm].
        names: Outlet names, in the order of the lines the branches are of.
    """
    inlet, outlets = sections[0], sections[1:]
    areas = _areas(surface, branches)
    return tuple(
        _assemble(k, name, branches, areas, (inlet, outlets[k]), (extensions[0], extensions[k + 1]))
        for k, name in enumerate(names)
    )


def _inscribed(surface: Surface, line: Line) -> Line:
    """The same line with the radius of the largest sphere inside the wall about each point.

    VMTK's radius is that of a sphere through surface vertices, larger by the sagitta of the triangles.
    """
    return Line(line.points, np.minimum(line.radius, wall_distance(surface, line.points)))


def _anatomical(line: Line, inlet: Section, outlet: Section) -> Line:
    """The part of a line between two end sections."""
    start = plane_crossing(line, inlet.centre, inlet.normal, inlet.reach)
    stop = plane_crossing(line, outlet.centre, outlet.normal, outlet.reach)
    first = 0.0 if start is None else start
    end = float(line.abscissa[-1]) if stop is None else stop
    if end - first < inlet.diameter / 4:
        raise ComputationError(
            f"the vessel between the ends at {np.round(inlet.centre, 2).tolist()} and "
            f"{np.round(outlet.centre, 2).tolist()} mm is too short for a centreline"
        )
    return between(line, first, end)


def _areas(surface: Surface, branches: Sequence[Branch]) -> list[Floats]:
    """Cross-section area at the samples of each branch; NaN where it spans several vessels."""
    slicer = Slicer(surface)
    result = []
    for branch in branches:
        others = [other.line.points for other in branches if other.number != branch.number]
        near = _near_bifurcation(branch, branches)
        tangents = _tangents(branch, branches)
        result.append(
            np.array(
                [
                    _area(slicer, others, branch.line, i, tangents[i], near=bool(near[i]))
                    for i in range(len(branch.line.points))
                ]
            )
        )
    return result


def _tangents(branch: Branch, branches: Sequence[Branch]) -> Floats:
    """Tangents of a branch; its first uses the parent's last points too."""
    if branch.parent < 0:
        return branch.line.tangent
    before = branches[branch.parent].line.points[-3:-1]
    points = np.vstack([before, branch.line.points])
    radius = np.ones(len(points))
    return Line(points, radius).tangent[len(before) :]


def _near_bifurcation(branch: Branch, branches: Sequence[Branch]) -> npt.NDArray[np.bool_]:
    points, near = branch.line.points, np.zeros(len(branch.line.points), np.bool_)
    for other in branches:
        if other.parent >= 0:
            stem = branches[other.parent].line
            distance = np.linalg.norm(points - stem.points[-1], axis=1)
            near |= distance < _NEAR * stem.radius[-1]
    return near


def _area(
    slicer: Slicer,
    others: Sequence[Floats],
    line: Line,
    i: int,
    tangent: Floats,
    *,
    near: bool,
) -> float:
    point, radius = line.points[i], float(line.radius[i])
    loop = slicer.around(point, tangent, 3.0 * radius)
    if loop is None:
        return np.nan
    limit = _TOO_LARGE if near else _FAR_TOO_LARGE
    if loop.area > limit * np.pi * radius**2:
        return np.nan
    first, second = plane_axes(tangent)
    for points in others:
        offset = points - point
        height = offset @ tangent
        change = np.flatnonzero((height[1:] > 0) != (height[:-1] > 0))
        for k in change.tolist():
            t = height[k] / (height[k] - height[k + 1])
            where = offset[k] + t * (offset[k + 1] - offset[k])
            flat = np.array([where @ first, where @ second])
            if np.linalg.norm(flat) > _OTHER * radius and loop.holds(flat):
                return np.nan
    return loop.area


def _assemble(
    index: int,
    name: str,
    branches: Sequence[Branch],
    areas: Sequence[Floats],
    ends: tuple[Section, Section],
    lengths: tuple[float, float],
) -> Centerline:
    """Join the branches of one line and its two flow extensions."""
    mine = [branch for branch in branches if index in branch.lines]
    points, radius, area, number = [], [], [], []
    for branch in mine:
        skip = 0 if branch.parent < 0 else 1
        points.append(branch.line.points[skip:])
        radius.append(branch.line.radius[skip:])
        area.append(areas[branch.number][skip:])
        number.append(np.full(len(branch.line.points) - skip, branch.number, np.int32))
    core = np.vstack(points)
    head, tail = (
        _beyond(core[at], end, length)
        for at, end, length in zip((0, -1), ends, lengths, strict=True)
    )
    head = head[::-1]
    whole = np.vstack([head, core, tail])
    counts = (len(head), len(tail))
    abscissa = arc_length(whole)
    inside = np.zeros(len(whole), np.bool_)
    inside[len(head) : len(head) + len(core)] = True
    return Centerline(
        outlet=name,
        points_mm=whole,
        abscissa_mm=abscissa - abscissa[len(head)],
        radius_mm=np.pad(np.concatenate(radius), counts, mode="edge"),
        area_mm2=np.pad(np.concatenate(area), counts, constant_values=(ends[0].area, ends[1].area)),
        tangent=Line(whole, np.ones(len(whole))).tangent,
        branch=np.pad(np.concatenate(number), counts, mode="edge"),
        extension=~inside,
    )


def _beyond(start: Floats, end: Section, length: float) -> Floats:
    """Samples in a flow extension, from the line's end to the centre of the extension's cap."""
    if length <= 0.0:
        return np.empty((0, 3))
    count = max(2, round(length / (STEP / 2 * end.diameter)))
    t = np.linspace(0.0, 1.0, count + 1)[1:, None]
    return np.asarray(
        start + t * length * end.normal + t**2 * (3 - 2 * t) * _flat(end.centre - start, end.normal)
    )


def _flat(vector: Floats, normal: Floats) -> Floats:
    return np.asarray(vector - (vector @ normal) * normal)
