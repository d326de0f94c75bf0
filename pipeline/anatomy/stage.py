"""The anatomy stage: ``surface/`` in, ``anatomy/`` out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshing.errors import ComputationError, InputError
from meshing.lumen import Cap, LumenSurface, join_lines
from pipeline.anatomy.centerlines import branched, centerlines
from pipeline.anatomy.coronary import coronary_names
from pipeline.anatomy.ends import FoundEnd, Told, find_ends
from pipeline.anatomy.extrude import Section, extrude, free_length, section
from pipeline.anatomy.lineio import read_centerlines, save_centerlines
from pipeline.anatomy.lines import arc_length
from pipeline.anatomy.naming import (
    FlatEnd,
    check_count,
    give_names,
    inlet_note,
    largest,
    outlet_names,
    told_inlet,
)
from pipeline.anatomy.recut import nearest, prolonged, recut, remaining
from pipeline.anatomy.stenosis import find_lesions
from pipeline.anatomy.surface import Surface, components, half_edges, merge_points, open_edges
from pipeline.anatomy.trace import RawLine, trace
from pipeline.anatomy.types import Anatomy, Centerline, End
from pipeline.anatomy.vtkio import read_surface, write_surface
from pipeline.case import AnatomyOptions

_log = logging.getLogger(__name__)
_LEAD = 1.5  # diameters that ends are prolonged for tracing, where there is room


def run(lumen: Path, told: Path, options: AnatomyOptions, folder: Path) -> Anatomy:
    """Read the lumen surface, write ``vessel.vtp``, ``centerlines.vtp`` and ``anatomy.json``.

    Args:
        lumen: ``surface/lumen.vtp`` [mm]; cell array ``cap``: 0 wall, i >= 1 the i-th given cap.
        told: ``surface/surface.json``; keys ``caps`` and ``end_hints`` are read.
        options: The part of the case.
        folder: Where to write; must exist.

    Raises:
        InputError: No inlet or outlet, names that match no end, holes in the wall.
        ComputationError: No centreline to an end, an end that cannot be cut.
    """
    surface = read_surface(lumen)
    size = float(np.ptp(surface.points, axis=0).max())
    surface = merge_points(surface, 1e-7 * size)
    _check_one_body(surface, lumen)
    known = read_told(told)
    if options.coronary_tree is None:
        options = options.model_copy(update={"coronary_tree": known.side})
    surface, ends = find_ends(surface, known, options.rounded_ends)
    check_count(ends, lumen)
    ends = give_names(ends, options.names)
    source = told_inlet(ends, options.inlet)
    start = _start(surface, ends) if source is None else source
    surface, ends, notes = recut(surface, ends, start, options.end_clip_diameters)
    ends, source, lost = remaining(surface, ends, source)
    notes += lost
    check_count(ends, lumen)
    gaps = len(open_edges(surface.triangles))
    if gaps:
        raise ComputationError(f"the surface has {gaps} open edges after its ends were cut")
    flat = [FlatEnd(end, section(surface, end.patch)) for end in ends]
    chosen = largest(flat) if source is None else source
    if source is None:
        notes.append(inlet_note(flat, chosen))
    notes += handle_note(surface)
    anatomy, vessel, lines = measure(surface, flat, chosen, options, notes)
    write_surface(folder / "vessel.vtp", vessel)
    save_centerlines(folder / "centerlines.vtp", lines)
    anatomy.save(folder / "anatomy.json")
    return anatomy


def _check_one_body(surface: Surface, file: Path) -> None:
    count = int(components(len(surface.points), half_edges(surface.triangles)).max()) + 1
    if count > 1:
        raise InputError(
            file=file,
            wanted="one connected lumen",
            got=f"{count} bodies",
            remedy="keep one of them (surface.keep: largest)",
        )


def handle_note(surface: Surface) -> list[str]:
    """Warn of handles of a closed surface: vessels that touch, or branches that meet again."""
    edges = 3 * len(surface.triangles) // 2
    handles = 1 - (len(surface.points) - edges + len(surface.triangles)) // 2
    if handles == 0:
        return []
    return [f"the lumen has {handles} loop(s): vessels touch somewhere, blood can take two ways"]


def read_told(path: Path) -> Told:
    """Read what the surface stage knows of the ends.

    Raises:
        InputError: The file is missing or not as expected.
    """
    if not path.is_file():
        raise InputError(
            file=path, wanted="surface.json", got="no such file", remedy="run the surface stage"
        )
    data = json.loads(path.read_text())
    caps, hints = data.get("caps", []), data.get("end_hints", [])
    return Told(
        names=tuple(cap["name"] for cap in caps),
        roles=tuple(cap.get("role") for cap in caps),
        hints=tuple(
            (hint["name"], hint.get("role"), np.array(hint["point_mm"], dtype=np.float64))
            for hint in hints
        ),
        labels=data.get("voxel_mm") is not None,
        side=data.get("coronary_tree"),
    )


def _start(surface: Surface, ends: Sequence[FoundEnd]) -> int:
    """An end to start the first centrelines from: the largest flat one, else any."""
    flat = [k for k, end in enumerate(ends) if end.patch > 0]
    return max(flat, key=lambda k: section(surface, ends[k].patch).area) if flat else 0


def measure(
    surface: Surface,
    ends: Sequence[FlatEnd],
    inlet: int,
    options: AnatomyOptions,
    notes: Sequence[str],
) -> tuple[Anatomy, Surface, tuple[Centerline, ...]]:
    """Centrelines, flow extensions and lesions of a vessel whose ends are all flat."""
    others = [end for k, end in enumerate(ends) if k != inlet]
    lead = prolonged(surface, [end.section.patch for end in ends], _LEAD)
    seeds = [nearest(lead, section(lead, e.section.patch).centre) for e in (ends[inlet], *others)]
    raw = trace(lead, seeds[0], seeds[1:])
    order = sorted(range(len(others)), key=lambda k: _rank(others[k], raw[k]))
    ordered = [ends[inlet], *(others[k] for k in order)]
    raw = [raw[k] for k in order]
    surface = _renumber(surface, [end.section.patch for end in ordered])
    sections = [replace(end.section, patch=k) for k, end in enumerate(ordered, start=1)]
    vessel, lengths, more = _extend(surface, sections, options)
    name = ordered[0].found.name or "inlet"
    branches = branched(lead, raw, sections)
    side = options.coronary_tree
    likely = coronary_names(branches, side) if side else ()
    names = outlet_names([end.found for end in ordered[1:]], name, likely)
    lines = centerlines(lead, branches, sections, lengths, names)
    made = tuple(
        _end(here, called, length)
        for here, called, length in zip(sections, [name, *names], lengths, strict=True)
    )
    lesions = find_lesions(lines, options.min_diameter_stenosis)
    return Anatomy(made, lesions, surface.volume, (*notes, *more)), vessel, lines


def _rank(end: FlatEnd, line: RawLine) -> tuple[float, ...]:
    """Given caps in their order, then by distance along the tree, then by place."""
    place = tuple(np.round(end.section.centre, 2).tolist())
    first = float(end.found.patch) if end.found.origin == "given" else np.inf
    return (first, round(float(arc_length(line.points)[-1]), 1), *place)


def _renumber(surface: Surface, patches: Sequence[int]) -> Surface:
    table = np.zeros(int(surface.patch.max()) + 1, np.int32)
    table[list(patches)] = np.arange(1, len(patches) + 1)
    return replace(surface, patch=table[surface.patch])


def _extend(
    surface: Surface, sections: Sequence[Section], options: AnatomyOptions
) -> tuple[Surface, list[float], list[str]]:
    """Add the flow extensions where there is room; return lengths [mm] and notes."""
    lengths, notes = [], []
    for here in sections:
        factor = (
            options.inlet_extension_diameters
            if here.patch == 1
            else options.outlet_extension_diameters
        )
        wanted = factor * here.diameter
        length = free_length(surface, here, wanted) if wanted > 0 else 0.0
        if length < min(wanted, 0.5 * here.diameter):
            length = 0.0
        if length < wanted:
            notes.append(
                f"flow extension of the end at {np.round(here.centre, 1).tolist()} mm is {length:.1f} mm "
                f"instead of {wanted:.1f} mm: another part of the vessel is in the way"
            )
        if length > 0.0:
            surface = extrude(surface, here.patch, length)
        lengths.append(length)
    return surface, lengths, notes


def _end(here: Section, name: str, length: float) -> End:
    x, y, z = here.centre.tolist()
    u, v, w = here.normal.tolist()
    return End(
        name=name,
        role="inlet" if here.patch == 1 else "outlet",
        patch=here.patch,
        centre_mm=(x, y, z),
        normal=(u, v, w),
        area_mm2=here.area,
        diameter_mm=here.diameter,
        extension_mm=length,
    )


def load_centerlines(path: Path) -> tuple[Centerline, ...]:
    """Read ``centerlines.vtp`` (the ``anatomy.json`` beside it holds the names)."""
    anatomy = Anatomy.load(path.parent / "anatomy.json")
    return read_centerlines(path, [end.name for end in anatomy.outlets])


def to_lumen(folder: Path) -> LumenSurface:
    """What the mesh generator is given, from an anatomy folder."""
    anatomy = Anatomy.load(folder / "anatomy.json")
    vessel = read_surface(folder / "vessel.vtp", "patch")
    lines = load_centerlines(folder / "centerlines.vtp")
    points = np.vstack([line.points_mm for line in lines])
    radius = np.concatenate([line.radius_mm for line in lines])
    keep, upstream = join_lines([line.points_mm for line in lines])
    return LumenSurface(
        points=vessel.points,
        triangles=vessel.triangles,
        patch=vessel.patch,
        caps=tuple(Cap(end.name, end.role, end.patch) for end in anatomy.ends),
        centerline=points[keep],
        radius=radius[keep],
        upstream=upstream,
    )
