"""Outlets whose flow is given: it is met, the pressures are those of the same flow found the other way."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from solver.engine import MPI
from solver.run import solve
from solver.waveform import Waveform
from tests.solver.problems import outlets_of, problem

T = 0.8
PHASE = 2 * np.pi * np.arange(32) / 32
AORTA: dict[str, Any] = {"period": T, "values": list(12e3 + 2.5e3 * np.sin(PHASE))}


@pytest.mark.parametrize("known", ["inlet and one", "both outlets"])
def test_the_flow_of_resistances_is_found_again(fork, known):
    """Resistances give flows; those flows, given, give the same pressures."""
    one, other = outlets_of(fork)
    inlet = {"kind": "pressure", "p": 13e3}
    beds = {name: {"kind": "resistance", "R": R} for name, R in ((one, 9e9), (other, 1.6e10))}
    first = solve(problem(fork, inlet, beds), MPI.COMM_SELF).patches
    given = {name: {"kind": "flow", "Q": first[name].Q} for name in (one, other)}
    if known == "inlet and one":
        inlet = {"kind": "flow", "Q": -first["inlet"].Q}
        given[other] = {"kind": "pressure", "p": first[other].p}
    again = solve(problem(fork, inlet, given), MPI.COMM_SELF)
    assert again.status == "converged"
    for name, patch in first.items():
        found = again.patches[name]
        assert abs(found.Q - patch.Q) < 1e-6 * abs(patch.Q)
        assert found.p == pytest.approx(patch.p, abs=0.05)


def test_a_flow_that_changes(fork):
    """The flow asked for at every step, to second order in the step."""
    one, other = outlets_of(fork)
    wave = Waveform(period=T, values=tuple(4e-7 * (1 + 0.8 * np.sin(PHASE + 1.0))))
    outlets = {
        one: {"kind": "flow", "Q": wave.model_dump()},
        other: {"kind": "resistance", "R": 1.6e10},
    }
    errors = []
    for steps in (40, 80):
        asked = problem(fork, {"kind": "pressure", "p": AORTA}, outlets,
                        pulse={"period": T, "steps": steps, "cycles": 4})  # fmt: skip
        result = solve(asked, MPI.COMM_SELF)
        assert result.pulse is not None
        assert result.pulse.periodic
        assert result.mass_balance < 1e-6
        off = np.array(result.pulse.waves[one].Q) - wave.at(np.array(result.pulse.times))
        errors.append(float(np.abs(off).max()) / wave.mean())
    assert errors[1] < 2e-3
    assert errors[0] > 3 * errors[1]


def test_a_pressure_must_be_known(fork):
    given = {name: {"kind": "flow", "Q": 1e-6} for name in outlets_of(fork)}
    with pytest.raises(ValidationError, match="nothing says what the pressure is"):
        problem(fork, {"kind": "flow", "Q": 2e-6}, given)
    with pytest.raises(ValidationError, match="greater than 0"):
        problem(
            fork,
            {"kind": "pressure", "p": 1e4},
            given | {outlets_of(fork)[0]: {"kind": "flow", "Q": -1e-6}},
        )
