"""Pairs of FFR, reference and model: at vessel ends and distal of lesions; and pressures along lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.compare.statistics import THRESHOLD
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import Vessel

STENOSES = ((0.0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1.0))
REYNOLDS = ((0.0, 300.0), (300.0, 600.0), (600.0, math.inf))
PLAQUES = ((0.0, 0.05), (0.05, 0.25), (0.25, 1.0))
"""Calcium's part of the wall and plaque of a lesion."""


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of values.

    Attributes:
        case: Of which case.
        group: Of which tree or patient.
        kind: vessel or lesion.
        name: Of the vessel end or lesion.
        reference: FFR.
        error: Its discretisation error; NaN where not known.
        other: FFR of the model.
        std: What the model says of its own spread; NaN where nothing.
        stenosis: Of the lesion, or the largest of the vessel's line.
        reynolds: Of its throat; NaN without a lesion.
        calcium: Part of that lesion's wall and plaque; NaN where none was segmented.
    """

    case: str
    group: str
    kind: str
    name: str
    reference: float
    error: float
    other: float
    std: float
    stenosis: float
    reynolds: float
    calcium: float

    @property
    def difference(self) -> float:
        """Model less reference."""
        return self.other - self.reference

    @property
    def flipped(self) -> bool:
        """Whether the decision at the threshold is another."""
        return (self.other <= THRESHOLD) != (self.reference <= THRESHOLD)

    @property
    def vessel(self) -> str:
        """Name of the vessel: that of the end or lesion without its numbers, ``LAD`` of ``LAD-2``, ``D`` of ``D1``."""
        return self.name.split("-")[0].rstrip("0123456789") or self.name

    def plain(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Pressure over aortic pressure along one line, ``(s,)``."""

    case: str
    name: str
    abscissa_mm: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]


def pairs(vessel: Vessel, answers: Mapping[str, Any], told: Prediction) -> Iterator[Row]:
    """Every value that both tell of a case."""
    reynolds, calcium = answers["throat_reynolds"], answers["calcium"]
    for kind, said in (("vessel", told.ffr), ("lesion", told.lesions)):
        for name, (ffr, error) in answers[f"{kind}s"].items():
            if name not in said:
                continue
            worst = _worst(vessel, kind, name)
            yield Row(
                vessel.case,
                answers["group"],
                kind,
                name,
                float(ffr),
                math.nan if error is None else float(error),
                float(said[name]),
                float(told.std.get(name, math.nan)),
                0.0 if worst is None else float(worst["diameter_stenosis"]),
                math.nan if worst is None else float(reynolds[worst["name"]]),
                math.nan if worst is None else calcium.get(worst["name"], math.nan),
            )


def _worst(vessel: Vessel, kind: str, name: str) -> Mapping[str, Any] | None:
    """The lesion itself, or the worst one on the way to a vessel end."""
    on_way = [
        lesion
        for lesion in vessel.lesions
        if (lesion["name"] == name if kind == "lesion" else name in lesion["outlets"])
    ]
    return max(on_way, key=lambda lesion: float(lesion["diameter_stenosis"]), default=None)


def strata(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Bias, mean absolute difference and decisions of vessel ends by stenosis, Reynolds number, calcium, vessel."""
    ends = [row for row in rows if row.kind == "vessel"]
    found = []
    for what, classes in (("stenosis", STENOSES), ("reynolds", REYNOLDS), ("calcium", PLAQUES)):
        for low, high in classes:
            chosen = [row for row in ends if low <= getattr(row, what) < high]
            found.append(_stratum(what, low, None if math.isinf(high) else high, chosen))
    for name in sorted({row.vessel for row in ends}):
        found.append(_stratum("vessel", name, None, [row for row in ends if row.vessel == name]))
    return [one for one in found if one["n"]]


def _stratum(
    what: str, low: float | str, high: float | None, rows: Sequence[Row]
) -> dict[str, Any]:
    d = np.array([row.difference for row in rows])
    return {
        "by": what,
        "from": low,
        "to": high,
        "n": len(d),
        "bias": float(d.mean()) if len(d) else None,
        "mae": float(np.abs(d).mean()) if len(d) else None,
        "flips": sum(row.flipped for row in rows),
    }
