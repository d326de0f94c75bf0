r"""The discretisation error of a number, from the same number on coarser meshes: the grid-convergence index.

With sizes in the ratio $r = (N_1/N_2)^{1/3}$ (cells of a mesh and of the next coarser one) and an order $p$, the error
of $f_1$ is bounded by

$$ E = F_s \frac{|f_2 - f_1|}{r^p - 1}. $$

Two meshes: $p$ is taken for what the element has (`ORDER`), and $F_s = 3$. Three: $p$ is observed; where the
differences shrink, $F_s = 1.25$ and no order above the element's is believed. Where they do not (oscillation,
divergence, an order below a half) no order is: then three times the largest difference. Two numbers may be near each
other by chance: the difference counts as at least the mean one along the vessel.

Reference:
    Roache (1994), J. Fluids Eng. 116, 405-413, https://doi.org/10.1115/1.2910291 (the index; 3 and 1.25);
    Celik et al. (2008), J. Fluids Eng. 130, 078001, https://doi.org/10.1115/1.2960953 (observed order);
    Eca & Hoekstra (2014), J. Comput. Phys. 262, 104-130, https://doi.org/10.1016/j.jcp.2014.01.006 (data range).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ORDER = {"P1-P1": 2.0, "P2-P2": 3.0, "P2-P1": 2.0}
"""Of pressure drops on meshes as they are used: what covers the errors of tubes with exact answers (decision 0080)."""
TWO, THREE = 3.0, 1.25
LEAST_ORDER = 0.5
_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its error.

    Attributes:
        value: On the finest mesh.
        error: Bound of its distance from the exact one.
        order: Observed; None where it was not, or makes no sense.
    """

    value: float
    error: float
    order: float | None


def estimate(
    values: Sequence[float], cells: Sequence[int], formal: float, along: float = 0.0
) -> Estimate:
    """Bound the error of the first of several numbers.

    Args:
        values: Of two or three meshes, the finest first.
        cells: Of these meshes.
        formal: Order of the element.
        along: Mean difference of the finest two along the vessel.

    Raises:
        ValueError: Fewer than two or more than three meshes, or not each coarser than the one before.
    """
    r = [(a / b) ** (1 / 3) for a, b in pairwise(cells)]
    if len(values) not in (2, 3) or len(cells) != len(values) or min(r) <= 1.0:
        raise ValueError("two or three meshes, each coarser than the one before")
    gaps = [b - a for a, b in pairwise(values)]
    least = max(abs(gaps[0]), along)
    if len(gaps) == 1:
        return Estimate(values[0], factor(cells, formal) * least, None)
    order = observed_order(gaps[0], gaps[1], r[0], r[1])
    if order is None or order < LEAST_ORDER:
        return Estimate(values[0], TWO * max(least, *map(abs, gaps)), order)
    p = min(order, formal)
    return Estimate(values[0], THREE * least / (r[0] ** p - 1.0), order)


def factor(cells: Sequence[int], formal: float) -> float:
    """What turns a difference of two meshes, the finer one first, into a bound of the error: $F_s/(r^p - 1)$."""
    return float(TWO / ((cells[0] / cells[1]) ** (formal / 3) - 1.0))


def observed_order(fine: float, coarse: float, r_fine: float, r_coarse: float) -> float | None:
    """Order of convergence from two differences; None where they do not shrink in one direction.

    Args:
        fine: Difference between the finest two meshes.
        coarse: Difference between the next two.
        r_fine: Ratio of sizes of the finest two.
        r_coarse: Of the next two.
    """
    if fine == 0.0 or coarse / fine <= 1.0:
        return None
    ratio, p = math.log(coarse / fine), 1.0
    for _ in range(_ROUNDS):
        shift = math.log((r_fine**p - 1.0) / (r_coarse**p - 1.0))
        p = max((ratio + shift) / math.log(r_fine), 1e-3)
    return p
