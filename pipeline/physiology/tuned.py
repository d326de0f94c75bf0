"""The runs of a case whose flow is wanted (`pipeline.physiology.tuning`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from pipeline.anatomy.types import Anatomy
from pipeline.case import Case, OutletOverride
from pipeline.physiology.formulas import MMHG
from pipeline.physiology.problem import flow_problem
from pipeline.physiology.tuning import (
    RUNS,
    TOLERANCE,
    Trial,
    next_resistances,
    note,
    record,
    wanted_flows,
)
from solver.problem import FlowResult

log = logging.getLogger("ffr3d")


def tune(case: Case, anatomy: Anatomy, run: Callable[[Case, bool], FlowResult], told: Path) -> None:
    """Run a case until its flow is met, in at most three runs; a pulsatile one has its beat in the last.

    Args:
        case: With a target flow.
        anatomy: The vessel.
        run: Solves a case, from the state of the run before if asked.
        told: ``physiology.json`` that each run writes; the trials are added to the last one's.
    """
    target = case.physiology.target_flow_mL_per_min
    if target is None:
        raise ValueError("the case has no target flow")
    _, first = flow_problem(case, anatomy, Path("mesh.json"))
    rows = first["outlets"]
    wanted = wanted_flows(rows, target)
    resistances = {row["outlet"]: row["resistance_mmHg_s_per_mL"] for row in rows}
    Pa, pd = first["quantities"][0]["value"], case.physiology.distal_pressure_mmHg
    trials: list[Trial] = []
    while True:
        beat = case.pulsatile is not None and len(trials) == RUNS - 1
        result = run(with_resistances(case, resistances, beat), bool(trials))
        trials.append(_trial(result, resistances))
        error = trials[-1].error(wanted)
        log.info("solve    run %d: the flow is off by %+.2f %%", len(trials), 100 * error)
        if len(trials) == RUNS or (abs(error) <= TOLERANCE and case.pulsatile is None):
            break
        resistances = next_resistances(trials, wanted, Pa, pd)
    numbers = json.loads(told.read_text())
    numbers["tuning"] = record(trials, wanted)
    numbers["notes"] += note(trials, wanted)
    told.write_text(json.dumps(numbers, indent=2))


def with_resistances(case: Case, resistances: dict[str, float], beat: bool) -> Case:
    """The case with the outlets' resistances [mmHg s/mL] given; steady unless the beat is wanted."""
    outlets = {name: OutletOverride(resistance_mmHg_s_per_mL=R) for name, R in resistances.items()}
    given = {"outlets": outlets, "target_flow_mL_per_min": None}
    physiology = case.physiology.model_copy(update=given)
    pulsatile = case.pulsatile if beat else None
    return case.model_copy(update={"physiology": physiology, "pulsatile": pulsatile})


def _trial(result: FlowResult, resistances: dict[str, float]) -> Trial:
    outlets = {name: patch for name, patch in result.patches.items() if name != result.inlet}
    return Trial(
        dict(resistances),
        {name: 1e6 * patch.Q for name, patch in outlets.items()},
        {name: patch.p / MMHG for name, patch in outlets.items()},
    )
