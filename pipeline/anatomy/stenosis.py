"""Lesions: narrowings of the lumen against a healthy reference fitted on both sides of each.

Along every centreline the area-equivalent diameter ``D = 2 sqrt(A / pi)`` is searched for valleys that recover on
both sides (a vessel that only tapers has none). The reference at a valley is a weighted least-squares line in
``log D`` over the healthy points proximal and distal of it, one level a branch, one taper, with weak priors on the
taper and on the step at a bifurcation (Murray: the daughters of a symmetric bifurcation are 21 % thinner), so that a
lesion at a bifurcation or ostium still has one. Points far from the line lose their weight (Tukey's biweight).

Reference: Huber, Ronchetti, Robust Statistics, 2nd ed. (2009), doi 10.1002/9780470434697.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from pipeline.anatomy.surface import Floats
from pipeline.anatomy.types import Centerline, Lesion

_PROMINENCE = 0.08  # smallest dip searched for, as a part of the diameter
_WINDOW = 3.0  # healthy diameters used on each side of a lesion
_TAPER, _TAPER_SD = -0.008, 0.012  # of log D per mm
_STEP, _STEP_SD = -0.10, 0.10  # of log D at a bifurcation
_FLARE = 1.15  # rounder than this, in terms of the typical roundness: no flare
_NOISE = 0.06  # of log D
_CUT = 0.25  # Tukey: narrower than the fit by more has no weight
_CUT_WIDE = 0.35  # the same for wider


@dataclass(frozen=True, slots=True)
class Profile:
    """Diameter along the anatomical part of one centreline.

    Attributes:
        line: The centreline it belongs to.
        s: Abscissa [mm], ``(n,)``.
        diameter: Area-equivalent diameter [mm], gaps bridged, ``(n,)``.
        known: Where a section exists.
        branch: Branch numbers.
        points: ``(n, 3)`` [mm].
    """

    line: int
    s: Floats
    diameter: Floats
    known: npt.NDArray[np.bool_]
    branch: npt.NDArray[np.int32]
    points: Floats


@dataclass(frozen=True, slots=True)
class Valley:
    """A narrowing of one profile, as indices into it."""

    start: int
    throat: int
    end: int
    reference: float

    def stenosis(self, profile: Profile) -> float:
        """Diameter stenosis."""
        return 1.0 - float(profile.diameter[self.throat]) / self.reference


def find_lesions(lines: Sequence[Centerline], minimum: float) -> tuple[Lesion, ...]:
    """Find the narrowings of a tree from `minimum` diameter stenosis on, proximal first.

    Args:
        lines: Centrelines with areas, one an outlet.
        minimum: Smallest diameter stenosis to report, e.g. 0.25.
    """
    found: list[tuple[Profile, Valley]] = []
    profiles = [_profile(index, line) for index, line in enumerate(lines)]
    for profile in sorted(profiles, key=_main_vessel_first):
        for valley in _valleys(profile):
            if valley.stenosis(profile) >= minimum and not _known(found, profile, valley):
                found.append((profile, valley))
    lesions = [_lesion(lines, profile, valley) for profile, valley in found]
    lesions.sort(key=lambda lesion: (lesion.throat_mm, lesion.outlet))
    numbers: dict[str, int] = {}
    named = []
    for lesion in lesions:
        numbers[lesion.outlet] = numbers.get(lesion.outlet, 0) + 1
        named.append(replace(lesion, name=f"{lesion.outlet}-{numbers[lesion.outlet]}"))
    return tuple(named)


def _profile(index: int, line: Centerline) -> Profile:
    inside = ~line.extension
    s, area = line.abscissa_mm[inside], line.area_mm2[inside]
    diameter = 2.0 * np.sqrt(area / np.pi)
    known = _unflared(diameter, area / (np.pi * line.radius_mm[inside] ** 2))
    bridged = np.interp(s, s[known], diameter[known]) if known.any() else 2 * line.radius_mm[inside]
    return Profile(index, s, bridged, known, line.branch[inside], line.points_mm[inside])


def _main_vessel_first(profile: Profile) -> tuple[float, ...]:
    """Sorting key: at every bifurcation the line into the wider daughter comes first.

    A narrowing of a stem is then measured against the main vessel beyond it, not against a side branch.
    """
    branches = dict.fromkeys(profile.branch.tolist())
    return tuple(-float(np.median(profile.diameter[profile.branch == b])) for b in branches)


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


def _known(found: list[tuple[Profile, Valley]], profile: Profile, valley: Valley) -> bool:
    """Whether the narrowing has been found along another line through the same stem."""
    place = profile.points[valley.throat]
    return any(
        bool(np.linalg.norm(other.points[seen.throat] - place) < 0.5 * seen.reference)
        for other, seen in found
    )


def _valleys(profile: Profile) -> list[Valley]:
    """Narrowings of one profile with their references."""
    depth = -np.log(gaussian_filter1d(profile.diameter, 2.0, mode="nearest"))
    # a wide end before the inlet lets an ostial narrowing count; the outlet side must recover by itself
    padded = np.concatenate([[depth.min() - 1.0], depth])
    peaks, about = find_peaks(padded, prominence=-np.log(1.0 - _PROMINENCE))
    spans = []
    for peak, left, right in zip(
        (peaks - 1).tolist(),
        np.maximum(about["left_bases"] - 1, 0).tolist(),
        np.maximum(about["right_bases"] - 1, 0).tolist(),
        strict=True,
    ):
        level = -max(depth[left : peak + 1].min(), depth[peak : right + 1].min())
        start, end = _under(depth, peak, level + np.log(0.95))
        spans.append(_Span(left, start, peak, end, right))
    busy = np.zeros(len(depth), np.bool_)
    for span in spans:
        busy[span.start : span.end + 1] = True
    return [_refine(profile, busy, span) for span in spans]


@dataclass(frozen=True, slots=True)
class _Span:
    """Indices of a narrowing: where it could begin and end at most, its shoulders, its throat."""

    first: int
    start: int
    throat: int
    end: int
    last: int


def _under(depth: Floats, throat: int, level: float) -> tuple[int, int]:
    """The stretch around a throat where ``log D`` stays under `level`."""
    wide = np.flatnonzero(-depth >= level)
    before, after = wide[wide < throat], wide[wide > throat]
    start = int(before[-1]) if len(before) else 0
    end = int(after[0]) if len(after) else len(depth) - 1
    return start, end


def _refine(profile: Profile, busy: npt.NDArray[np.bool_], span: _Span) -> Valley:
    """Fit the reference outside the span, move the shoulders to it, repeat."""
    low = np.where(profile.known, profile.diameter, np.inf)[span.start : span.end + 1]
    if np.isfinite(low).any():
        span = replace(span, throat=span.start + int(np.argmin(low)))
    reference = profile.diameter
    for _ in range(6):
        healthy = ~busy & profile.known
        healthy[span.start : span.end + 1] = False
        reference = _reference(profile, healthy, (span.start, span.end))
        reference = _supported(profile, reference, healthy, span)
        moved = _shoulders(profile, reference, span)
        if (moved.start, moved.end) == (span.start, span.end):
            break
        span = moved
    return Valley(span.start, span.throat, span.end, float(reference[span.throat]))


def _shoulders(profile: Profile, reference: Floats, span: _Span) -> _Span:
    """Move the shoulders of a span to where its two flanks meet the reference."""
    lost = reference - profile.diameter
    part = lost / max(float(lost[span.throat]), 1e-12)
    before = slice(span.throat, span.first - 1 if span.first > 0 else None, -1)
    after = slice(span.throat, span.last + 1)
    here = float(profile.s[span.throat])
    start = here - _flank(here - profile.s[before], part[before])
    end = here + _flank(profile.s[after] - here, part[after])
    first, last = np.searchsorted(profile.s, [start, end])
    return replace(span, start=min(int(first), span.throat), end=min(int(last), len(profile.s) - 1))


def _flank(distance: Floats, part: Floats) -> float:
    """Distance from the throat to a shoulder.

    The last bit of a smooth shoulder drowns in noise, so the flank is extrapolated from where half and 15 % of the
    depth are left, half-way between a straight flank and a parabolic one.

    Args:
        distance: From the throat outward [mm], ``(n,)``, 0 first.
        part: Remaining part of the depth, 1 at the throat, ``(n,)``.
    """
    far = _first_below(distance, part, 0.15)
    near = _first_below(distance, part, 0.5)
    if far is None or near is None:  # the next narrowing or the vessel's end comes first
        return float(distance[np.argmin(part)])
    straight = far + 0.15 * (far - near) / 0.35
    root = np.sqrt([0.5, 0.15])
    parabolic = far + root[1] * (far - near) / (root[0] - root[1])
    return float(min(0.5 * (straight + parabolic), distance[-1]))


def _first_below(distance: Floats, part: Floats, level: float) -> float | None:
    below = np.flatnonzero(part < level)
    if len(below) == 0 or below[0] == 0:
        return None
    k = int(below[0])
    t = (part[k - 1] - level) / (part[k - 1] - part[k])
    return float(distance[k - 1] + t * (distance[k] - distance[k - 1]))


def _reference(profile: Profile, healthy: npt.NDArray[np.bool_], span: tuple[int, int]) -> Floats:
    """Healthy diameter along the profile, from the healthy points nearest to a span."""
    use = _window(profile, healthy, span)
    middle = profile.s[(span[0] + span[1]) // 2]
    low, high = sorted((int(profile.branch[span[0]]), int(profile.branch[span[1]])))
    order = list(dict.fromkeys(profile.branch.tolist()))
    seen = set(profile.branch[use].tolist()) | {low, high}
    first, last = (f([order.index(b) for b in seen]) for f in (min, max))
    wanted = order[first : last + 1]
    column = {b: k for k, b in enumerate(wanted)}
    matrix, target, weight = _priors(len(wanted), float(np.median(profile.diameter)))
    y = np.log(profile.diameter[use])
    rows = np.zeros((len(y), len(wanted) + 1))
    rows[np.arange(len(y)), [column[b] for b in profile.branch[use].tolist()]] = 1.0
    rows[:, -1] = profile.s[use] - middle
    gap = np.gradient(profile.s)[use] / profile.diameter[use]  # a diameter is one observation
    off = np.maximum(profile.s[span[0]] - profile.s[use], profile.s[use] - profile.s[span[1]])
    near = 1.0 / (1.0 + (off / (2.0 * profile.diameter[use])) ** 2)
    base = np.maximum(gap, 1e-6) * near / _NOISE**2
    robust = np.ones(len(y))
    solution = np.zeros(len(wanted) + 1)
    for _ in range(20):
        w = np.concatenate([weight, base * robust])
        a, b = np.vstack([matrix, rows]), np.concatenate([target, y])
        solution = np.linalg.solve((a.T * w) @ a, (a.T * w) @ b)
        rest = y - rows @ solution
        cut = np.where(rest < 0, _CUT, _CUT_WIDE)
        robust = np.clip(1.0 - (rest / cut) ** 2, 0.0, 1.0) ** 2
    nearest = np.array(
        [
            column[b] if b in column else (0 if order.index(b) < first else len(wanted) - 1)
            for b in profile.branch.tolist()
        ]
    )
    return np.asarray(np.exp(solution[nearest] + solution[-1] * (profile.s - middle)))


def _priors(levels: int, diameter: float) -> tuple[Floats, Floats, Floats]:
    """Rows, targets and weights of the priors: steps between branches, the taper, a faint level."""
    matrix = np.zeros((levels + 1, levels + 1))
    target, weight = np.zeros(levels + 1), np.zeros(levels + 1)
    for k in range(levels - 1):
        matrix[k, k], matrix[k, k + 1] = -1.0, 1.0
        target[k], weight[k] = _STEP, 1.0 / _STEP_SD**2
    matrix[levels - 1, 0], target[levels - 1], weight[levels - 1] = 1.0, np.log(diameter), 1e-3
    matrix[levels, levels], target[levels], weight[levels] = 1.0, _TAPER, 1.0 / _TAPER_SD**2
    return matrix, target, weight


def _supported(
    profile: Profile,
    reference: Floats,
    healthy: npt.NDArray[np.bool_],
    span: _Span,
) -> Floats:
    """Limit the reference on each side of the throat to what the healthy vessel there shows."""
    start, throat, end = span.start, span.throat, span.end
    use = _window(profile, healthy, (start, end))
    result = reference.copy()
    sides = (use[use < start], slice(None, throat)), (use[use > end], slice(throat + 1, None))
    levels = []
    for members, part in sides:
        if len(members) >= 3:
            level = float(np.median(profile.diameter[members]))
            levels.append(level)
            result[part] = np.minimum(result[part], level)
    if levels:
        result[throat] = min(result[throat], max(levels))
    return result


def _window(
    profile: Profile, healthy: npt.NDArray[np.bool_], span: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Healthy points nearest to the span: `_WINDOW` diameters of vessel on each side."""
    gap = np.where(healthy, np.gradient(profile.s) / profile.diameter, 0.0)
    before = np.cumsum(gap[: span[0]][::-1])[::-1] <= _WINDOW
    after = np.cumsum(gap[span[1] + 1 :]) <= _WINDOW
    mask = np.zeros(len(healthy), np.bool_)
    mask[: span[0]], mask[span[1] + 1 :] = before, after
    return np.flatnonzero(mask & healthy)


def _lesion(lines: Sequence[Centerline], profile: Profile, valley: Valley) -> Lesion:
    branch = profile.branch[valley.throat]
    own = lines[profile.line].outlet
    others = [line.outlet for line in lines if bool((line.branch == branch).any())]
    outlets = (own, *(name for name in others if name != own))
    s, least = profile.s, float(profile.diameter[valley.throat])
    return Lesion(
        name="",
        outlet=outlets[0],
        outlets=outlets,
        throat_mm=float(s[valley.throat]),
        start_mm=float(s[valley.start]),
        end_mm=float(s[valley.end]),
        length_mm=float(s[valley.end] - s[valley.start]),
        reference_diameter_mm=valley.reference,
        minimum_lumen_diameter_mm=least,
        minimum_lumen_area_mm2=float(np.pi / 4 * least**2),
        diameter_stenosis=1.0 - least / valley.reference,
        area_stenosis=1.0 - (least / valley.reference) ** 2,
        centre_mm=tuple(profile.points[valley.throat].tolist()),
    )
