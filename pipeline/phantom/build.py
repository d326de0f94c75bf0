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
    """Walls stay apart away from the junctions."""
    for i, path in enumerate(tree.paths):
        for j, other in enumerate(tree.paths):
            if i != j:
                gap = _gap(path, other)
                if gap < CLEARANCE_MM:
                    names = [next(s.name for s in tree.segments if s.path == k) for k in (i, j)]
                    raise Redraw(f"{names[0]} and {names[1]} come as close as {gap:.2f} mm")


def _gap(path: Path, other: Path) -> float:
    """Smallest distance wall to wall [mm] of a path to another, outside the stretch where they meet."""
    inner = (path.knots >= path.start) & (path.knots <= path.end)
    s, c, r = path.knots[inner], path.centre[inner], path.radius[inner]
    gap = other.clearance(c) - r - np.linalg.norm(path.offset[inner], axis=1)
    joint = np.flatnonzero(gap < 0.0)
    if len(joint) == 0:
        return float(gap.min())
    first, last = s[joint[0]], s[joint[-1]]
    if joint[-1] - joint[0] + 1 > len(joint) or last - first > 12.0 * float(other.healthy.max()):
        return float(gap.min())
    reach = 3.0 * CLEARANCE_MM + float(path.healthy[0])
    away = (s < first - reach) | (s > last + reach)
    return float(gap[away].min()) if away.any() else float("inf")
