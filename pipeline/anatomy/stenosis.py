"""Lesions: narrowings of the lumen against the healthy vessel on both sides of each.

Along every centreline the area-equivalent diameter ``D = 2 sqrt(A / pi)``, bulges clipped, is searched for valleys
that recover on both sides (a vessel that only tapers has none). What is healthy follows from the robust baseline of the
vessel (`profile.baseline`); the reference at a valley from the healthy points beside it (`reference`); the shoulders
from where the flanks of the valley meet that reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from pipeline.anatomy.profile import Profile, baseline, profile_of
from pipeline.anatomy.reference import Span, local_reference
from pipeline.anatomy.surface import Floats
from pipeline.anatomy.types import Centerline, Lesion

_PROMINENCE = 0.08  # smallest dip searched for, as a part of the diameter
_BULGE = 1.3  # wider than the baseline by so much: no measure of health
_THIN = 0.8  # the same for narrower


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
    profiles = [profile_of(index, line) for index, line in enumerate(lines)]
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


def _main_vessel_first(profile: Profile) -> tuple[float, ...]:
    """Sorting key: at every bifurcation the line into the wider daughter comes first.

    A narrowing of a stem is then measured against the main vessel beyond it, not against a side branch.
    """
    branches = dict.fromkeys(profile.branch.tolist())
    return tuple(-float(np.median(profile.diameter[profile.branch == b])) for b in branches)


def _known(found: list[tuple[Profile, Valley]], profile: Profile, valley: Valley) -> bool:
    """Whether the narrowing has been found along another line through the same stem."""
    place = profile.points[valley.throat]
    return any(
        bool(np.linalg.norm(other.points[seen.throat] - place) < 0.5 * seen.reference)
        for other, seen in found
    )


def _valleys(profile: Profile) -> list[Valley]:
    """Narrowings of one profile with their references."""
    from scipy.signal import find_peaks  # half a second, which not every stage should wait

    normal = baseline(profile)
    clipped = np.minimum(profile.diameter, _BULGE * normal)
    depth = -np.log(gaussian_filter1d(clipped, 2.0, mode="nearest"))
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
        spans.append(Span(left, start, peak, end, right))
    busy = (profile.diameter > _BULGE * normal) | (profile.diameter < _THIN * normal)
    for span in spans:
        busy[span.start : span.end + 1] = True
    return [_refine(profile, normal, busy, span) for span in spans]


def _under(depth: Floats, throat: int, level: float) -> tuple[int, int]:
    """The stretch around a throat where ``log D`` stays under `level`."""
    wide = np.flatnonzero(-depth >= level)
    before, after = wide[wide < throat], wide[wide > throat]
    start = int(before[-1]) if len(before) else 0
    end = int(after[0]) if len(after) else len(depth) - 1
    return start, end


def _refine(profile: Profile, normal: Floats, busy: npt.NDArray[np.bool_], span: Span) -> Valley:
    """Fit the reference outside the span, move the shoulders to it, repeat."""
    low = np.where(profile.known, profile.diameter, np.inf)[span.start : span.end + 1]
    if np.isfinite(low).any():
        span = replace(span, throat=span.start + int(np.argmin(low)))
    reference = profile.diameter
    for _ in range(6):
        healthy = ~busy & profile.known
        healthy[span.start : span.end + 1] = False
        reference = local_reference(profile, normal, healthy, span)
        moved = _shoulders(profile, reference, span)
        if (moved.start, moved.end) == (span.start, span.end):
            break
        span = moved
    return Valley(span.start, span.throat, span.end, float(reference[span.throat]))


def _shoulders(profile: Profile, reference: Floats, span: Span) -> Span:
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
