"""Continuation in the viscosity: the way down, and what is done where it ends early."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meshing.errors import BranchEndError
from meshing.vessel import VesselMesh
from solver import continuation, levels
from solver.continuation import continue_in_viscosity, extrapolate
from solver.engine import MPI
from solver.follow import Knob, follow
from solver.io import guess as guess_file
from solver.io import mesh as mesh_file
from solver.linear import LinearOptions
from solver.march import march
from solver.problem import BranchEnd, FlowProblem
from solver.progress import Progress
from solver.run import solve
from solver.scales import choose
from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

END = 1.3
"""Factor on the viscosity at which the way down ends in these tests."""


def _problem(mesh):
    return FlowProblem.model_validate(
        {
            "mesh": str(mesh),
            "element": "P1-P1",
            "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
            "inlet": {"kind": "pressure", "p": 12_000.0},
            "outlets": {
                "out0": {"kind": "resistance", "R": 6e9},
                "out1": {"kind": "resistance", "R": 9e9},
            },
        }
    )


@pytest.fixture
def thick(fork):
    """A solver at the steady state of three times the viscosity, and its goal."""
    problem = _problem(fork)
    vessel = VesselMesh.load(problem.mesh)
    scales = choose(problem, vessel.inlets[0].area, 0.03)
    mesh = mesh_file.load(MPI.COMM_SELF, problem.mesh, scales.length)
    system = FlowSystem(problem, mesh, scales, "P1-P1")
    driver = SteadySolver(system, LinearOptions(direct=True), Progress())
    goal = Goal(driver.stokes(), 1e-9, 60)
    system.thicken(3.0)
    driver.stale = True
    assert driver.newton(replace(goal, settle=False), "thick", 20).converged
    return driver, goal


def _pressures(system):
    """Mean pressures over the patches, relative to the inlet's."""
    p = system.functionals()[1] + system.scales.datum / system.scales.pressure
    return p / p[0]


def test_the_way_ends_at_the_real_fluid(thick):
    driver, goal = thick
    outcome = continue_in_viscosity(driver, goal, "P1-P1", 3.0)
    assert outcome.converged
    assert (outcome.thickening, outcome.base, outcome.shift) == (1.0, 1.0, None)


def test_a_branch_that_ends_early_is_extrapolated(thick):
    driver, goal = thick
    system, knob = driver.system, Knob("P1-P1 nu*", driver.system.thicken)
    known = follow(driver, goal, knob, 3.0, END)
    near = driver.newton(goal, "end", 20)
    at_end = _pressures(system)
    outcome = extrapolate(driver, goal, knob, known, replace(near, thickening=END))
    Q, p = system.functionals()
    lines = system.openings.p0 + system.openings.R * Q
    assert p == pytest.approx(lines, abs=1e-7 * abs(lines).max())  # as exact as both states
    assert abs(Q.sum()) < 1e-7 * abs(Q[0])
    extrapolated = _pressures(system)
    shift = outcome.shift / (p[0] + system.scales.datum / system.scales.pressure)
    assert extrapolated - at_end == pytest.approx(shift, abs=1e-6)
    assert outcome.base > END
    assert 1e-6 < outcome.residual < 0.1  # of the real equations; said, not hidden
    real = driver.newton(goal, "real", 20)
    assert real.converged
    missed = np.abs(at_end - _pressures(system)).max()
    assert np.abs(extrapolated - _pressures(system)).max() < 0.25 * missed


@pytest.mark.parametrize("asked", [True, False])
def test_a_branch_that_ends_early_can_end_the_search(thick, monkeypatch, asked):
    driver, goal = thick

    def to_the_end(driver, goal, knob, start, end):
        return follow(driver, goal, knob, start, max(end, END))

    monkeypatch.setattr(continuation, "follow", to_the_end)
    monkeypatch.setattr(continuation, "around", lambda *_: None)
    goal = replace(goal, stop_at_branch_end=asked)
    outcome = continue_in_viscosity(driver, goal, "P1-P1", 3.0)
    assert outcome.converged is not asked
    assert outcome.thickening == pytest.approx(END)
    assert (outcome.base > 1.0) is not asked  # extrapolated where it was not asked to stop


def test_the_end_of_the_branch_is_written_and_told(fork, tmp_path, monkeypatch):
    def to_the_end(driver, goal, knob, start, end):
        return follow(driver, goal, knob, start, max(end, END))

    monkeypatch.setattr(continuation, "follow", to_the_end)
    monkeypatch.setattr(levels, "follow", to_the_end)
    given = _problem(fork).model_copy(update={"stop_at_branch_end": True})
    with pytest.raises(BranchEndError, match=r"ends at 1\.300 times the viscosity"):
        solve(given, MPI.COMM_SELF, tmp_path)
    end = BranchEnd.load(tmp_path / "branch_end.json")
    assert end.factor == pytest.approx(END)
    assert set(end.outflow) == {"out0", "out1"}
    free = 12_000 / 6e9 + 12_000 / 9e9  # without any resistance of the fork
    assert 0.5 * free < sum(end.outflow.values()) < free
    assert not (tmp_path / "flow.json").exists()
    earlier = tmp_path / "earlier.h5"
    nodes = len(VesselMesh.load(fork).arrays().points)
    assert guess_file.read(earlier, nodes).thickening == pytest.approx(3.0)
    monkeypatch.undo()
    begun = solve(_problem(fork).model_copy(update={"guess": earlier}), MPI.COMM_SELF)
    assert begun.status == "converged"
    assert begun.history[0]["phase"].endswith(
        f"nu*{guess_file.read(earlier, nodes).thickening:.3f}"
    )


def test_without_a_second_state_the_last_one_stays(thick):
    driver, goal = thick
    system, knob = driver.system, Knob("P1-P1 nu*", driver.system.thicken)
    near = driver.newton(goal, "end", 20)
    known = [(math.log(3.0), system.snapshot())]
    assert extrapolate(driver, goal, knob, known, near) is near
    assert system.x.x.array == pytest.approx(known[0][1][0])


def test_marching_stays_at_a_steady_state(thick):
    driver, goal = thick
    system = driver.system
    system.thicken(1.0)
    assert continue_in_viscosity(driver, goal, "P1-P1", 3.0).converged
    steady, start = _pressures(system), system.snapshot()
    average = march(driver, 1.0, 20, driver.progress)
    assert average.finite
    assert average.steps == 15
    assert _pressures(system) == pytest.approx(steady, abs=1e-7)
    assert max(np.abs(average.p_deviation).max(), np.abs(average.drift).max()) < 1e-5
    assert system.distance(start[0]) < 1e-5 * np.linalg.norm(start[0])


def test_marching_returns_to_the_steady_state(thick):
    driver, goal = thick
    system = driver.system
    thick_state = system.snapshot()
    assert continue_in_viscosity(driver, goal, "P1-P1", 3.0).converged
    steady = _pressures(system)
    system.restore(thick_state)
    before = np.abs(_pressures(system) - steady).max()
    average = march(driver, 3.0, 240, driver.progress)
    Q, p = system.functionals()
    lines = system.openings.p0 + system.openings.R * Q
    assert p == pytest.approx(lines, abs=1e-6 * abs(lines).max())
    assert abs(Q.sum()) < 1e-6 * abs(Q[0])
    assert np.abs(_pressures(system) - steady).max() < 0.05 * before
    assert np.abs(average.drift).max() < 0.05 * np.abs(p).max()


@pytest.mark.parametrize("reach", [0.05, 0.3])
def test_a_step_that_failed_is_not_tried_again_from_the_same_state(reach):
    """Also where the last bit of the way is shorter than a step; ``reach``: ln of the least factor that converges."""
    tried: list[float] = []
    reached = [math.log(3.0)]
    pairs: list[tuple[float, float]] = []

    def newton(*_, **__):
        pairs.append((round(reached[-1], 9), round(tried[-1], 9)))
        if tried[-1] >= reach:
            reached.append(tried[-1])
        return Outcome(tried[-1] >= reach, 1e-6, 3, "told")

    system = SimpleNamespace(
        snapshot=lambda: (np.zeros(1), 0.0), restore=lambda _: None, apply_inlet=lambda: None
    )
    driver: Any = SimpleNamespace(system=system, newton=newton)
    knob = Knob("nu*", lambda factor: tried.append(math.log(factor)), step_min=0.02)
    known = follow(driver, Goal(1.0, 1e-8, 500), knob, 3.0, 1.0)
    assert len(set(pairs)) == len(pairs)
    assert known[-1][0] == pytest.approx(reach, abs=0.06)
    assert known[-1][0] >= reach
