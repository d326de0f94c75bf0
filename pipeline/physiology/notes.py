"""What a reader must know of the boundary conditions before reading a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.anatomy.types import Anatomy
from pipeline.case import Case
from pipeline.physiology.formulas import (
    PLAUSIBLE_RESTING_FLOW_ML_PER_MIN,
    SPARSE_TREE,
    TURBULENT_INLET_REYNOLDS,
    calibre_kept,
    reynolds,
)
from pipeline.physiology.quantities import Quantity, viscosity


def notes(
    case: Case,
    anatomy: Anatomy,
    pressure: Quantity,
    flow: Quantity,
    outlets: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Notes on defaults taken and on numbers out of the ordinary.

    Args:
        case: The case.
        anatomy: The vessel.
        pressure: Mean aortic pressure.
        flow: Resting flow of the tree.
        outlets: Rows of the record.
    """
    return [
        *_pressure(pressure),
        *_origin(case, flow),
        *_range(flow),
        *_demand(case, anatomy, pressure, outlets),
        *_calibre(case, anatomy),
        *_inlet(case),
    ]


def _pressure(pressure: Quantity) -> Iterator[str]:
    if pressure.formula == "default":
        yield f"No aortic pressure was given: the default of {pressure.value:g} mmHg was taken."


def _origin(case: Case, flow: Quantity) -> Iterator[str]:
    resting = case.physiology.resting
    if resting.flow_mL_per_min is None and resting.myocardial_mass_g is None:
        yield (
            f"Neither resting flow nor myocardial mass was given: {flow.value:.0f} mL/min follows from the lumen "
            f"volume, which says little where the tree is diseased or cut short."
        )


def _range(flow: Quantity) -> Iterator[str]:
    low, high = PLAUSIBLE_RESTING_FLOW_ML_PER_MIN
    if not low <= flow.value <= high:
        yield (
            f"The resting flow of {flow.value:.0f} mL/min lies outside {low:g} to {high:g} mL/min, "
            f"what one coronary tree carries."
        )


def _demand(
    case: Case, anatomy: Anatomy, pressure: Quantity, outlets: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    demand = sum(
        (pressure.value - row["distal_pressure_mmHg"]) / row["resistance_mmHg_s_per_mL"]
        for row in outlets
        if row["resistance_mmHg_s_per_mL"]
    )
    blood, diameter = case.blood, anatomy.inlet.diameter_mm
    number = reynolds(demand, diameter, blood.density_kg_per_m3, viscosity(blood).value * 1e-3)
    if number > TURBULENT_INLET_REYNOLDS:
        yield (
            f"Without epicardial resistance the outlets would take {demand * 60:.0f} mL/min, Re {number:.0f} in the "
            f"inlet: not a coronary flow. Give physiology.resting.flow_mL_per_min or check the unit of the surface."
        )


def _calibre(case: Case, anatomy: Anatomy) -> Iterator[str]:
    kept = calibre_kept(
        anatomy.inlet.diameter_mm,
        [end.diameter_mm for end in anatomy.outlets],
        case.physiology.flow_split_exponent,
    )
    if kept < SPARSE_TREE:
        yield (
            f"The outlets have the calibre for {kept:.0%} of the flow that the inlet's calibre stands for: side "
            f"branches are missing or the ends are diseased. More flow leaves through these ends than in the patient, "
            f"so the pressure loss in the small distal segments is too large; read FFR behind a lesion "
            f"rather than at the vessel's end, or give physiology.resting.flow_mL_per_min."
        )


def _inlet(case: Case) -> Iterator[str]:
    if case.inlet.kind == "flow":
        yield (
            "The inlet flow is prescribed: pressures follow from the outlets' resistances, and FFR refers to the "
            "mean pressure at the anatomical inlet."
        )
