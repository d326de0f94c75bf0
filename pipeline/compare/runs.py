"""Two runs of one vessel side by side: FFR at the same places, lesion by lesion.

Names of ends and lesions differ between runs (a CT's and a phantom's, say), and so do the ends themselves where one
tree was cut shorter: places are matched in space. Both runs must lie in the same frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from meshing.errors import InputError
from pipeline.report.data import PullBack, pull_backs, unfinished

SAME_MM = 1.5
"""Centrelines nearer than this, or than their vessel's radius, are of one vessel."""
SAME_LESION_MM = 6.0
"""So far apart throats may be and still be of one lesion."""
Row = dict[str, Any]


def compare(first: Path, second: Path) -> dict[str, Any]:
    """FFR of two runs at the places they have in common.

    Args:
        first: A run folder whose stages up to ``ffr`` have ended.
        second: Another of the same vessel, in the same frame.

    Returns:
        ``vessels``: at every end of the first run, or as far towards it as the second goes, its place [mm from the
        anatomical inlet], both FFR and their difference (second minus first); ``lesions``: the same distal of each
        lesion of the first run, where its FFR is taken (or, where the second's vessel is shorter, at the last common
        place behind the lesion), whether the second has the lesion or not, and both stenoses;
        ``largest_difference``; ``mean_difference`` along all common centrelines, of magnitudes.

    Raises:
        InputError: No FFR in a folder; nothing in common.
    """
    runs = [_read(folder) for folder in (first, second)]
    (numbers, curves), (others, theirs) = runs
    places = cKDTree(np.concatenate([curve.points_mm for curve in theirs]))
    ffr = np.concatenate([curve.ffr for curve in theirs])
    vessels, gaps = [], []
    for curve in curves:
        common, nearest = _common(curve, places)
        gaps.append(np.abs(ffr[nearest] - curve.ffr)[common])
        if common.any():
            k = int(np.flatnonzero(common)[-1])
            row = _row(curve.outlet, float(curve.ffr[k]), float(ffr[nearest[k]]))
            vessels.append({**row, "at_mm": float(curve.abscissa_mm[k]),
                            "beyond_mm": float(curve.abscissa_mm[-1] - curve.abscissa_mm[k])})  # fmt: skip
        else:
            vessels.append(_row(curve.outlet, float(curve.ffr[-1]), None))
    if not any(gap.size for gap in gaps):
        raise InputError(
            file=second,
            wanted=f"centrelines within {SAME_MM:g} mm of those of {first}",
            got="none",
            remedy="compare runs of one vessel in one frame (mm, LPS)",
        )
    by_outlet = {curve.outlet: curve for curve in curves}
    lesions = [
        _lesion(x, others["lesions"], _beyond(x, by_outlet[x["outlet"]], places, ffr))
        for x in numbers["lesions"]
    ]
    every = [abs(row["difference"]) for row in vessels + lesions if row["difference"] is not None]
    return {
        "first": str(first),
        "second": str(second),
        "vessels": vessels,
        "lesions": lesions,
        "largest_difference": max(every),
        "mean_difference": float(np.concatenate(gaps).mean()),
    }


def _read(folder: Path) -> tuple[Mapping[str, Any], tuple[PullBack, ...]]:
    try:
        numbers = json.loads((folder / "ffr" / "ffr.json").read_text())
        return numbers, pull_backs(folder / "ffr" / "centerlines.vtp")
    except (OSError, ValueError, KeyError) as error:
        raise unfinished(folder, error, "ffr") from error


def _common(
    curve: PullBack, places: cKDTree
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Where a curve runs beside those of the other run, not beyond their ends; and their nearest points."""
    gap, nearest = places.query(curve.points_mm)
    radius = np.nan_to_num(curve.diameter_mm / 2, nan=0.0)
    back = cKDTree(curve.points_mm).query(places.data[nearest])[1]
    beside = np.abs(curve.abscissa_mm[back] - curve.abscissa_mm) < SAME_MM / 2
    return np.asarray((gap < np.maximum(SAME_MM, radius)) & beside), np.asarray(nearest)


def _row(name: str, first: float, second: float | None) -> Row:
    difference = None if second is None else second - first
    return {"name": name, "first": first, "second": second, "difference": difference}


def _beyond(
    lesion: Mapping[str, Any], curve: PullBack, places: cKDTree, ffr: npt.NDArray[np.float64]
) -> float | None:
    """Mean difference of FFR where that of a lesion is taken.

    Where the other run's vessel ends before that, at the last common place behind the lesion; None where there is none.
    """
    s, window = curve.abscissa_mm, lesion["distal_window"]
    at = (s >= window["start_mm"]) & (s <= window["stop_mm"])
    if not at.any():
        at[np.abs(s - window["stop_mm"]).argmin()] = True
    common, nearest = _common(curve, places)
    if not (at & common).any():
        at = np.zeros(len(s), np.bool_)
        at[np.flatnonzero(common & (s >= lesion["end_mm"]) & (s <= window["stop_mm"]))[-1:]] = True
    at &= common
    return float((ffr[nearest] - curve.ffr)[at].mean()) if at.any() else None


def _lesion(
    lesion: Mapping[str, Any], others: list[Mapping[str, Any]], difference: float | None
) -> Row:
    """A lesion, with the other run's whose throat is nearest, if one is near enough."""
    centre = np.asarray(lesion["centre_mm"])
    gaps = [float(np.linalg.norm(centre - np.asarray(x["centre_mm"]))) for x in others]
    k = int(np.argmin(gaps)) if gaps else -1
    found = others[k] if gaps and gaps[k] < SAME_LESION_MM else None
    here = lesion["ffr_distal"]
    return {
        **_row(lesion["name"], here, None if difference is None else here + difference),
        "centre_mm": [float(x) for x in centre],
        "reference_diameter_mm": lesion["reference_diameter_mm"],
        "first_stenosis": lesion["diameter_stenosis"],
        "second_stenosis": None if found is None else found["diameter_stenosis"],
        "second_name": None if found is None else found["name"],
    }
