"""Which end is the inlet, and what the ends are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from meshing.errors import InputError
from pipeline.anatomy.ends import FoundEnd, describe
from pipeline.anatomy.extrude import Section
from pipeline.anatomy.surface import Floats

_FAR = 10.0  # mm: a name further from every end than this is a mistake
_AMBIGUOUS = 1.2  # the second nearest end must be so many times further than the nearest

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class FlatEnd:
    """A flat vessel end with its section."""

    found: FoundEnd
    section: Section


def check_count(ends: Sequence[FoundEnd], file: Path | None = None) -> None:
    """Refuse a vessel without an inlet and an outlet.

    Raises:
        InputError: Fewer than two ends.
    """
    if len(ends) < 2:
        raise InputError(
            file=file,
            wanted="a vessel with an inlet and at least one outlet",
            got=f"{len(ends)} vessel end(s): {describe(ends) or 'none'}",
            remedy="open or cap the outlets, or set anatomy.rounded_ends: open to have closed tips cut open (a tip "
            "must stand out by more than a diameter to be seen)",
        )


def give_names(ends: Sequence[FoundEnd], names: Mapping[str, Point]) -> list[FoundEnd]:
    """Give each name to the end nearest to its point.

    Raises:
        InputError: A name is far from every end, two names go to one end, or a name occurs twice.
    """
    result, owner = list(ends), dict[int, str]()
    for name, point in names.items():
        k, distance = _nearest(ends, np.asarray(point), f"anatomy.names.{name}")
        if distance > _FAR or k in owner:
            got = (
                f"the nearest {distance:.1f} mm away"
                if k not in owner
                else f"the end that is already {owner[k]!r}"
            )
            raise InputError(
                field=f"anatomy.names.{name}",
                wanted=f"a vessel end of its own within {_FAR:g} mm of {list(point)}",
                got=f"{got}; ends: {describe(ends)}",
                remedy="give a point next to the end",
            )
        owner[k] = name
        result[k] = replace(result[k], name=name)
    _check_unique(result)
    return result


def _check_unique(ends: Sequence[FoundEnd]) -> None:
    names = [end.name for end in ends if end.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            field="names of vessel ends",
            wanted="a different name for each",
            got=f"{', '.join(twice)} more than once: {describe(ends)}",
            remedy="rename one of them",
        )


def _nearest(ends: Sequence[FoundEnd], point: Floats, field: str) -> tuple[int, float]:
    distance = np.array([float(np.linalg.norm(end.place - point)) for end in ends])
    order = np.argsort(distance)
    first, second = float(distance[order[0]]), float(distance[order[1]])
    if second < _AMBIGUOUS * first:
        raise InputError(
            field=field,
            wanted="a point clearly nearest to one vessel end",
            got=f"{point.tolist()}, {first:.1f} and {second:.1f} mm from two; ends: {describe(ends)}",
            remedy="give a point closer to the end you mean",
        )
    return int(order[0]), first


def told_inlet(ends: Sequence[FoundEnd], wanted: str | Point | None) -> int | None:
    """Index of the inlet by the user's choice or by the roles given; None if nobody said.

    Raises:
        InputError: The choice matches no end, or several caps claim to be the inlet.
    """
    if isinstance(wanted, str):
        matches = [k for k, end in enumerate(ends) if end.name == wanted]
        if len(matches) != 1:
            raise InputError(
                field="anatomy.inlet",
                wanted="the name of a vessel end, or a point near it",
                got=f"{wanted!r}; ends: {describe(ends)}",
                remedy="take one of these names, or give a point [x, y, z] in mm",
            )
        return matches[0]
    if wanted is not None:
        return _nearest(ends, np.asarray(wanted, dtype=np.float64), "anatomy.inlet")[0]
    claims = [k for k, end in enumerate(ends) if end.role == "inlet"]
    if len(claims) > 1:
        raise InputError(
            field="inlet",
            wanted="one inlet",
            got=f"{len(claims)} caps with that role: {describe([ends[k] for k in claims])}",
            remedy="set anatomy.inlet to one of their names",
        )
    return claims[0] if claims else None


def largest(ends: Sequence[FlatEnd]) -> int:
    """Index of the largest end that is not said to be an outlet (the largest of all if every one is)."""
    free = [k for k, end in enumerate(ends) if end.found.role != "outlet"]
    return max(free or range(len(ends)), key=lambda k: ends[k].section.area)


def outlet_names(
    ends: Sequence[FoundEnd], inlet_name: str, likely: Sequence[str] = ()
) -> list[str]:
    """Names of the outlets in order.

    Args:
        ends: The outlets.
        inlet_name: No outlet has it.
        likely: What outlets that were given no name are called, where no other was given that name; without it, and
            else, ``outlet_1`` ...
    """
    taken = {end.name for end in ends if end.name is not None} | {inlet_name}
    free = (name for k in count(1) if (name := f"outlet_{k}") not in taken)
    wanted = [name if name not in taken else None for name in likely] or [None] * len(ends)
    return [end.name or name or next(free) for end, name in zip(ends, wanted, strict=True)]


def inlet_note(ends: Sequence[FlatEnd], chosen: int) -> str:
    """Say that the inlet is the largest end, and by how much."""
    here = ends[chosen].section
    others = [end.section.diameter for k, end in enumerate(ends) if k != chosen]
    return (
        f"inlet: the largest end, {here.diameter:.2f} mm wide at {np.round(here.centre, 1).tolist()} mm "
        f"(next: {max(others):.2f} mm); set anatomy.inlet for another"
    )
