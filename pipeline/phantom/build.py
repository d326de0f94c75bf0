"""From the choices of a phantom to its tree: vessels, radii, lesions, and the checks on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from meshing.errors import InputError
from pipeline.case import PhantomInput
from pipeline.phantom.lesions import apply_lesions
from pipeline.phantom.path import Path, bend_ratio
from pipeline.phantom.sketch import Redraw, Sketch
from pipeline.phantom.tree import BLEND, Tree

CLEARANCE_MM = 0.8  # wall to wall between vessels that do not meet
_ATTEMPTS = 200


def build(spec: PhantomInput) -> Tree:
    """Build the tree of a specification; the same twice, bit for bit.

    Draws that collide, fold or end too early are drawn again (deterministically from the seed).

    Raises:
        InputError: No draw fits (diameters that leave no room for the branches), or a stenosis names an
            absent segment, overlaps another's throat, or lies in a junction.
    """
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            tree = _draw(spec, np.random.default_rng([spec.seed, attempt]))
        except Redraw as fault:
            reason = str(fault)
            continue
        return replace(tree, meta=_meta(spec, attempt))
    raise InputError(
        field="input",
        wanted=f"a {spec.tree} tree that fits its heart",
        got=f"none in {_ATTEMPTS} draws; the last one: {reason}",
        remedy="lower min_diameter_mm or side_branches, raise inlet_diameter_mm, or change the seed",
    )


def _meta(spec: PhantomInput, attempt: int) -> dict[str, object]:
    return {
        "tree": spec.tree,
        "seed": spec.seed,
        "draw": attempt,
        "murray_exponent": spec.murray_exponent,
        "blend_over_branch_radius": BLEND,
    }


def _draw(spec: PhantomInput, rng: np.random.Generator) -> Tree:
    sketch = Sketch(spec, rng)
    (sketch.left if spec.tree == "left" else sketch.right)()
    tree = Tree(tuple(sketch.paths), tuple(sketch.segments), (), {})
    _check_folds(tree)
    _check_collisions(tree)
    return apply_lesions(tree, spec.stenoses, rng)


def _check_folds(tree: Tree) -> None:
    for segment in tree.segments:
        tightest = bend_ratio(tree.paths[segment.path])
        if tightest > 0.75:
            raise Redraw(
                f"{segment.name} bends too tightly (radius over radius of curvature {tightest:.2f})"
            )


def _check_collisions(tree: Tree) -> None:
    """Walls stay apart; a branch may touch its parent from its start to a little behind its ostium only."""
    owner = {segment.name: segment.path for segment in tree.segments}
    first = {s.path: s for s in reversed(tree.segments)}
    for i, path in enumerate(tree.paths):
        for j in range(i):
            parent = first[i].parent
            joined = parent is not None and owner[parent] == j
            gap = _gap(path, tree.paths[j], joined=joined)
            if gap < CLEARANCE_MM:
                names = f"{first[i].name} and {first[j].name}"
                raise Redraw(f"{names} come as close as {gap:.2f} mm")


def _gap(path: Path, other: Path, *, joined: bool) -> float:
    """Smallest distance wall to wall [mm]; where ``path`` branches off ``other``, behind the junction."""
    inner = (path.knots >= path.start) & (path.knots <= path.end)
    gap = other.clearance(path.centre[inner]) - path.radius[inner]
    if joined:
        leaves = int(np.argmax(gap > 0.0))
        reach = 3.0 * CLEARANCE_MM + float(path.healthy[0])
        gap = gap[path.knots[inner] > path.knots[inner][leaves] + reach]
    return float(gap.min()) if len(gap) else float("inf")
