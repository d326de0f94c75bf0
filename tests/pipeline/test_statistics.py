"""Agreement: known answers, intervals by whole groups, and nothing where there is nothing."""

import numpy as np
import pytest

from pipeline.compare.statistics import agreement, auc, icc


def test_known_answers():
    a = np.array([0.70, 0.78, 0.85, 0.92])
    told = agreement(a, a + 0.03, ["p", "q", "r", "s"], np.full(4, 0.05))
    assert told["bias"] == pytest.approx(0.03)
    assert told["sd"] == pytest.approx(0.0, abs=1e-12)
    assert told["mae"] == pytest.approx(0.03)
    assert told["r"] == pytest.approx(1.0)
    assert told["sensitivity"] == 0.5
    assert told["specificity"] == 1.0
    assert told["auc"] == 1.0
    assert told["flips"] == 1
    assert (told["grey_zone"], told["flips_in_grey_zone"]) == (1, 1)
    assert told["within_reference_error"] == 4
    assert told["flips_beyond_reference_error"] == 0


def test_icc_of_the_textbook():
    """Shrout & Fleiss (1979), raters 1 and 2 of their table 2: ICC(A,1) by hand from the mean squares."""
    a, b = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    n, values = 6, np.column_stack([a, b])
    grand = values.mean()
    between = 2 * ((values.mean(1) - grand) ** 2).sum() / 5
    raters = 6 * ((values.mean(0) - grand) ** 2).sum()
    error = (((values - grand) ** 2).sum() - 5 * between - raters) / 5
    assert icc(a, b) == pytest.approx(
        (between - error) / (between + error + 2 * (raters - error) / n)
    )
    assert icc(a, a) == pytest.approx(1.0)


def test_area_is_the_chance_of_the_right_order():
    reference = np.array([0.6, 0.7, 0.9, 0.95])
    assert auc(reference, np.array([0.5, 0.9, 0.8, 0.95])) == 0.75
    assert np.isnan(auc(np.array([0.9, 0.95]), np.array([0.9, 0.95])))


def test_intervals_hold_whole_groups():
    """Ten copies of each tree's value tell no more than one: as wide an interval."""
    rng = np.random.default_rng(1)
    a = rng.uniform(0.6, 1.0, 12)
    b = a + rng.normal(0, 0.03, 12)
    names = [f"t{k}" for k in range(12)]
    once = agreement(a, b, names)["bias_ci"]
    ten = agreement(np.repeat(a, 10), np.repeat(b, 10), np.repeat(names, 10).tolist())["bias_ci"]
    alone = agreement(np.repeat(a, 10), np.repeat(b, 10), [str(k) for k in range(120)])["bias_ci"]
    assert np.ptp(ten) == pytest.approx(np.ptp(once), rel=0.2)
    assert np.ptp(alone) < 0.5 * np.ptp(ten)


def test_nothing_comes_of_nothing():
    assert agreement(np.array([]), np.array([]), []) == {"n": 0, "groups": 0}
    told = agreement(np.array([0.9]), np.array([0.92]), ["p"])
    assert told["icc"] is None
    assert told["bias_ci"] is None
    assert told["sd"] is None
