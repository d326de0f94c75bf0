"""What a label must satisfy: each row a number, two limits and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["PASS", "WARN", "FAIL"]
ORDER: tuple[Verdict, ...] = ("PASS", "WARN", "FAIL")
TOLD = {
    "converged": "PASS",
    "periodic": "PASS",
    "extrapolated": "WARN",
    "regularised": "WARN",
    "time-averaged": "WARN",
}
"""Verdict on how a flow was found (`solver.problem.Status`)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check.

    Attributes:
        check: What is looked at.
        value: Found; None where it is not known.
        unit: Of the value; ``"1"`` if none.
        warn: Beyond this a reader is warned; for a word, what is wanted.
        fail: Beyond this the label is not used; None where nothing is so bad.
        verdict: PASS, WARN or FAIL.
    """

    check: str
    value: float | str | None
    unit: str
    warn: float | str
    fail: float | None
    verdict: Verdict

    @property
    def reason(self) -> str:
        """The row in words."""
        value = self.value if not isinstance(self.value, float) else f"{self.value:.3g}"
        unit = "" if self.unit == "1" else f" {self.unit}"
        limit = self.fail if self.verdict == "FAIL" and self.fail is not None else self.warn
        wanted = limit if isinstance(limit, str) else f"{limit:g}"
        return (
            f"{self.check}: {'not known' if value is None else value}{unit} (limit {wanted}{unit})"
        )


def worst(rows: list[Row]) -> Verdict:
    """Of all rows."""
    return max((row.verdict for row in rows), key=ORDER.index)


def at_most(
    check: str, value: float | None, warn: float, fail: float | None, unit: str = "1"
) -> Row:
    """A row of a number that should be small; what is not known, or not finite, is a warning or a failure."""
    if value is None:
        return Row(check, None, unit, warn, fail, "WARN")
    bad = fail is not None and not value <= fail
    verdict: Verdict = "FAIL" if bad else "PASS" if value <= warn else "WARN"
    return Row(check, float(value), unit, warn, fail, verdict)


def at_least(
    check: str, value: float | None, warn: float, fail: float | None, unit: str = "1"
) -> Row:
    """A row of a number that should be large."""
    told = at_most(check, None if value is None else -value, -warn, None if fail is None else -fail)
    return Row(check, value, unit, warn, fail, told.verdict)


def rows(
    numbers: Mapping[str, Any], flow: Mapping[str, float], discretisation: float | None
) -> list[Row]:
    """All rows of a result.

    Args:
        numbers: ``ffr.json``.
        flow: What `pipeline.certificate.flow.sanity` tells.
        discretisation: Largest error of an FFR; None where it is not known.
    """
    return [
        *_solver(numbers, flow),
        *_flow(numbers, flow),
        *_mesh(numbers),
        *_units(numbers),
        *_range(numbers),
        at_most("largest discretisation error of an FFR", discretisation, 0.02, 0.05),
    ]


def _solver(numbers: Mapping[str, Any], flow: Mapping[str, float]) -> Iterator[Row]:
    solver, vessels = numbers["evidence"]["solver"], numbers["vessels"]
    status, periodic = solver["status"], solver["status"] == "periodic"
    verdict: Verdict = TOLD.get(status, "FAIL")  # type: ignore[assignment]
    yield Row("state of the flow", status, "1", "converged or periodic", None, verdict)
    yield at_most("mass balance |sum Q| / Q in", solver["mass_balance"], 1e-6, 1e-4)
    line = max(v["outlet_line_error_mmHg"] / abs(v["outlet_pressure_mmHg"]) for v in vessels)
    limits = (1e-3, 1e-2) if periodic else (1e-6, 1e-3)
    yield at_most("largest outlet pressure off its model, relative", line, *limits)
    given = [v["outlet_flow_error"] for v in vessels if v["outlet_flow_error"] is not None]
    if given:
        yield at_most("largest error of a flow given at an outlet, relative", max(given), 0.01, 0.1)
    if periodic:
        limit = solver["lacking_limit"]
        yield at_most("lacking to be periodic", solver["lacking"], limit, 30 * limit)
        return
    limit = solver["tolerance"] * (1 + 1e-9)
    if status == "converged":
        yield at_most("nonlinear residual, relative", solver["residual"], limit, 1e3 * limit)
        yield at_least("decades that the residual fell", flow["residual_decades"], 3.0, 0.0)


def _flow(numbers: Mapping[str, Any], flow: Mapping[str, float]) -> Iterator[Row]:
    throats = [x["throat_reynolds"] for x in numbers["lesions"]]
    yield at_most(
        "largest Reynolds number, throats included", max([flow["reynolds"], *throats]), 1000, 4000
    )
    yield at_most("peak velocity", flow["peak_m_per_s"], 5.0, 12.0, "m/s")
    yield at_most(
        "largest part of an open end with flow the wrong way", flow["reversed_area"], 0.05, 0.5
    )
    mismatch = numbers["evidence"]["section_flow_mismatch"]["median"]
    if mismatch is not None:
        yield at_most("median flow mismatch of the cross-sections", mismatch, 0.02, 0.2)


def _mesh(numbers: Mapping[str, Any]) -> Iterator[Row]:
    quality = numbers["evidence"]["mesh"]["quality"]
    yield at_least("worst dihedral angle", quality["min_dihedral_deg"], 3.0, 0.0, "degrees")
    yield at_least("worst scaled Jacobian", quality["min_scaled_jacobian"], 0.02, 0.0)
    yield at_most(
        "volume of the mesh off the lumen's, relative", abs(quality["volume_error"]), 0.05, 0.2
    )
    refused = sum(rung["outcome"] != "used" for rung in quality["rungs"])
    yield at_most("ways to mesh it that failed before", refused, 2, None)
    across = [x["elements_across_throat"] for x in numbers["lesions"]]
    known = [n for n in across if n is not None and math.isfinite(n)]
    if across:
        least = min(known) if len(known) == len(across) else None
        yield at_least("fewest elements across a throat", least, 4.0, 1.5)


def _units(numbers: Mapping[str, Any]) -> Iterator[Row]:
    diameter = numbers["inlet"]["diameter_mm"]
    check = "diameter of the inlet off 1.5 to 8 mm, as a factor"
    yield at_most(check, max(diameter / 8.0, 1.5 / diameter), 1.0, 3.0)
    pressure = numbers["reference"]["Pa_mmHg"]
    check = "aortic pressure off 50 to 160 mmHg, as a factor"
    yield at_most(check, max(pressure / 160.0, 50.0 / pressure), 1.0, 3.0)


def _range(numbers: Mapping[str, Any]) -> Iterator[Row]:
    ffr = [v["ffr"] for v in numbers["vessels"]] + [x["ffr_distal"] for x in numbers["lesions"]]
    yield at_most("largest FFR", float(np.max(ffr)), 1.01, 1.05)  # NaN where one is
    yield at_least("least FFR", float(np.min(ffr)), 0.15, 0.0)
    off = abs(numbers["reference"]["ffr_at_anatomical_inlet"] - 1.0)
    yield at_most("|FFR - 1| at the anatomical inlet", off, 0.03, 0.15)
