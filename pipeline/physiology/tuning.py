r"""Resistances that give a tree a wanted flow, with the 3D tree in the loop.

Outlet $k$ is to carry $Q_k$, its share of the wanted flow. Where the tree's pressure drop to it is $D_k$, its bed
needs $R_k = (P_a - D_k - p_d)/Q_k$. The drop is known from the runs so far: $D_k(Q) = D_k (Q/Q_k)^{n_k}$, a tree of one
element an outlet, with $n_k = 1.6$ after one run (Poiseuille has 1, a jet 2) and the exponent of the last two runs
after that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RUNS = 3
"""3D runs at most."""
TOLERANCE = 0.01
FIRST_EXPONENT, EXPONENTS = 1.6, (1.0, 2.2)
_APART = 0.02  # of the logarithm of two flows that tell an exponent
LEAST = 1e-3  # of the resistance so far: a bed never has none

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """One 3D run.

    Attributes:
        resistances: Of the beds, by outlet [mmHg s/mL].
        flows: Through the outlets [mL/s].
        pressures: Mean pressures at the outlets [mmHg].
    """

    resistances: dict[str, float]
    flows: dict[str, float]
    pressures: dict[str, float]

    def error(self, wanted: Numbers) -> float:
        """Relative error of the whole flow."""
        return sum(self.flows.values()) / sum(wanted.values()) - 1.0


def wanted_flows(rows: Sequence[Mapping[str, Any]], flow_mL_per_min: float) -> dict[str, float]:
    """What every outlet is to carry [mL/s]: its share of a flow."""
    return {row["outlet"]: row["share"] * flow_mL_per_min / 60.0 for row in rows}


def next_resistances(
    trials: Sequence[Trial], wanted: Numbers, Pa_mmHg: float, pd_mmHg: float
) -> dict[str, float]:
    """Resistances for the next run [mmHg s/mL], by outlet.

    Args:
        trials: The runs so far, at least one.
        wanted: Flow of each outlet [mL/s].
        Pa_mmHg: Mean pressure at the inlet.
        pd_mmHg: Behind the beds.
    """
    last, found = trials[-1], {}
    for name, Q in wanted.items():
        drop = Pa_mmHg - last.pressures[name]
        flow = max(last.flows[name], 1e-6 * Q)
        drop *= (Q / flow) ** _exponent(trials, name, Pa_mmHg)
        R = (Pa_mmHg - drop - pd_mmHg) / Q
        found[name] = max(R, LEAST * last.resistances[name])
    return found


def _exponent(trials: Sequence[Trial], name: str, Pa_mmHg: float) -> float:
    if len(trials) < 2:
        return FIRST_EXPONENT
    before, last = trials[-2], trials[-1]
    flows = math.log(max(last.flows[name], 1e-12) / max(before.flows[name], 1e-12))
    drops = Pa_mmHg - before.pressures[name], Pa_mmHg - last.pressures[name]
    if abs(flows) < _APART or min(drops) <= 0.0:
        return FIRST_EXPONENT
    low, high = EXPONENTS
    return min(max(math.log(drops[1] / drops[0]) / flows, low), high)


def record(trials: Sequence[Trial], wanted: Numbers) -> dict[str, Any]:
    """What was tried, JSON-able."""
    return {
        "wanted_flow_mL_per_min": 60.0 * sum(wanted.values()),
        "wanted_by_outlet_mL_per_min": {name: 60.0 * Q for name, Q in wanted.items()},
        "tolerance": TOLERANCE,
        "runs": [
            {
                "resistance_mmHg_s_per_mL": trial.resistances,
                "flow_mL_per_min": {name: 60.0 * Q for name, Q in trial.flows.items()},
                "pressure_mmHg": trial.pressures,
                "error_of_the_flow": trial.error(wanted),
            }
            for trial in trials
        ],
    }


def note(trials: Sequence[Trial], wanted: Numbers) -> list[str]:
    """Say so where the flow was not reached."""
    error = trials[-1].error(wanted)
    if abs(error) <= TOLERANCE:
        return []
    return [
        f"The flow asked for, {60 * sum(wanted.values()):.0f} mL/min, was missed by {error:+.1%} after "
        f"{len(trials)} runs: where it is too low, the tree's own resistance leaves no more at this aortic pressure."
    ]
