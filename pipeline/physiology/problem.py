"""From the case and the anatomy to the flow problem and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from solver.outlets import Flow, Outlet, Resistance
from solver.problem import FlowProblem
from solver.rheology import Newtonian

DEFINITION = (
    "Microvascular resistances are assigned as if the epicardial tree had no resistance at rest: "
    "R_rest = (MAP - pd) / Q_rest; R = factor * R_rest. Resting autoregulation behind a stenosis and "
    "collaterals are not modelled; the mean aortic pressure is the same at rest and in hyperaemia."
)


_LEAST_LEFT = 1e-3  # of the tree's flow


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
    _check_open(case, anatomy)
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
        outlets={row["outlet"]: _outlet(row) for row in outlets},
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


def _check_open(case: Case, anatomy: Anatomy) -> None:
    """Some open end must say what the pressure is."""
    given = [name for name, outlet in case.physiology.outlets.items() if outlet.flow is not None]
    if case.inlet.kind == "flow" and len(given) == len(anatomy.outlets):
        raise InputError(
            field="physiology.outlets",
            wanted="an outlet without a given flow, as the inlet's is given: something must say what the pressure is",
            got=f"flows through all outlets: {', '.join(given)}",
            remedy="leave out the flow of one outlet, or set inlet.kind: pressure",
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
    """One row an outlet. Overrides but shares change their own outlet only; the others keep what they had."""
    rows = []
    for end, share in zip(ends, _shares(physiology, ends), strict=True):
        override = physiology.outlets.get(end.name, OutletOverride())
        given, rest = override.resistance_mmHg_s_per_mL, None
        flow = override.resting_flow_mL_per_min or share * flow_mL_per_min
        if given is None and override.flow is None:
            rest = resting_resistance(pressure_mmHg, physiology.distal_pressure_mmHg, flow)
            given = hyperaemic_resistance(rest, physiology.hyperaemic_resistance_factor)
        rows.append(
            {
                "outlet": end.name,
                "diameter_mm": end.diameter_mm,
                "share": share,
                "resting_flow_mL_per_min": None if rest is None else flow,
                "resting_resistance_mmHg_s_per_mL": rest,
                "resistance_mmHg_s_per_mL": given,
                "resistance_Pa_s_per_m3": None if given is None else given * MMHG_S_PER_ML,
                "distal_pressure_mmHg": physiology.distal_pressure_mmHg,
                "flow_mL_per_min": override.flow,
                "override": next(iter(override.model_dump(exclude_none=True)), None),
            }
        )
    return rows


def _outlet(row: Mapping[str, Any]) -> Outlet:
    """The steady outlet of a row."""
    if row["flow_mL_per_min"] is not None:
        return Flow(Q=row["flow_mL_per_min"] * ML_PER_MIN)
    R, pd = row["resistance_Pa_s_per_m3"], row["distal_pressure_mmHg"] * MMHG
    return Resistance(R=R, pd=pd)


def _shares(physiology: Physiology, ends: Sequence[End]) -> list[float]:
    """Of the tree's resting flow: those given; what they leave is split by the diameters of the others."""
    given = {name: o.share for name, o in physiology.outlets.items() if o.share is not None}
    others = [end.diameter_mm for end in ends if end.name not in given]
    left = 1.0 - sum(given.values())
    if (left < _LEAST_LEFT) if others else abs(left) > _LEAST_LEFT:
        raise InputError(
            field="physiology.outlets",
            wanted="shares of less than 1 in all, for the outlets without one"
            if others
            else "shares that add up to 1, as every outlet has one",
            got=f"{sum(given.values()):.4g}",
            remedy="change the shares; outlets without a share split the rest by their diameters",
        )
    rest = iter(flow_shares(others, physiology.flow_split_exponent) if others else ())
    return [given[end.name] if end.name in given else left * next(rest) for end in ends]


def _inlet(case: Case, pressure: Quantity) -> tuple[SolverInlet, dict[str, Any]]:
    flow = case.inlet.flow
    if flow is not None:
        record = {"kind": "flow", "flow_mL_per_min": flow}
        return FlowInlet(Q=flow * ML_PER_MIN), record | _pressure_record(pressure)
    return PressureInlet(p=pressure.value * MMHG), {"kind": "pressure"} | _pressure_record(pressure)


def _pressure_record(pressure: Quantity) -> dict[str, Any]:
    return {
        "mean_aortic_pressure_mmHg": pressure.value,
        "mean_aortic_pressure_origin": pressure.formula,
    }
