r"""A beat in time: the aortic pressure, and a bed behind every outlet whose mean is the steady one's.

Each outlet's resistance $R$, hyperaemic or at rest, is split into the bed's: $R_a : R_{am} : R_v = 0.32 : 0.52 : 0.16$
(a Windkessel: $R_p = 0.32 R$, $R_d = 0.68 R$), so that mean pressure and mean flow lie on the line of the steady case.
The tree's compliance is shared by the outlets' areas, $C_a : C_{im} = 0.11 : 0.89$. The intramyocardial pressure is the
left ventricle's times a factor: 1 for a left tree; a right one lies on the right ventricle, 25 of 120 mmHg.

Reference:
    SimVascular's guide to coronary parameters (splits; compliances 3.6e-5 and 2.5e-5 cm^5/dyn of a left and a right
    tree), http://simvascular.github.io/clinicalCase3.html; Kim et al. (2010), Ann. Biomed. Eng. 38, 3195-3209,
    https://doi.org/10.1007/s10439-010-0083-6 (circuit, ventricular pressures); both at second hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.case import Case, CtInput, OutletOverride, PhantomInput, Physiology, Pulsatile
from pipeline.physiology.formulas import ML_PER_MIN, MMHG, MMHG_S_PER_ML
from pipeline.physiology.heart import SAMPLES, Beat, beat, beat_of_mean
from pipeline.physiology.quantities import Quantity
from solver.inlets import FlowInlet, Inlet, PressureInlet
from solver.outlets import Coronary, Flow, Outlet, Resistance, Windkessel
from solver.problem import Pulse
from solver.waveform import Signal, Waveform

SPLIT = {"Ra": 0.32, "Ram": 0.52, "Rv": 0.16}
COMPLIANCE = {"Ca": 0.11, "Cim": 0.89}
TREE_COMPLIANCE_MM3_PER_MMHG = {"left": 3.6e-10 * MMHG * 1e9, "right": 2.5e-10 * MMHG * 1e9}
INTRAMYOCARDIAL = {"left": 1.0, "right": 0.2}
DEFAULT_PULSE_PRESSURE_MMHG = 40.0  # 120/80 mmHg
GUIDE = "SimVascular's coronary guide"
Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Pulsation:
    """What a pulsatile case adds to the steady flow problem.

    Attributes:
        inlet: The aortic pressure, or the flow, in time.
        outlets: The beds, or the flows given, by outlet.
        pulse: How it is marched; its window ``wave_free`` is the beat's.
        record: All numbers with their sources, JSON-able.
    """

    inlet: Inlet
    outlets: dict[str, Outlet]
    pulse: Pulse
    record: dict[str, Any]


def given_mean(physiology: Physiology) -> float | None:
    """Mean of the aortic pressure [mmHg], where it is given in time."""
    if physiology.aortic_waveform_mmHg is None:
        return None
    period = 60.0 / physiology.heart_rate_per_min
    return Waveform(period=period, values=physiology.aortic_waveform_mmHg).mean()


def pulsation(
    case: Case, options: Pulsatile, mean_mmHg: float, rows: Sequence[Mapping[str, Any]]
) -> Pulsation:
    """Set up a beat.

    Args:
        case: The case.
        options: How it is marched.
        mean_mmHg: Mean aortic pressure.
        rows: The steady outlets: name, diameter, resistance and distal pressure of each.
    """
    side, physiology = tree_side(case), case.physiology
    told = _beat(physiology, mean_mmHg)
    factor = physiology.intramyocardial_factor
    factor = INTRAMYOCARDIAL[side] if factor is None else factor
    compliance = physiology.compliance_mm3_per_mmHg or TREE_COMPLIANCE_MM3_PER_MMHG[side]
    area = sum(row["diameter_mm"] ** 2 for row in rows)
    squeeze = _waveform(told.period, factor * told.ventricle)
    outlets: dict[str, Outlet] = {}
    for row in rows:
        given = physiology.outlets.get(row["outlet"], OutletOverride())
        flow = _flow(told.period, given.flow_mL_per_min, given.flow_waveform_mL_per_min)
        part = compliance * row["diameter_mm"] ** 2 / area
        bed = _bed(physiology.bed, row, part, squeeze) if flow is None else Flow(Q=flow)
        outlets[row["outlet"]] = bed
    pulse = Pulse(
        period=told.period,
        steps=options.steps,
        cycles=options.cycles,
        tolerance=options.tolerance,
        windows={"wave_free": told.wave_free},
    )
    record = {
        "side": side,
        "bed": physiology.bed,
        "period_s": told.period,
        "aortic_mmHg": told.aorta.tolist(),
        "ventricular_mmHg": told.ventricle.tolist(),
        "valve_closing": told.closing,
        "wave_free": list(told.wave_free),
        "quantities": [asdict(q) for q in _quantities(physiology, told, compliance, factor, side)],
    }
    flow = _flow(told.period, case.inlet.flow_mL_per_min, case.inlet.flow_waveform_mL_per_min)
    aorta = PressureInlet(p=_waveform(told.period, told.aorta))
    return Pulsation(aorta if flow is None else FlowInlet(Q=flow), outlets, pulse, record)


def tree_side(case: Case) -> Side:
    """Which coronary tree it is; left where nobody says."""
    if case.anatomy.coronary_tree is not None:
        return case.anatomy.coronary_tree
    if isinstance(case.input, CtInput | PhantomInput):
        return case.input.tree
    return "left"


def _beat(physiology: Physiology, mean_mmHg: float) -> Beat:
    rate, given = physiology.heart_rate_per_min, physiology.aortic_waveform_mmHg
    if given is not None:
        wave = Waveform(period=60.0 / rate, values=given)
        times = np.linspace(0.0, wave.period, SAMPLES, endpoint=False)
        aorta = wave.at(times)
        model = beat(rate, float(aorta.max()), float(aorta.min()))
        return Beat(wave.period, aorta, model.ventricle, model.closing)
    pulse = physiology.pulse_pressure_mmHg
    if pulse is None and physiology.systolic_mmHg and physiology.diastolic_mmHg:
        pulse = physiology.systolic_mmHg - physiology.diastolic_mmHg
    return beat_of_mean(rate, mean_mmHg, pulse or DEFAULT_PULSE_PRESSURE_MMHG)


def _waveform(period: float, mmHg: Any) -> Waveform:  # noqa: ANN401
    return Waveform(period=period, values=tuple(float(x) * MMHG for x in mmHg))


def _flow(
    period: float, steady_mL_per_min: float | None, wave_mL_per_min: Sequence[float] | None
) -> Signal | None:
    """A flow given, in SI units; None where none is."""
    if wave_mL_per_min is not None:
        values = tuple(float(x) * ML_PER_MIN for x in wave_mL_per_min)
        return Waveform(period=period, values=values)
    return None if steady_mL_per_min is None else steady_mL_per_min * ML_PER_MIN


def _bed(
    kind: str, row: Mapping[str, Any], compliance_mm3_per_mmHg: float, squeeze: Waveform
) -> Outlet:
    R = row["resistance_mmHg_s_per_mL"] * MMHG_S_PER_ML
    pd, C = row["distal_pressure_mmHg"] * MMHG, compliance_mm3_per_mmHg * 1e-9 / MMHG
    if kind == "resistance" or R == 0.0:
        return Resistance(R=R, pd=pd)
    if kind == "windkessel":
        Rp = SPLIT["Ra"] * R
        return Windkessel(Rp=Rp, C=C, Rd=R - Rp, pd=pd)
    return Coronary(
        Ra=SPLIT["Ra"] * R,
        Ca=COMPLIANCE["Ca"] * C,
        Ram=SPLIT["Ram"] * R,
        Cim=COMPLIANCE["Cim"] * C,
        Rv=SPLIT["Rv"] * R,
        Pv=pd,
        Pim=squeeze,
    )


def _quantities(
    physiology: Physiology, told: Beat, compliance: float, factor: float, side: Side
) -> list[Quantity]:
    model = "ventricle with an elastance and a Windkessel, moved to mean and pulse pressure"
    origin = "given" if physiology.aortic_waveform_mmHg else "shape: `pipeline.physiology.heart`"
    stergiopulos = "Stergiopulos et al. 1996, doi:10.1152/ajpheart.1996.270.6.H2050"
    low, high = float(told.aorta.min()), float(told.aorta.max())
    rows = [
        Quantity(
            "heart rate",
            "HR",
            physiology.heart_rate_per_min,
            "1/min",
            _given(physiology, "heart_rate_per_min"),
        ),
        Quantity(
            "systolic aortic pressure",
            "Ps",
            high,
            "mmHg",
            origin,
            "" if origin == "given" else stergiopulos,
        ),
        Quantity(
            "diastolic aortic pressure",
            "Pd",
            low,
            "mmHg",
            origin,
            "" if origin == "given" else stergiopulos,
        ),
    ]
    if physiology.bed == "resistance":
        return rows
    formula = "given" if physiology.compliance_mm3_per_mmHg else f"default of a {side} tree"
    rows.append(
        Quantity(
            "compliance of the beds", "C", compliance, "mm3/mmHg", formula, GUIDE, "at second hand"
        )
    )
    if physiology.bed == "coronary":
        formula = (
            "given"
            if physiology.intramyocardial_factor is not None
            else f"default of a {side} tree"
        )
        source = "Kim et al. 2010, doi:10.1007/s10439-010-0083-6 (ventricular pressures)"
        rows += [
            Quantity(
                "intramyocardial over left ventricular pressure",
                "f_im",
                factor,
                "1",
                formula,
                source,
                "at second hand",
            ),
            Quantity(
                "largest left ventricular pressure",
                "Plv",
                float(told.ventricle.max()),
                "mmHg",
                model,
                stergiopulos,
            ),
        ]
    return rows


def _given(physiology: Physiology, name: str) -> str:
    return "given" if name in physiology.model_fields_set else "default"
