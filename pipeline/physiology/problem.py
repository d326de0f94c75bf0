"""From the case and the anatomy to the flow problem and its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from meshing.errors import InputError
from pipeline.anatomy.types import Anatomy, End
from pipeline.case import Case, OutletOverride, Physiology
from pipeline.physiology.formulas import (
    ML_PER_MIN,
    MMHG,
    MMHG_S_PER_ML,
    flow_shares,
    hyperaemic_resistance,
    resting_resistance,
)
from pipeline.physiology.notes import notes
from pipeline.physiology.pulse import given_mean, pulsation
from pipeline.physiology.quantities import (
    Quantity,
    aortic_pressure,
    blood,
    calibre,
    choices,
    resting_flow,
    viscosity,
)
from solver.inlets import FlowInlet, PressureInlet
from solver.inlets import Inlet as SolverInlet
from solver.outlets import Resistance
from solver.problem import FlowProblem
from solver.rheology import Newtonian

DEFINITION = (
    "Microvascular resistances are assigned as if the epicardial tree had no resistance at rest: "
    "R_rest = (MAP - pd) / Q_rest; R = factor * R_rest. Resting autoregulation behind a stenosis and "
    "collaterals are not modelled; the mean aortic pressure is the same at rest and in hyperaemia."
)


def flow_problem(
    case: Case, anatomy: Anatomy, mesh_json_path: Path
) -> tuple[FlowProblem, dict[str, Any]]:
    """Set up the flow computation of a case.

    Args:
        case: The case.
        anatomy: Ends and lumen volume of the vessel.
        mesh_json_path: Put into the problem as it is (relative paths are taken from the problem's folder).

    Returns:
        The problem in SI units, and the JSON-able record of every number, its formula and its source.

    Raises:
        InputError: An override names an outlet that is not there, or the aortic pressure is not above the distal one.
    """
    physiology = case.physiology
    _check_overrides(physiology, anatomy)
    pressure = aortic_pressure(physiology, given_mean(physiology))
    _check_pressure(physiology, pressure)
    chain = resting_flow(physiology, anatomy)
    outlets = _outlets(physiology, anatomy.outlets, pressure.value, chain[-1].value)
    inlet, inlet_record = _inlet(case, pressure)
    problem = FlowProblem(
        mesh=mesh_json_path,
        element=case.solver.element,
        density=case.blood.density_kg_per_m3,
        rheology=Newtonian(viscosity=viscosity(case.blood).value * 1e-3),
        inlet=inlet,
        outlets={
            row["outlet"]: Resistance(
                R=row["resistance_mmHg_s_per_mL"] * MMHG_S_PER_ML,
                pd=physiology.distal_pressure_mmHg * MMHG,
            )
            for row in outlets
        },
        steady=case.solver.steady,
    )
    beat = None
    if case.pulsatile is not None:
        beat = pulsation(case, case.pulsatile, pressure.value, outlets)
        added = {"inlet": beat.inlet, "outlets": beat.outlets, "pulse": beat.pulse}
        problem = problem.model_copy(update=added)
    record: dict[str, Any] = {
        "definition": DEFINITION,
        "inlet": inlet_record,
        "quantities": [
            asdict(q)
            for q in (
                pressure,
                *chain,
                *choices(physiology),
                *(() if calibre(physiology, anatomy) in chain else (calibre(physiology, anatomy),)),
                *blood(case),
            )
        ],
        "outlets": outlets,
        "pulse": None if beat is None else beat.record,
        "notes": notes(case, anatomy, pressure, chain[-1], outlets),
    }
    return problem, record


def _check_overrides(physiology: Physiology, anatomy: Anatomy) -> None:
    names = [end.name for end in anatomy.outlets]
    unknown = sorted(set(physiology.outlets) - set(names))
    if unknown:
        raise InputError(
            field=f"physiology.outlets.{unknown[0]}",
            wanted=f"names of outlets of this vessel: {', '.join(names)}",
            got=", ".join(unknown),
            remedy="use these names, or name the vessel ends yourself in anatomy.names",
        )


def _check_pressure(physiology: Physiology, pressure: Quantity) -> None:
    if pressure.value <= physiology.distal_pressure_mmHg:
        raise InputError(
            field="physiology.distal_pressure_mmHg",
            wanted=f"less than the mean aortic pressure, {pressure.value:g} mmHg",
            got=f"{physiology.distal_pressure_mmHg:g} mmHg",
            remedy="lower distal_pressure_mmHg or raise the aortic pressure",
        )


def _outlets(
    physiology: Physiology, ends: Sequence[End], pressure_mmHg: float, flow_mL_per_min: float
) -> list[dict[str, Any]]:
    """One row an outlet. An override changes its own outlet only; the others keep their shares."""
    shares = flow_shares([end.diameter_mm for end in ends], physiology.flow_split_exponent)
    rows = []
    for end, share in zip(ends, shares, strict=True):
        override = physiology.outlets.get(end.name, OutletOverride())
        flow = override.resting_flow_mL_per_min or share * flow_mL_per_min
        rest = resting_resistance(pressure_mmHg, physiology.distal_pressure_mmHg, flow)
        given = override.resistance_mmHg_s_per_mL
        resistance = (
            hyperaemic_resistance(rest, physiology.hyperaemic_resistance_factor)
            if given is None
            else given
        )
        rows.append(
            {
                "outlet": end.name,
                "diameter_mm": end.diameter_mm,
                "share": share,
                "resting_flow_mL_per_min": flow if given is None else None,
                "resting_resistance_mmHg_s_per_mL": rest if given is None else None,
                "resistance_mmHg_s_per_mL": resistance,
                "resistance_Pa_s_per_m3": resistance * MMHG_S_PER_ML,
                "distal_pressure_mmHg": physiology.distal_pressure_mmHg,
                "override": next(iter(override.model_dump(exclude_none=True)), None),
            }
        )
    return rows


def _inlet(case: Case, pressure: Quantity) -> tuple[SolverInlet, dict[str, Any]]:
    if case.inlet.flow_mL_per_min is not None:
        flow = case.inlet.flow_mL_per_min
        record = {"kind": "flow", "flow_mL_per_min": flow}
        return FlowInlet(Q=flow * ML_PER_MIN), record | _pressure_record(pressure)
    return PressureInlet(p=pressure.value * MMHG), {"kind": "pressure"} | _pressure_record(pressure)


def _pressure_record(pressure: Quantity) -> dict[str, Any]:
    return {
        "mean_aortic_pressure_mmHg": pressure.value,
        "mean_aortic_pressure_origin": pressure.formula,
    }
