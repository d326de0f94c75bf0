"""The grid-convergence index: exact where numbers converge as assumed, wide where they do not."""

from itertools import pairwise

import pytest

from pipeline.certificate.discretisation import THREE, TWO, estimate, factor, observed_order

CELLS = [80_000, 27_000, 8_000]


def series(exact, error, order, cells=CELLS):
    """Numbers that converge with one order."""
    return [exact + error * (n / cells[0]) ** (-order / 3) for n in cells]


@pytest.mark.parametrize("order", [0.8, 1.5, 2.0, 3.3])
def test_the_order_is_found(order):
    values = series(0.8, 0.01, order)
    r = [(a / b) ** (1 / 3) for a, b in pairwise(CELLS)]
    found = observed_order(values[1] - values[0], values[2] - values[1], *r)
    assert found == pytest.approx(order, rel=1e-6)


def test_two_meshes_take_the_elements_order():
    values = series(0.8, 0.01, 2.0)
    found = estimate(values[:2], CELLS[:2], 2.0)
    assert found.value == values[0]
    assert found.error == pytest.approx(TWO * 0.01, rel=1e-6)
    assert found.order is None


def test_numbers_near_each_other_by_chance():
    """The mean difference along the vessel counts where the numbers themselves say less."""
    lucky = estimate([0.8, 0.8], CELLS[:2], 2.0, along=0.004)
    assert lucky.error == pytest.approx(0.004 * factor(CELLS, 2.0))
    assert estimate([0.8, 0.81], CELLS[:2], 2.0, along=0.004) == estimate(
        [0.8, 0.81], CELLS[:2], 2.0
    )


def test_three_meshes_observe_theirs_but_believe_no_more_than_the_elements():
    slow, fast = (estimate(series(0.8, 0.01, p), CELLS, 2.0) for p in (1.0, 3.0))
    assert slow.error == pytest.approx(THREE * 0.01, rel=1e-6)
    assert fast.order == pytest.approx(3.0, rel=1e-6)
    assert fast.error > THREE * 0.01


def test_numbers_that_swing_or_diverge_have_wide_errors():
    swing = estimate([0.80, 0.81, 0.79], CELLS, 2.0)
    assert swing.order is None
    assert swing.error == pytest.approx(0.06)
    diverge = estimate([0.80, 0.81, 0.815], CELLS, 2.0)
    assert diverge.order is None
    assert diverge.error == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("values", "cells"),
    [([0.8], [100]), ([0.8, 0.8], [100, 100]), ([0.8] * 4, [100, 50, 20, 10]), ([0.8, 0.8], [9])],
)
def test_no_series(values, cells):
    with pytest.raises(ValueError, match="two or three meshes"):
        estimate(values, cells, 2.0)
