"""What a periodic flow adds to the numbers: waveforms, ratios of the wave-free period, how it came about."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.anatomy.types import End
from pipeline.ffr.curves import Curve, trace
from pipeline.ffr.load import Solution
from pipeline.ffr.sections import Sectioner
from pipeline.ffr.summary import end_abscissa
from pipeline.physiology import MMHG

WINDOW = "wave_free"
DEFINITION = (
    "iFR-like ratio: mean pressure over the wave-free period of diastole (from a quarter into diastole to 5 ms "
    "before its end) over that of the inlet in the same time; defined clinically at rest (Sen et al. 2012, "
    "doi:10.1016/j.jacc.2011.11.003). FFR of a periodic flow: of the pressures' means over a beat."
)


def pulse(solution: Solution, vessels: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Numbers of a periodic flow, JSON-able; None for a steady one. Vessels get their ``wave_free_ratio``."""
    told = solution.result.pulse
    if told is None:
        return None
    ratios = _ratios(solution) if f"pressure_{WINDOW}" in solution.more else {}
    for vessel in vessels:
        vessel["wave_free_ratio"] = ratios.get(vessel["name"])
    inlet = solution.result.inlet
    flows = {
        name: np.array(wave.Q) * (-60e6 if name == inlet else 60e6)
        for name, wave in told.waves.items()
    }
    return {
        "definition": DEFINITION,
        "period_s": told.period,
        "steps": told.steps,
        "cycles": told.cycles,
        "errors": list(told.errors),
        "periodic": told.periodic,
        "seconds_per_step": told.seconds_per_step,
        "times_s": list(told.times),
        "flow_mL_per_min": {name: flow.tolist() for name, flow in flows.items()},
        "pressure_mmHg": {
            name: (np.array(wave.p) / MMHG).tolist() for name, wave in told.waves.items()
        },
        "diastolic_share": _diastolic(solution, flows),
    }


def _ratios(solution: Solution) -> dict[str, float]:
    """Wave-free ratio at the anatomical end of each vessel."""
    sectioner = Sectioner(
        solution.points_mm,
        solution.mesh.cells,
        solution.more[f"pressure_{WINDOW}"] / MMHG,
        solution.velocity_m_per_s,
    )
    curves = trace(solution.centerlines, sectioner)
    told = solution.result.pulse
    if told is None or solution.problem.pulse is None:
        return {}
    start, end = solution.problem.pulse.windows[WINDOW]
    part = np.array(told.times) / told.period
    at_inlet = np.array(told.waves[solution.result.inlet].p)[(part > start) & (part <= end)]
    Pa = float(at_inlet.mean()) / MMHG
    ends: dict[str, End] = {end.name: end for end in solution.anatomy.outlets}
    return {c.line.outlet: _at_end(c, ends[c.line.outlet]) / Pa for c in curves}


def _at_end(curve: Curve, end: End) -> float:
    return curve.pressure_at(end_abscissa(curve, end))


def _diastolic(solution: Solution, flows: dict[str, Any]) -> dict[str, float] | None:
    """Part of each outlet's flow that passes after the aortic valve has closed; None where that time is not known."""
    beat, told = solution.physiology.get("pulse"), solution.result.pulse
    if beat is None or told is None:
        return None
    diastole = np.array(told.times) / told.period > beat["valve_closing"]
    return {
        name: float(flow[diastole].sum() / flow.sum())
        for name, flow in flows.items()
        if name != solution.result.inlet and flow.sum() != 0.0
    }
