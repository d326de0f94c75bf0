"""The trees of a design with phantoms, each drawn when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meshing.errors import InputError
from pipeline.case import Case, PhantomInput, PhantomStenosis
from pipeline.cohort.design import Design, Phantoms, case_of, dimensions, identifiers, sobol, within

if TYPE_CHECKING:
    from pipeline.phantom import Tree

_ATTEMPTS = 20  # lesions that do not fit are drawn again
_WHOLE = 0.98  # of its radius, an end keeps at least
_FINEST = 0.38  # of the inlet: so thin branches can always be fed


class PhantomCases:
    """The cases of a design with phantom trees, each made when it is asked for."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._points = sobol(design, dimensions(design))
        self._places = {name: k for k, name in enumerate(identifiers(design))}

    def case(self, name: str) -> Case:
        """The case of a name.

        Raises:
            InputError: A tree of these ranges cannot be made, or the case is not valid.
        """
        design, ranges = self._design, self._design.vessel
        assert isinstance(ranges, Phantoms)
        k = self._places[name]
        drawn = dict(zip(dimensions(design), self._points[k], strict=True))
        rng = np.random.default_rng([design.seed, k])
        tree = _phantom(ranges, drawn, rng, 1000 * design.seed + k)
        return case_of(design, name, {"input": tree.model_dump(mode="json")}, drawn)


def _fitting(wanted: PhantomInput) -> PhantomInput:
    """The tree with as many of its side branches as its diameters can feed.

    Raises:
        InputError: Not even without any.
    """
    from pipeline.phantom import build

    for count in range(wanted.side_branches, -1, -1):
        fewer = wanted.model_copy(update={"side_branches": count})
        try:
            build(fewer)
        except InputError:
            if count == 0:
                raise
            continue
        break
    return fewer


def _phantom(
    ranges: Phantoms, drawn: dict[str, float], rng: np.random.Generator, seed: int
) -> PhantomInput:
    """A tree, with as many of its lesions as fit."""
    from pipeline.phantom import build

    inlet = within(ranges.inlet_diameter_mm, drawn["inlet_diameter_mm"])
    thinnest = within(ranges.min_diameter_mm, drawn["min_diameter_mm"])
    plain = PhantomInput(
        tree=ranges.tree[int(rng.integers(len(ranges.tree)))],
        seed=seed,
        inlet_diameter_mm=inlet,
        min_diameter_mm=min(thinnest, _FINEST * inlet),
        side_branches=int(rng.integers(ranges.side_branches[0], ranges.side_branches[1] + 1)),
        murray_exponent=within(ranges.murray_exponent, drawn["murray_exponent"]),
    )
    plain = _fitting(plain)
    tree = build(plain)
    low, high = ranges.lesions
    wanted = min(low + int(drawn["lesions"] * (high - low + 1)), high)
    size = np.array([tree.paths[s.path].healthy_radius(s.start) for s in tree.segments])
    size *= [s.end - s.start for s in tree.segments]
    for _ in range(_ATTEMPTS):
        if len(plain.stenoses) >= wanted:
            break
        lesion = PhantomStenosis(
            branch=tree.segments[int(rng.choice(len(size), p=size / size.sum()))].name,
            position=within(ranges.position, rng.uniform()),
            diameter_reduction=within(ranges.diameter_reduction, rng.uniform()),
            length_mm=within(ranges.length_mm, rng.uniform()),
            eccentricity=within(ranges.eccentricity, rng.uniform()),
            plateau=within(ranges.plateau, rng.uniform()),
        )
        more = plain.model_copy(update={"stenoses": (*plain.stenoses, lesion)})
        try:
            changed = build(more)
        except InputError:
            continue
        if _ends_stay(tree, changed):
            plain = more
    return plain


def _ends_stay(before: Tree, after: Tree) -> bool:
    """Whether no lesion reaches an open end: an inlet in a throat has not the aorta's pressure."""
    return all(
        b.at(s)[2] > _WHOLE * a.at(s)[2]
        for a, b in zip(before.paths, after.paths, strict=True)
        for s in (a.start, a.end)
    )
