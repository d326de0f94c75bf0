"""The diameter along one centreline, and the healthy diameter it varies about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.anatomy.surface import Floats
from pipeline.anatomy.types import Centerline

_FLARE = 1.15  # rounder than this, in terms of the typical roundness: no flare
TAPER, _TAPER_SD = -0.008, 0.02  # of log D per mm
_BEND_SD = 0.015  # change of the taper from one knot to the next
STEP, STEP_SD = -0.10, 0.10  # of log D at a bifurcation; -0.23 in a symmetric one (Murray)
NOISE = 0.06  # of log D
_KNOTS = 12.0  # mm between the knots of the baseline, at least


@dataclass(frozen=True, slots=True)
class Profile:
    """Diameter along the anatomical part of one centreline.

    Attributes:
        line: The centreline it belongs to.
        s: Abscissa [mm], ``(n,)``.
        diameter: Area-equivalent diameter [mm], gaps bridged, ``(n,)``.
        known: Where one vessel has a section of its own.
        branch: Branch numbers.
        points: ``(n, 3)`` [mm].
    """

    line: int
    s: Floats
    diameter: Floats
    known: npt.NDArray[np.bool_]
    branch: npt.NDArray[np.int32]
    points: Floats

    @property
    def weight(self) -> Floats:
        """Length of each sample in local diameters: a diameter of vessel is one observation."""
        return np.maximum(np.gradient(self.s) / self.diameter, 1e-6)


def profile_of(index: int, line: Centerline) -> Profile:
    """Make the profile of centreline number `index`."""
    inside = ~line.extension
    s, area = line.abscissa_mm[inside], line.area_mm2[inside]
    diameter = 2.0 * np.sqrt(area / np.pi)
    known = _unflared(diameter, area / (np.pi * line.radius_mm[inside] ** 2))
    bridged = np.interp(s, s[known], diameter[known]) if known.any() else 2 * line.radius_mm[inside]
    return Profile(index, s, bridged, known, line.branch[inside], line.points_mm[inside])


def _unflared(diameter: Floats, roundness: Floats) -> npt.NDArray[np.bool_]:
    """Sections that belong to one vessel: not missing, nor part of the flare beside a missing one.

    Args:
        diameter: With NaN where there is no section, ``(n,)``.
        roundness: Area over that of the inscribed circle, ``(n,)``.
    """
    known = np.isfinite(diameter)
    typical = float(np.median(roundness[known])) if known.any() else 1.0
    result = known.copy()
    for first in np.flatnonzero(np.diff(known.astype(np.int8))).tolist():
        step = 1 if known[first + 1] else -1  # away from the gap
        i = first + 1 if step == 1 else first
        while 0 <= i + step < len(known) and known[i + step]:
            if roundness[i] < _FLARE * typical or diameter[i + step] >= diameter[i]:
                break
            result[i] = False
            i += step
    return result


def baseline(profile: Profile) -> Floats:
    """Diameter the vessel would have without lesions and bulges, ``(n,)`` [mm].

    ``log D`` is piecewise linear with knots every 12 mm or four diameters, free to step at bifurcations, with weak
    priors on taper, its change, and the step. Fitted to the 60 % quantile first, then by Tukey's biweight about
    it, so that what covers less than half of the neighbourhood has no say.

    Reference: Huber, Ronchetti, Robust Statistics, 2nd ed. (2009), doi 10.1002/9780470434697.
    """
    design, prior, target, strength = _model(profile)
    known = profile.known if profile.known.sum() >= 3 else np.ones(len(profile.s), np.bool_)
    rows, y = design[known], np.log(profile.diameter[known])
    base = profile.weight[known] / NOISE**2

    def solve(weight: Floats) -> Floats:
        a = np.vstack([prior, rows])
        w = np.concatenate([strength, base * weight])
        b = np.concatenate([target, y])
        return np.asarray(np.linalg.solve((a.T * w) @ a, (a.T * w) @ b))

    weight = np.ones(len(y))
    for _ in range(30):
        rest = y - rows @ solve(weight)
        weight = np.where(rest > 0, 0.6, 0.4) * NOISE / np.maximum(abs(rest), 0.01)
    for _ in range(20):
        rest = y - rows @ solve(weight)
        cut = float(np.clip(4.0 * np.median(abs(rest)), 0.12, 0.3))
        weight = np.clip(1.0 - (rest / cut) ** 2, 0.0, 1.0) ** 2
    return np.asarray(np.exp(design @ solve(weight)))


def _model(profile: Profile) -> tuple[Floats, Floats, Floats, Floats]:
    """Hat functions on the knots of each branch ``(n, k)``; rows, targets and weights of the priors."""
    branches = list(dict.fromkeys(profile.branch.tolist()))
    columns: list[Floats] = []
    rows: list[dict[int, float]] = []
    target, strength = [], []
    for number in branches:
        mine = profile.branch == number
        s = profile.s[mine]
        spacing = max(_KNOTS, 4.0 * float(np.median(profile.diameter[mine])))
        knots = np.linspace(s[0], s[-1] + 1e-9, max(2, round(float(np.ptp(s)) / spacing) + 1))
        first = len(columns)
        for k in range(len(knots)):
            hat = np.interp(profile.s, knots, np.eye(len(knots))[k])
            columns.append(np.where(mine, hat, 0.0))
        gap = max(float(knots[1] - knots[0]), 1e-6)
        if first:
            rows.append({first - 1: -1.0, first: 1.0})
            target.append(STEP)
            strength.append(1.0 / STEP_SD**2)
        for k in range(first, first + len(knots) - 1):
            rows.append({k: -1.0 / gap, k + 1: 1.0 / gap})
            target.append(TAPER)
            strength.append(1.0 / _TAPER_SD**2)
        for k in range(first, first + len(knots) - 2):
            rows.append({k: 1.0 / gap, k + 1: -2.0 / gap, k + 2: 1.0 / gap})
            target.append(0.0)
            strength.append(1.0 / _BEND_SD**2)
    prior = np.zeros((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for k, value in row.items():
            prior[i, k] = value
    return np.stack(columns, axis=1), prior, np.array(target), np.array(strength)
