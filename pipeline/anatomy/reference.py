"""Healthy diameter at a narrowing, from the healthy vessel on both sides of it.

A weighted least-squares line in ``log D`` over the healthy points proximal and distal of the narrowing: one level a
branch, one taper, weak priors on the taper and on the step at a bifurcation, the baseline of the whole vessel as a
faint observation at the throat. Points far from the line lose their weight (Tukey's biweight).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.anatomy.profile import NOISE, STEP, STEP_SD, TAPER, Profile
from pipeline.anatomy.surface import Floats

_WINDOW = 3.0  # healthy diameters used on each side of a narrowing
_TAPER_SD = 0.012  # of log D per mm, shared by both sides
_NEAR = 2.0  # diameters from the shoulder at which a point has half its weight
_CUT = 0.25  # Tukey: narrower than the fit by more has no weight
_CUT_WIDE = 0.35  # the same for wider
_FAINT = 0.3  # observations that the baseline counts for


@dataclass(frozen=True, slots=True)
class Span:
    """Indices of a narrowing into a profile: its limits, its shoulders, its throat."""

    first: int
    start: int
    throat: int
    end: int
    last: int


def local_reference(
    profile: Profile, normal: Floats, healthy: npt.NDArray[np.bool_], span: Span
) -> Floats:
    """Healthy diameter along a profile, as the vessel beside `span` suggests, ``(n,)`` [mm].

    Args:
        profile: The vessel.
        normal: Its baseline (`profile.baseline`), ``(n,)``.
        healthy: Points that may be used, none within the span, ``(n,)``.
        span: The narrowing.
    """
    use = _window(profile, healthy, span)
    order = list(dict.fromkeys(profile.branch.tolist()))
    place = np.array([order.index(b) for b in profile.branch.tolist()])
    around = np.concatenate([place[use], place[[span.start, span.throat, span.end]]])
    first, count = int(around.min()), int(np.ptp(around)) + 1
    column = np.clip(place - first, 0, count - 1)
    middle = profile.s[span.throat]
    design = np.zeros((len(place), count + 1))
    design[np.arange(len(place)), column] = 1.0
    design[:, -1] = profile.s - middle
    prior, target, strength = _priors(count)
    rows = np.vstack([prior, design[span.throat], design[use]])
    y = np.concatenate([target, np.log(normal[[span.throat]]), np.log(profile.diameter[use])])
    off = np.maximum(profile.s[span.start] - profile.s[use], profile.s[use] - profile.s[span.end])
    near = 1.0 / (1.0 + (off / (_NEAR * profile.diameter[use])) ** 2)
    base = np.concatenate([strength, [_FAINT / NOISE**2], profile.weight[use] * near / NOISE**2])
    solution = _biweight(rows, y, base, fixed=len(target) + 1)
    return _supported(profile, np.exp(design @ solution), use, span)


def _priors(levels: int) -> tuple[Floats, Floats, Floats]:
    """Rows, targets and weights of the priors: steps between branches, and the taper."""
    matrix = np.zeros((levels, levels + 1))
    for k in range(levels - 1):
        matrix[k, k], matrix[k, k + 1] = -1.0, 1.0
    matrix[-1, -1] = 1.0
    target = np.array([*[STEP] * (levels - 1), TAPER])
    return matrix, target, 1.0 / np.array([*[STEP_SD] * (levels - 1), _TAPER_SD]) ** 2


def _biweight(rows: Floats, y: Floats, base: Floats, fixed: int) -> Floats:
    """Least squares in which rows after the first `fixed` lose weight with their distance."""
    robust = np.ones(len(y))
    solution = np.zeros(rows.shape[1])
    for _ in range(20):
        weight = base * robust
        solution = np.linalg.solve((rows.T * weight) @ rows, (rows.T * weight) @ y)
        rest = y - rows @ solution
        cut = np.where(rest < 0, _CUT, _CUT_WIDE)
        robust = np.clip(1.0 - (rest / cut) ** 2, 0.0, 1.0) ** 2
        robust[:fixed] = 1.0
    return np.asarray(solution)


def _supported(
    profile: Profile, reference: Floats, use: npt.NDArray[np.int64], span: Span
) -> Floats:
    """Limit the reference on each side of the throat to what the healthy vessel there shows."""
    result = np.array(reference)
    levels = []
    sides = (
        (use[use < span.start], slice(None, span.throat)),
        (use[use > span.end], slice(span.throat + 1, None)),
    )
    for members, part in sides:
        if len(members) >= 3:
            level = float(np.median(profile.diameter[members]))
            levels.append(level)
            result[part] = np.minimum(result[part], level)
    if levels:
        result[span.throat] = min(result[span.throat], max(levels))
    return result


def _window(profile: Profile, healthy: npt.NDArray[np.bool_], span: Span) -> npt.NDArray[np.int64]:
    """Healthy points nearest to the span: `_WINDOW` diameters of vessel on each side."""
    gap = np.where(healthy, profile.weight, 0.0)
    mask = np.zeros(len(healthy), np.bool_)
    mask[: span.start] = np.cumsum(gap[: span.start][::-1])[::-1] <= _WINDOW
    mask[span.end + 1 :] = np.cumsum(gap[span.end + 1 :]) <= _WINDOW
    return np.flatnonzero(mask & healthy)
