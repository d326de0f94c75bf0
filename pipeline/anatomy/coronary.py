"""Names of the vessels of a coronary tree, from its shape in the patient's frame.

Left: the first fork of long branches ends the left main (LM); of its daughters the most anterior one is the LAD, the
most posterior one the LCx, one between them the ramus intermedius (RI). Right: the RCA. A vessel goes on in the wider
daughter of a fork, in the longer one if both are as wide; what leaves it is numbered from the ostium on: D (diagonals
and septals) from the LAD, OM from the LCx, AM (acute marginals) from the RCA. At the crux, its first fork well behind
the ostium, the RCA divides into the PDA, the daughter that runs forward to the apex, and the PLV. The ends of a side
branch that divides again are ``D1``, ``D1b``, ``D1c``, its main course first.

Nomenclature: SCCT, Leipsic et al. (2014), https://doi.org/10.1016/j.jcct.2014.07.003.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.anatomy.surface import Floats
from pipeline.anatomy.tree import Branch

CoronarySide = Literal["left", "right"]

_LONG_MM = 25.0  # a daughter of the left main is so long, or divides again
_WIDTH_MM = 20.0  # daughters are compared over so much of their beginning
_AS_WIDE = 0.9
_CRUX_MM = 15.0  # the crux lies so far behind the right ostium
_POSTERIOR = 1  # axis, LPS
_TO_APEX = np.array([0.0, -1.0, -0.3])  # from the crux: forward, and a little down
_SIDE_BRANCHES = {"LAD": "D", "LCx": "OM", "RCA": "AM"}


def coronary_names(branches: Sequence[Branch], side: CoronarySide) -> list[str]:
    """Name of every centreline's end.

    Args:
        branches: Of `pipeline.anatomy.tree.split`, LPS [mm]; the first begins at the ostium.
        side: Which coronary tree.

    Returns:
        A different name for each centreline, in their order.
    """
    tree = _Tree(branches)
    names: dict[int, str] = {}
    for vessel in _vessels(tree, side):
        names |= _named(tree, *vessel)
    return [names[line] for line in range(len(names))]


@dataclass(frozen=True, slots=True)
class _Tree:
    branches: Sequence[Branch]

    def children(self, branch: Branch) -> list[Branch]:
        return [other for other in self.branches if other.parent == branch.number]

    def course(self, branch: Branch) -> list[Branch]:
        """The main course from a branch's beginning to an end: at a fork to the wider daughter, else the longer."""
        ways = [self.course(child) for child in self.children(branch)]
        widest = max((calibre(way) for way in ways), default=0.0)
        wide = [way for way in ways if calibre(way) >= _AS_WIDE * widest]
        return [branch, *max(wide, key=length, default=[])]

    def ends(self, branch: Branch) -> list[int]:
        """The centrelines through a branch, the one of its main course first, then by length."""
        first = self.course(branch)[-1].lines[0]
        others = [line for line in branch.lines if line != first]
        return [first, *sorted(others, key=lambda line: -self._reach(line))]

    def _reach(self, line: int) -> float:
        return length([branch for branch in self.branches if line in branch.lines])


def calibre(way: Sequence[Branch]) -> float:
    """Median radius of a way's first `_WIDTH_MM` [mm], less where it is not half as long."""
    radius = np.concatenate([branch.line.radius for branch in way])
    step = [np.diff(branch.line.abscissa, prepend=0.0) for branch in way]
    begin = np.cumsum(np.concatenate(step)) <= _WIDTH_MM
    return float(np.median(radius[begin])) * min(2.0 * length(way) / _WIDTH_MM, 1.0)


def length(way: Sequence[Branch]) -> float:
    """Of branches one after the other [mm]."""
    return float(sum(branch.line.abscissa[-1] for branch in way))


def _vessels(tree: _Tree, side: CoronarySide) -> Iterator[tuple[str, Branch, Branch | None]]:
    """The main vessels: name, where each begins, and the branch whose end it ends at (None: its course's).

    Together they hold every end.
    """
    trunk = tree.branches[0]
    if side == "right":
        yield from _right(tree, trunk)
        return
    fork, small = trunk, list[Branch]()
    while True:
        children = tree.children(fork)
        large = [child for child in children if _large(tree, child)]
        small += [child for child in children if child not in large]
        if len(large) != 1:
            break
        fork = large[0]
    if len(large) < 2:
        yield _single(tree), trunk, None
        return
    large.sort(key=lambda child: _middle(tree, child)[_POSTERIOR])
    yield "LAD", large[0], None
    yield "LCx", large[-1], None
    for number, child in enumerate([*large[1:-1], *small]):
        yield "RI" if number == 0 else f"RI{number + 1}", child, None


def _right(tree: _Tree, trunk: Branch) -> Iterator[tuple[str, Branch, Branch | None]]:
    """The RCA; where its course passes the crux, as far as that, and the PDA and PLV beyond."""
    ostium = trunk.line.points[0]
    for branch in tree.course(trunk)[:-1]:
        if branch.line.points[-1][_POSTERIOR] - ostium[_POSTERIOR] < _CRUX_MM:
            continue
        beyond = sorted(tree.children(branch), key=lambda b: float(_middle(tree, b) @ _TO_APEX))
        yield "RCA", trunk, branch
        yield "PDA", beyond[-1], None
        for number, child in enumerate(beyond[-2::-1], start=1):
            yield "PLV" if number == 1 else f"PLV{number}", child, None
        return
    yield "RCA", trunk, None


def _large(tree: _Tree, branch: Branch) -> bool:
    return len(branch.lines) > 1 or length(tree.course(branch)) >= _LONG_MM


def _middle(tree: _Tree, branch: Branch) -> Floats:
    """Mean place of a branch's course."""
    points = np.concatenate([part.line.points for part in tree.course(branch)])
    return np.asarray(points.mean(axis=0))


def _single(tree: _Tree) -> str:
    """A left tree that does not fork: the LCx where it runs to the back."""
    way = tree.course(tree.branches[0])
    along = way[-1].line.points[-1] - way[0].line.points[0]
    return "LCx" if along[_POSTERIOR] > 0 else "LAD"


def _named(tree: _Tree, vessel: str, start: Branch, stop: Branch | None) -> dict[int, str]:
    """Names of the ends of one vessel, by centreline; without those beyond a branch where others begin."""
    way = tree.course(start)
    names: dict[int, str] = {}
    if stop is None:
        names[way[-1].lines[0]] = vessel
    else:
        way = [*way[: way.index(stop)], stop]
    number = 0
    for branch, onward in itertools.pairwise(way):
        for child in tree.children(branch):
            if child is onward:
                continue
            number += 1
            first = f"{_SIDE_BRANCHES.get(vessel, vessel + '-')}{number}"
            for k, line in enumerate(tree.ends(child)):
                names[line] = first + ("" if k == 0 else chr(ord("a") + k))
    return names
