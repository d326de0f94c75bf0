r"""Conditions that a fast model takes of itself, where it is not told the reference's.

A model that is used alone assumes pressure, flow and resistances. What that does to FFR is told apart from what the
model itself does by running it twice: under the reference's conditions, and under its own::

    physiology: {mean_aortic_pressure_mmHg: 93, hyperaemic_resistance_factor: 0.24, flow_split_exponent: 2.33}
    blood: {viscosity_mPa_s: 3.5}

The sections are a case's, and so are the formulas that make resistances of them (`pipeline.physiology`).
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from meshing.errors import InputError
from pipeline.anatomy.types import Anatomy, End
from pipeline.case import Blood, Case, Inlet, PhantomInput, Physiology, Section
from pipeline.fast.vessel import Calibre, Vessel
from pipeline.labels.conditions import Conditions
from pipeline.physiology.problem import flow_problem


class Assumptions(Section):
    """Sections of a case that say what is assumed of every vessel."""

    physiology: Physiology = Physiology()
    blood: Blood = Blood()
    inlet: Inlet = Inlet()


def read_assumptions(path: Path) -> Assumptions:
    """Assumptions from a YAML file.

    Raises:
        InputError: It cannot be read, or is not as expected.
    """
    try:
        return Assumptions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else []
        got = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in faults)
        raise InputError(
            file=path,
            field="--own-conditions",
            wanted="the sections physiology, blood and inlet of a case",
            got=got or str(error).splitlines()[0],
            remedy="see docs/cohorts.md",
        ) from None


def assumed(vessel: Vessel, told: Assumptions) -> Conditions:
    """The conditions of a vessel by these assumptions.

    Raises:
        InputError: They name an outlet that the vessel does not have, or are not possible together.
    """
    case = Case(
        name=vessel.case,
        input=PhantomInput(),
        physiology=told.physiology,
        blood=told.blood,
        inlet=told.inlet,
    )
    problem, _ = flow_problem(case, _anatomy(vessel.calibre), Path("none"))
    return Conditions.of(problem.model_dump(mode="json", exclude={"mesh", "guess", "steady"}))


def _anatomy(calibre: Calibre) -> Anatomy:
    """A vessel of these ends."""
    diameters = {"inlet": calibre.inlet_mm, **calibre.outlets_mm}
    return Anatomy(
        tuple(_end(name, d, k) for k, (name, d) in enumerate(diameters.items())),
        (),
        calibre.lumen_mm3,
    )


def _end(name: str, diameter_mm: float, number: int) -> End:
    return End(
        name=name,
        role="outlet" if number else "inlet",
        patch=number + 1,
        centre_mm=(0.0, 0.0, 0.0),
        normal=(0.0, 0.0, 1.0),
        area_mm2=0.785398163397448 * diameter_mm**2,
        diameter_mm=diameter_mm,
        extension_mm=0.0,
    )
