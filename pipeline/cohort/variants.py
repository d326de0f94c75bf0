r"""Copies of one vessel, changed along a centreline: a narrowing more, a wider stretch, a lesion opened as by a stent.

Every wall point near the stretch moves along its radius: $x' = c + f(s)\,(x - c)$ with the nearest place $c$ of the
centreline at abscissa $s$. A narrowing or widening has $f = 1 \mp a\,(1 + \cos 2\pi(s - s_0)/L)/2$; a stent gives the
cross-sections between a lesion's shoulders the size that lies between those at the shoulders. A stretch holds no
bifurcation.

Each change is a pair: the vessel as it is, and changed, under the same conditions with the same resistances behind
every outlet, so that their difference is that of the lumen (of a stent: the gain of FFR).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.anatomy.types import Anatomy, Centerline, Lesion
from pipeline.case import Case
from pipeline.cohort.design import Design, Variants, case_of, dimensions, identifiers, sobol, within

log = logging.getLogger("ffr3d")
Array = npt.NDArray[np.float64]
Factor = Callable[[Array], Array]
_CLEAR = 1.0  # local diameters between a stretch and a bifurcation or an end


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a vessel.

    Attributes:
        kind: narrow, widen or stent.
        outlet: Centreline whose abscissae count.
        start_mm: Where it begins.
        end_mm: Where it ends.
        amount: Of the diameter, at the middle; of a stent, none.
        lesion: Name of the lesion that a stent opens.
    """

    kind: str
    outlet: str
    start_mm: float
    end_mm: float
    amount: float = 0.0
    lesion: str | None = None

    def factor(self, line: Centerline) -> Factor:
        """Of the distance from the centreline, by abscissa."""
        middle, length = 0.5 * (self.start_mm + self.end_mm), self.end_mm - self.start_mm
        if self.kind == "stent":
            radius = equivalent_radius(line)
            ends = np.interp([self.start_mm, self.end_mm], line.abscissa_mm, radius)

            def opened(s: Array) -> Array:
                wanted = np.interp(s, [self.start_mm, self.end_mm], ends)
                inside = (s > self.start_mm) & (s < self.end_mm)
                grown = np.maximum(wanted / np.interp(s, line.abscissa_mm, radius), 1.0)
                return np.asarray(np.where(inside, grown, 1.0))

            return opened
        sign = -1.0 if self.kind == "narrow" else 1.0

        def waved(s: Array) -> Array:
            off = np.abs(s - middle) / length
            weight = np.where(off < 0.5, 0.5 * (1.0 + np.cos(2.0 * np.pi * off)), 0.0)
            return np.asarray(1.0 + sign * self.amount * weight)

        return waved


def equivalent_radius(line: Centerline) -> Array:
    """Radius of the cross-sections' areas; that of the inscribed sphere where there is no section, ``(n,)``."""
    return np.asarray(
        np.where(np.isfinite(line.area_mm2), np.sqrt(line.area_mm2 / np.pi), line.radius_mm)
    )


class VariantCases:
    """The cases of a design of variants, each made when it is asked for.

    Args:
        design: Its vessel is `Variants`.
        base: Folder for what they share: the run of the original up to its anatomy, and the changed surfaces.

    Raises:
        InputError: The original cannot be read.
    """

    def __init__(self, design: Design, base: Path) -> None:
        from pipeline.case_file import load
        from pipeline.run import run

        ranges = design.vessel
        assert isinstance(ranges, Variants)
        self._design, self._ranges, self._base = design, ranges, base
        self._original = load(ranges.case)
        run(self._original, base, stop="anatomy")
        self._anatomy, self._lines = _read(base)
        self._points = sobol(design, dimensions(design))
        self._places = {name: k for k, name in enumerate(identifiers(design))}

    def case(self, name: str) -> Case:
        """The case of a name: the vessel as it is or, where a change is in the name, changed.

        Raises:
            InputError: The vessel has no place for the change.
        """
        k, changed = divmod(self._places[name], 2)
        drawn = dict(zip(dimensions(self._design), self._points[k], strict=True))
        plain = case_of(self._design, name, _sections(self._original), drawn)
        if not changed:
            return plain
        surface = self._base / "changed" / f"{name}.stl"
        _write(self.change(k), self._base, self._lines, surface)
        return _changed(plain, name, surface, self._anatomy)

    def change(self, k: int) -> Change:
        """What the second case of the ``k``-th pair does to the vessel."""
        ranges, kinds = self._ranges, self._ranges.changes
        drawn = dict(zip(dimensions(self._design), self._points[k], strict=True))
        rng = np.random.default_rng([self._design.seed, k])
        return _draw(kinds[k % len(kinds)], ranges, drawn, self._anatomy, self._lines, rng)


def _sections(case: Case) -> dict[str, Any]:
    """What a copy takes over from the original case."""
    told = case.model_dump(mode="json", exclude_unset=True)
    return {key: told[key] for key in ("input", "surface", "anatomy", "inlet") if key in told}


def _read(base: Path) -> tuple[Anatomy, tuple[Centerline, ...]]:
    from pipeline.anatomy import load_centerlines

    return (
        Anatomy.load(base / "anatomy" / "anatomy.json"),
        load_centerlines(base / "anatomy" / "centerlines.vtp"),
    )


def _changed(plain: Case, name: str, surface: Path, anatomy: Anatomy) -> Case:
    """The same conditions on the changed surface; resistances are the original's."""
    from pipeline.physiology import flow_problem

    _, record = flow_problem(plain, anatomy, Path("mesh.json"))
    key = "resistance_mmHg_s_per_mL"
    told = plain.model_dump(mode="json")
    told |= {"name": name, "input": {"kind": "surface", "path": str(surface)}}
    told["anatomy"] |= {
        "inlet": anatomy.inlet.centre_mm,
        "names": {end.name: end.centre_mm for end in anatomy.outlets},
    }
    told["physiology"]["outlets"] = {row["outlet"]: {key: row[key]} for row in record["outlets"]}
    return Case.model_validate(told)


def _draw(
    kind: str,
    ranges: Variants,
    drawn: dict[str, float],
    anatomy: Anatomy,
    lines: tuple[Centerline, ...],
    rng: np.random.Generator,
) -> Change:
    if kind == "stent":
        return _stent(anatomy.lesions, lines, drawn["position"])
    length = within(ranges.length_mm, drawn["length"])
    limits = ranges.diameter_reduction if kind == "narrow" else ranges.widening
    amount = within(limits, drawn["reduction"])
    for line in (lines[k] for k in rng.permutation(len(lines))):
        start = _place(line, length, within(ranges.position, drawn["position"]))
        if start is not None:
            return Change(kind, line.outlet, start, start + length, amount)
    raise InputError(
        field="vessel.length_mm",
        wanted="a stretch of a vessel without a bifurcation",
        got=f"none of {length:g} mm on any vessel",
        remedy="lower length_mm",
    )


def _stent(lesions: tuple[Lesion, ...], lines: tuple[Centerline, ...], place: float) -> Change:
    """One of the lesions that lie on a stretch without a bifurcation."""
    by_outlet = {line.outlet: line for line in lines}
    good = [x for x in lesions if _free(by_outlet[x.outlet], x.start_mm, x.end_mm)]
    if not good:
        raise InputError(
            field="vessel.changes",
            wanted="a lesion to open, on a stretch without a bifurcation",
            got=f"{len(lesions)} lesion(s), none of that kind",
            remedy="leave stent out, or lower anatomy.min_diameter_stenosis of the case",
        )
    lesion = good[min(int(place * len(good)), len(good) - 1)]
    return Change("stent", lesion.outlet, lesion.start_mm, lesion.end_mm, lesion=lesion.name)


def _place(line: Centerline, length: float, wanted: float) -> float | None:
    """Start of the free stretch of a length nearest to a fraction of the vessel's length."""
    whole = line.abscissa_mm[~line.extension]
    starts = np.arange(whole[0], max(whole[-1] - length, whole[0]), 0.5)
    target = whole[0] + wanted * (whole[-1] - whole[0]) - 0.5 * length
    for start in starts[np.argsort(np.abs(starts - target), kind="stable")]:
        if _free(line, float(start), float(start) + length):
            return float(start)
    return None


def _free(line: Centerline, start: float, end: float) -> bool:
    """Whether a stretch, with a margin, lies on one branch inside the vessel."""
    s, margin = (
        line.abscissa_mm,
        _CLEAR * 2 * float(np.interp(0.5 * (start + end), line.abscissa_mm, line.radius_mm)),
    )
    near = (s >= start - margin) & (s <= end + margin)
    inside = start - margin >= s[0] and end + margin <= s[-1]
    return bool(
        inside and not line.extension[near].any() and len(np.unique(line.branch[near])) == 1
    )


def moved(points: Array, line: Centerline, others: tuple[Centerline, ...], change: Change) -> Array:
    """Wall points of a changed vessel.

    Args:
        points: Of the wall [mm], ``(n, 3)``.
        line: The centreline that the change is on.
        others: All centrelines of the tree.
        change: What is done.

    Returns:
        ``(n, 3)`` [mm]; points nearer to another vessel, or off the stretch, as they were.
    """
    from scipy.spatial import cKDTree

    off, s, centre = projected(points, line)
    mine = np.ones(len(points), np.bool_)
    for other in others:
        apart = cKDTree(line.points_mm).query(other.points_mm)[0] > 0.25 * other.radius_mm
        if apart.any():
            mine &= off <= cKDTree(other.points_mm[apart]).query(points)[0]
    factor = np.where(mine, change.factor(line)(s), 1.0)
    return np.asarray(centre + factor[:, None] * (points - centre))


def projected(points: Array, line: Centerline) -> tuple[Array, Array, Array]:
    """Nearest place of a centreline: distance ``(n,)``, abscissa ``(n,)`` and point ``(n, 3)`` [mm]."""
    from scipy.spatial import cKDTree

    path, s = line.points_mm, line.abscissa_mm
    nearest = np.asarray(cKDTree(path).query(points)[1])
    best = np.full(len(points), np.inf)
    at, centre = np.zeros(len(points)), np.zeros((len(points), 3))
    for shift in (-1, 0):
        k = np.clip(nearest + shift, 0, len(path) - 2)
        along = path[k + 1] - path[k]
        t = np.einsum("nd,nd->n", points - path[k], along) / np.einsum("nd,nd->n", along, along)
        t = np.clip(t, 0.0, 1.0)
        foot = path[k] + t[:, None] * along
        gap = np.linalg.norm(points - foot, axis=1)
        here = gap < best
        best[here], centre[here] = gap[here], foot[here]
        at[here] = (s[k] + t * (s[k + 1] - s[k]))[here]
    return best, at, centre


def _write(change: Change, base: Path, lines: tuple[Centerline, ...], path: Path) -> None:
    """The changed surface, and beside it what was done."""
    from pipeline.surface.mesh import TriangleMesh, write_stl
    from pipeline.surface.reading import read_surface

    if path.is_file():
        return
    path.parent.mkdir(exist_ok=True)
    lumen = read_surface(base / "surface" / "lumen.vtp")
    line = next(one for one in lines if one.outlet == change.outlet)
    points = moved(lumen.points, line, lines, change)
    told = {name: getattr(change, name) for name in Change.__dataclass_fields__}
    path.with_suffix(".json").write_text(json.dumps(told, indent=2))
    part = path.with_suffix(".part")
    write_stl(TriangleMesh.of(points, lumen.triangles), part)
    part.replace(path)
