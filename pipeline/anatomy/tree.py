"""Split centrelines into branches: where lines share a stem, one geometry and one branch number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.anatomy.lines import FINE, Line, between, resample
from pipeline.anatomy.surface import Floats

_APART = 0.2  # lines this many radii apart have parted
_SAME = 0.5  # bifurcations closer than this many radii are one
STEP = 0.2  # of the samples, in radii: a tenth of a diameter


@dataclass(frozen=True, slots=True)
class Branch:
    """A piece of the tree between bifurcations.

    Attributes:
        number: Branch number; parents have lower numbers.
        parent: Number of the branch upstream, -1 at the inlet.
        lines: Indices of the centrelines that run through it.
        line: Samples from its beginning to its end; a child begins where its parent ends.
    """

    number: int
    parent: int
    lines: tuple[int, ...]
    line: Line


def split(lines: Sequence[Line]) -> list[Branch]:
    """Split centrelines that start at one inlet into branches, parents first."""
    parting = _partings(lines)
    branches: list[Branch] = []
    pending = [(-1, tuple(range(len(lines))), tuple(lines), (0.0,) * len(lines))]
    while pending:
        parent, group, shapes, starts = pending.pop(0)
        stop, parts = _next_parting(parting, group, shapes[0], starts[0])
        stem = resample(between(shapes[0], starts[0], stop), STEP)
        number = len(branches)
        branches.append(Branch(number, parent, tuple(sorted(group)), stem))
        for part in parts:
            chosen = [group.index(member) for member in part]
            joined = [_join(shapes[i], stem.points[-1], float(stem.radius[-1])) for i in chosen]
            pending.append(
                (number, part, tuple(line for line, _ in joined), tuple(s for _, s in joined))
            )
    return branches


def _partings(lines: Sequence[Line]) -> Floats:
    """Abscissa on line i where line j has left it, ``(n, n)``; infinite on the diagonal."""
    trees = [cKDTree(line.points) for line in lines]
    result = np.full((len(lines), len(lines)), np.inf)
    for i, line in enumerate(lines):
        for j, tree in enumerate(trees):
            if i != j:
                apart = tree.query(line.points)[0] > (_APART + FINE) * line.radius
                first = int(np.argmax(apart)) if apart.any() else len(apart) - 1
                result[i, j] = line.abscissa[first]
    return result


def _next_parting(
    parting: Floats, group: tuple[int, ...], shape: Line, start: float
) -> tuple[float, list[tuple[int, ...]]]:
    """Where the next lines leave the first line of a group, and the groups that go on from there."""
    length = float(shape.abscissa[-1])
    first, others = group[0], group[1:]
    if not others:
        return length, []
    leave = {j: float(parting[first, j]) for j in others}
    earliest = min(leave.values())
    slack = _SAME * float(np.interp(earliest, shape.abscissa, shape.radius))
    stop = float(np.clip(earliest, start + slack, length - slack))
    left = [j for j in others if leave[j] <= stop + slack]
    parts = [(first, *(j for j in others if j not in left))]
    while left:
        head = left[0]
        mates = tuple(
            j for j in left if j == head or parting[head, j] > parting[head, first] + slack
        )
        parts.append(mates)
        left = [j for j in left if j not in mates]
    return stop, parts


def _join(line: Line, junction: Floats, radius: float) -> tuple[Line, float]:
    """Bend the beginning of a line so that it starts at the junction; return it and its start."""
    s = line.abscissa
    nearest = int(np.argmin(np.linalg.norm(line.points - junction, axis=1)))
    nearest = min(nearest, len(s) - 2)
    along = np.clip((s - s[nearest]) / (3.0 * radius), 0.0, 1.0)
    fade = 1.0 - along**2 * (3.0 - 2.0 * along)
    points = line.points + fade[:, None] * (junction - line.points[nearest])
    moved = Line(points, line.radius)
    return moved, float(moved.abscissa[nearest])
