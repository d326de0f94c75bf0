r"""Agreement of two ways to tell FFR, with intervals that respect that values of one tree belong together.

Bias and limits of agreement $\bar d \pm 1.96\,s_d$; intraclass correlation ICC(A,1) of absolute agreement in a two-way
model; area under the curve as the probability of Mann and Whitney; intervals by resampling whole groups (2.5 to 97.5 %
of 2,000 draws).

References:
    Bland & Altman (1986), Lancet 327, 307-310, https://doi.org/10.1016/S0140-6736(86)90837-8;
    McGraw & Wong (1996), Psychol. Methods 1, 30-46, https://doi.org/10.1037/1082-989X.1.1.30 (ICC(A,1));
    Hanley & McNeil (1982), Radiology 143, 29-36, https://doi.org/10.1148/radiology.143.1.7063747 (area and U).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

THRESHOLD, GREY = 0.80, (0.75, 0.80)
DRAWS = 2000
Array = npt.NDArray[np.float64]


def agreement(
    reference: Array, other: Array, groups: Sequence[str], error: Array | None = None
) -> dict[str, Any]:
    """Everything told of paired values.

    Args:
        reference: FFR, ``(n,)``.
        other: Of the other way.
        groups: Tree or patient of each.
        error: Discretisation error of the reference, NaN where not known: differences within it are told apart.

    Returns:
        Numbers, JSON-able; intervals as ``[low, high]`` in ``NAME_ci``. None where a number does not exist.
    """
    d = other - reference
    told: dict[str, Any] = {"n": len(d), "groups": len(set(groups))}
    if len(d) == 0:
        return told
    for name, work in _STATISTICS.items():
        told[name] = _number(work(reference, other))
        told[f"{name}_ci"] = _interval(work, reference, other, groups)
    positive, says = reference <= THRESHOLD, other <= THRESHOLD
    grey = (reference > GREY[0]) & (reference <= GREY[1])
    told |= {
        "positives": int(positive.sum()),
        "flips": int((positive != says).sum()),
        "grey_zone": int(grey.sum()),
        "flips_in_grey_zone": int(((positive != says) & grey).sum()),
    }
    if error is not None:
        known = np.isfinite(error)
        told["reference_error_known"] = int(known.sum())
        told["within_reference_error"] = int((np.abs(d[known]) <= error[known]).sum())
        flips = known & (positive != says)
        sure = np.abs(reference - THRESHOLD) > np.where(known, error, 0.0)
        told["flips_beyond_reference_error"] = int((flips & sure).sum())
    return told


def spread_told(reference: Array, other: Array, std: Array) -> dict[str, Any] | None:
    """How well a model knows its own spread; None where it tells none.

    Args:
        reference: FFR, ``(n,)``.
        other: Of the model.
        std: Its standard deviation of each; NaN where it tells none.

    Returns:
        Parts of the differences within one and within 1.96 standard deviations (0.68 and 0.95 for a calibrated normal
        spread), the root mean square of difference over standard deviation (1), and the median deviation.
    """
    known = np.isfinite(std) & (std > 0)
    if not known.any():
        return None
    z = (other - reference)[known] / std[known]
    return {
        "n": int(known.sum()),
        "within_1": float((np.abs(z) <= 1.0).mean()),
        "within_1.96": float((np.abs(z) <= 1.96).mean()),
        "rms": float(np.sqrt((z**2).mean())),
        "median_std": float(np.median(std[known])),
    }


def bias(a: Array, b: Array) -> float:
    """Mean difference."""
    return float((b - a).mean())


def spread(a: Array, b: Array) -> float:
    """Standard deviation of the differences."""
    return float((b - a).std(ddof=1)) if len(a) > 1 else math.nan


def lower_limit(a: Array, b: Array) -> float:
    """Lower limit of agreement."""
    return bias(a, b) - 1.96 * spread(a, b)


def upper_limit(a: Array, b: Array) -> float:
    """Upper limit of agreement."""
    return bias(a, b) + 1.96 * spread(a, b)


def mae(a: Array, b: Array) -> float:
    """Mean absolute difference."""
    return float(np.abs(b - a).mean())


def rmse(a: Array, b: Array) -> float:
    """Root mean square difference."""
    return float(np.sqrt(((b - a) ** 2).mean()))


def correlation(a: Array, b: Array) -> float:
    """Pearson's."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def icc(a: Array, b: Array) -> float:
    """ICC(A,1): two-way, absolute agreement, single measures."""
    n, values = len(a), np.column_stack([a, b])
    if n < 3:
        return math.nan
    whole, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    MSR = 2 * ((rows - whole) ** 2).sum() / (n - 1)
    MSC = n * ((columns - whole) ** 2).sum()
    rest = values - rows[:, None] - columns[None] + whole
    MSE = (rest**2).sum() / (n - 1)
    bottom = MSR + MSE + 2 * (MSC - MSE) / n
    return float((MSR - MSE) / bottom) if bottom > 0 else math.nan


def sensitivity(a: Array, b: Array) -> float:
    """Part of the reference's positives (at most 0.80) that the other says, too."""
    positive = a <= THRESHOLD
    return float((b[positive] <= THRESHOLD).mean()) if positive.any() else math.nan


def specificity(a: Array, b: Array) -> float:
    """Part of its negatives."""
    negative = a > THRESHOLD
    return float((b[negative] > THRESHOLD).mean()) if negative.any() else math.nan


def auc(a: Array, b: Array) -> float:
    """Probability that the other's value of a positive lies below that of a negative."""
    from scipy.stats import mannwhitneyu

    positive = a <= THRESHOLD
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return math.nan
    return float(mannwhitneyu(b[~positive], b[positive]).statistic) / (n * m)


_STATISTICS: dict[str, Callable[[Array, Array], float]] = {
    "bias": bias,
    "sd": spread,
    "lower_limit": lower_limit,
    "upper_limit": upper_limit,
    "mae": mae,
    "rmse": rmse,
    "r": correlation,
    "icc": icc,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "auc": auc,
}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(
    work: Callable[[Array, Array], float], a: Array, b: Array, groups: Sequence[str]
) -> list[float] | None:
    """Percentiles over draws of whole groups; None with fewer than three groups."""
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 3:
        return None
    members = [np.flatnonzero(number == k) for k in range(len(names))]
    rng, found = np.random.default_rng(0), []
    draws = DRAWS if len(a) <= 500 else DRAWS // 4
    for _ in range(draws):
        chosen = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        found.append(work(a[chosen], b[chosen]))
    values = np.array(found)
    values = values[np.isfinite(values)]
    if len(values) < 0.5 * draws:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]
