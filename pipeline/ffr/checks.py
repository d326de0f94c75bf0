"""What a result must satisfy to be used, with numbers: each check has a value, a limit and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MASS_BALANCE = 1e-6
OUTLET_LINE = 1e-6  # of the outlet's pressure
MEAN_LINE = 1e-3  # the same for means over a beat
FFR_AT_INLET = 0.03
SECTION_FLOW = 0.02
ACROSS_THROAT = 4.0
GIVEN_FLOW = 0.01


def checks(
    reference: Mapping[str, Any],
    vessels: Sequence[Mapping[str, Any]],
    lesions: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The checks of one result; ``passed`` is false where a reader must be warned."""
    return [
        *_solver(evidence["solver"]),
        _below(
            "largest |p - pd - R Q| of an outlet over its pressure",
            max(v["outlet_line_error_mmHg"] / abs(v["outlet_pressure_mmHg"]) for v in vessels),
            MEAN_LINE if evidence["solver"]["status"] == "periodic" else OUTLET_LINE,
        ),
        _below(
            "|FFR - 1| at the anatomical inlet",
            abs(reference["ffr_at_anatomical_inlet"] - 1.0),
            FFR_AT_INLET,
        ),
        *_given(vessels),
        *_sections(evidence["section_flow_mismatch"]),
        *_throats(lesions),
    ]


def _below(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"check": name, "value": value, "limit": f"< {limit:g}", "passed": value < limit}


def _solver(solver: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if solver["status"] == "periodic":
        yield _below("what is lacking to be periodic", solver["lacking"], solver["lacking_limit"])
        yield _below("mass balance |sum Q| / Q in", solver["mass_balance"], MASS_BALANCE)
        return
    steady = solver["status"] == "converged"
    yield {
        "check": "steady state",
        "value": solver["status"],
        "limit": "converged",
        "passed": steady,
    }
    if steady:
        yield _below("nonlinear residual", solver["residual"], solver["tolerance"] * (1 + 1e-9))
    yield _below("mass balance |sum Q| / Q in", solver["mass_balance"], MASS_BALANCE)


def _given(vessels: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    errors = [v["outlet_flow_error"] for v in vessels if v["outlet_flow_error"] is not None]
    if errors:
        name = "largest error of a flow given at an outlet, root mean square over its mean"
        yield _below(name, max(errors), GIVEN_FLOW)


def _sections(mismatch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if mismatch["median"] is not None:
        yield _below("median flow mismatch of the cross-sections", mismatch["median"], SECTION_FLOW)


def _throats(lesions: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    across = [x["elements_across_throat"] for x in lesions if x["elements_across_throat"]]
    if across:
        yield {
            "check": "fewest elements across a throat",
            "value": min(across),
            "limit": f">= {ACROSS_THROAT:g}",
            "passed": min(across) >= ACROSS_THROAT,
        }
