"""The numbers of ``ffr.json``; every key has its unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import manifest
from pipeline.anatomy.types import End
from pipeline.ffr.checks import FFR_AT_INLET
from pipeline.ffr.curves import Curve
from pipeline.ffr.load import Solution
from pipeline.physiology import MMHG, MMHG_S_PER_ML
from solver.outlets import Flow
from solver.waveform import value as value_of

NOTICE = "Research use only. Not a medical device."


def reference(solution: Solution, curves: Sequence[Curve]) -> dict[str, Any]:
    """The pressure FFR refers to, and where it is from.

    With a pressure inlet it is the prescribed mean aortic pressure, with a flow inlet the mean pressure over the
    anatomical inlet section.
    """
    section = curves[0].pressure_at(0.0)
    if solution.problem.inlet.kind == "pressure":
        value = value_of(solution.problem.inlet.p, None) / MMHG
        origin = "mean aortic pressure prescribed at the inlet"
    else:
        value, origin = section, "mean pressure over the anatomical inlet section"
    return {
        "definition": "FFR = p / Pa",
        "Pa_mmHg": value,
        "Pa_origin": origin,
        "pressure_at_anatomical_inlet_mmHg": section,
        "ffr_at_anatomical_inlet": section / value,
    }


def vessel(curve: Curve, end: End, solution: Solution, Pa_mmHg: float) -> dict[str, Any]:
    """One outlet: FFR at the anatomical end and the smallest along the way, flow, outlet line."""
    inside = np.flatnonzero(curve.vessel)
    lowest = inside[np.argmin(curve.pressure_mmHg[inside])]
    length = end_abscissa(curve, end)
    pressure = curve.pressure_at(length)
    patch, outlet = solution.result.patches[end.name], solution.problem.outlets[end.name]
    p0, R = outlet.steady()
    given = outlet.governs == "flow"
    lacking = p0 + R * patch.Q - (0.0 if given else patch.p)
    return {
        "name": end.name,
        "ffr": pressure / Pa_mmHg,
        "pressure_mmHg": pressure,
        "length_mm": length,
        "diameter_mm": end.diameter_mm,
        "ffr_min": float(curve.pressure_mmHg[lowest] / Pa_mmHg),
        "ffr_min_abscissa_mm": float(curve.line.abscissa_mm[lowest]),
        "ffr_min_point_mm": [float(x) for x in curve.line.points_mm[lowest]],
        "flow_mL_per_min": patch.Q * 60e6,
        "outlet_pressure_mmHg": patch.p / MMHG,
        "outlet_resistance_mmHg_s_per_mL": None if given else R / MMHG_S_PER_ML,
        "outlet_distal_pressure_mmHg": None if given else p0 / MMHG,
        "outlet_line_error_mmHg": abs(lacking) / MMHG,
        "outlet_flow_error": _flow_error(end.name, solution),
    }


def _flow_error(name: str, solution: Solution) -> float | None:
    """How far the flow through an outlet is from the one given, root mean square over the mean; None where none is."""
    model, told = solution.problem.outlets[name], solution.result.pulse
    if not isinstance(model, Flow):
        return None
    if told is None:
        return abs(solution.result.patches[name].Q / value_of(model.Q, None) - 1.0)
    wanted = np.array([value_of(model.Q, t) for t in told.times])
    return float(np.sqrt(np.mean((np.array(told.waves[name].Q) - wanted) ** 2)) / wanted.mean())


def end_abscissa(curve: Curve, end: End) -> float:
    """Abscissa of the anatomical end plane [mm], between the last point before it and the first beyond it."""
    last = int(np.flatnonzero(curve.vessel)[-1])
    s, points = curve.line.abscissa_mm, curve.line.points_mm
    if last + 1 == len(s):
        return float(s[last])
    before, beyond = (
        float((np.asarray(end.centre_mm) - points[k]) @ np.asarray(end.normal))
        for k in (last, last + 1)
    )
    if not before > 0 > beyond:
        return float(s[last])
    return float(s[last] + (s[last + 1] - s[last]) * before / (before - beyond))


def evidence(solution: Solution, mismatch: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What a reader needs to judge the computation."""
    result, problem = solution.result, solution.problem
    return {
        "mesh": {
            "cells": len(solution.mesh.cells),
            "nodes": len(solution.mesh.points),
            "geometric_order": solution.mesh.order,
            "quality": dict(solution.vessel.quality),
        },
        "solver": {
            "element": result.element,
            "status": result.status,
            "unknowns": result.dofs,
            "ranks": result.ranks,
            "steps": result.steps,
            "linear_iterations": result.linear_iterations,
            "residual": result.residual,
            "tolerance": problem.steady.tolerance,
            **_lacking(solution),
            "mass_balance": result.mass_balance,
            "seconds": dict(result.seconds),
            "peak_memory_GiB": result.peak_memory_GiB,
            "rank_memory_GiB": list(result.rank_memory_GiB),
        },
        "section_flow_mismatch": {
            "definition": "flow through a whole cross-section over the outflow downstream of it, minus 1",
            "sections": int(mismatch.size),
            "median": float(np.median(np.abs(mismatch))) if mismatch.size else None,
            "p95": float(np.quantile(np.abs(mismatch), 0.95)) if mismatch.size else None,
        },
        "blood": {
            "density_kg_per_m3": problem.density,
            "viscosity_mPa_s": problem.rheology.viscosity * 1e3,
        },
        "versions": manifest.versions(),
    }


def _lacking(solution: Solution) -> dict[str, float]:
    """What a periodic flow still lacks, and what it may lack."""
    told, asked = solution.result.pulse, solution.problem.pulse
    if told is None or asked is None:
        return {}
    lacking = told.errors[-1] if told.errors else float("inf")
    return {"lacking": min(lacking, 1.0), "lacking_limit": asked.tolerance}


def notes(solution: Solution, ref: dict[str, Any]) -> list[str]:
    """What a reader must know, from every stage."""
    found = [
        *solution.anatomy.notes,
        *solution.physiology.get("notes", []),
        *solution.refinement.notes(),
        *solution.result.notes,
    ]
    if solution.result.status == "time-averaged":
        found.append(
            "No steady state was found: the fields are averages over a time-marched window."
        )
    if abs(ref["ffr_at_anatomical_inlet"] - 1.0) > FFR_AT_INLET:
        found.append(
            f"FFR at the anatomical inlet is {ref['ffr_at_anatomical_inlet']:.3f}, not 1 within "
            f"{FFR_AT_INLET:g}: the inlet is narrow for its flow, and FFR along the vessel holds that drop."
        )
    return list(dict.fromkeys(found))
