"""Around a fold: slow modes, the hold, and the way back to the real equations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from meshing.vessel import VesselMesh
from solver.coarse import CoarseLevel
from solver.detour import around
from solver.engine import MPI
from solver.follow import Knob, follow
from solver.hold import Hold
from solver.io import mesh as mesh_file
from solver.linear import LinearOptions
from solver.modes import Mass, slow_modes
from solver.problem import FlowProblem
from solver.progress import Progress
from solver.scales import choose
from solver.sections import SectionLevel
from solver.steady import Goal, SteadySolver
from solver.system import FlowSystem


def _problem(mesh, outlets):
    return FlowProblem.model_validate(
        {
            "mesh": str(mesh),
            "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
            "inlet": {"kind": "pressure", "p": 12_000.0},
            "outlets": {name: {"kind": "resistance", "R": R} for name, R in outlets.items()},
        }
    )


def _solver(problem, element):
    vessel = VesselMesh.load(problem.mesh)
    scales = choose(problem, vessel.inlets[0].area, 0.03)
    mesh = mesh_file.load(MPI.COMM_SELF, problem.mesh, scales.length)
    system = FlowSystem(problem, mesh, scales, element)
    if element == "P1-P1":
        return SteadySolver(system, LinearOptions(direct=True), Progress())
    coarse = FlowSystem(problem, mesh, scales, "P1-P1")
    return SteadySolver(system, LinearOptions(), Progress(), CoarseLevel(system, coarse))


@pytest.fixture
def thick(fork):
    """Linear elements at the steady state of three times the viscosity, and the goal."""
    driver = _solver(_problem(fork, {"out0": 6e9, "out1": 9e9}), "P1-P1")
    goal = Goal(driver.stokes(), 1e-9, 60)
    driver.system.thicken(3.0)
    driver.stale = True
    assert driver.newton(replace(goal, settle=False), "thick", 20).converged
    return driver, goal


def _dense(driver):
    """Jacobian with its low-rank part, and mass matrix, as full arrays."""
    system = driver.system
    driver.refactor()
    low, mass = driver.linear.low_rank, Mass(system)
    n = system.space.owned
    rows, columns, values = system.A.convert("aij", out=type(system.A)()).getValuesCSR()
    J = scipy.sparse.csr_array((values, columns, rows), shape=(n, n)).toarray() + low.U @ low.V.T
    unit = np.eye(n)
    return J, np.stack([mass(unit[:, i]) for i in range(n)], axis=1)


def test_slow_modes_are_those_of_the_full_matrices(thick):
    driver, _ = thick
    J, M = _dense(driver)
    modes = slow_modes(driver, 2)
    inverse_rates = scipy.linalg.eigvals(np.linalg.solve(J, M))
    real = inverse_rates[np.abs(inverse_rates.imag) < 1e-9 * np.abs(inverse_rates)].real
    slowest = 1.0 / real[np.argsort(-np.abs(real))]
    assert np.sort(np.abs(modes.rates))[0] == pytest.approx(abs(slowest[0]), rel=1e-2)
    answer = M @ np.linalg.solve(J, modes.right[:, 0])
    along = float(modes.right[:, 0] @ answer)
    assert np.linalg.norm(answer - along * modes.right[:, 0]) < 0.1 * abs(along)
    turned = M @ np.linalg.solve(J.T, modes.left[:, 0])
    along = float(modes.left[:, 0] @ turned)
    assert np.linalg.norm(turned - along * modes.left[:, 0]) < 0.1 * abs(along)


def test_slow_modes_do_not_depend_on_how_linear_elements_are_solved(thick):
    """With sections the factors of the solver are incomplete; the modes are those of exact ones all the same."""
    exact, _ = thick
    modes = slow_modes(exact, 1)
    driver = SteadySolver(
        exact.system, LinearOptions(max_iterations=400), Progress(), SectionLevel(exact.system)
    )
    state = exact.system.snapshot()
    exact.system.thicken(1.0)
    driver.stokes()  # gives the sections a flow to follow
    exact.system.thicken(3.0)
    exact.system.restore(state)
    again = slow_modes(driver, 1)
    assert isinstance(driver.linear.coarse, SectionLevel)
    assert driver.linear.coarse.regular
    assert again.rates == pytest.approx(modes.rates, rel=1e-4)
    driver.destroy()


def test_transposed_solves_of_quadratic_elements(tube):
    driver = _solver(_problem(tube, {"out": 6e9}), "P2-P2")
    driver.stokes()
    driver.refactor()
    assert isinstance(driver.linear.coarse, CoarseLevel)
    rng = np.random.default_rng(1)
    b, c = rng.normal(size=(2, driver.system.space.owned))
    forward = driver.respond(b, 1e-10)
    turned = driver.respond(c, 1e-10, transposed=True)
    scale = np.linalg.norm(forward) * np.linalg.norm(c)
    assert forward @ c == pytest.approx(b @ turned, abs=1e-8 * scale)


def test_a_hold_keeps_its_reading(thick):
    driver, goal = thick
    system = driver.system
    modes = slow_modes(driver, 1)
    x = system.x.x.array[: system.space.owned]
    values, none = modes.right.T @ x, np.zeros(1)
    system.thicken(2.5)
    rough = replace(goal, settle=False)
    start = system.snapshot()
    assert driver.leap(rough, "free", 20).converged
    moved = float(np.abs(modes.right.T @ system.x.x.array[: system.space.owned] - values).max())
    system.restore(start)
    system.hold = Hold(system.comm, modes.left, modes.right, values, 1e3, none)
    driver.stale = True
    assert driver.leap(rough, "held", 20).converged
    held = float(np.abs(modes.right.T @ system.x.x.array[: system.space.owned] - values).max())
    assert held < 1e-2 * moved
    assert np.abs(system.hold.strength(system.x.x.array[: system.space.owned])).max() > 0.0


def test_the_way_around_ends_at_the_real_equations(thick):
    driver, goal = thick
    system, knob = driver.system, Knob("P1-P1 nu*", driver.system.thicken)
    way = follow(driver, goal, knob, 3.0, 1.3)
    end = system.snapshot()
    outcome = around(driver, goal, knob, way)
    assert outcome is not None
    assert outcome.converged
    assert outcome.thickening == 1.0
    assert system.hold is None
    assert float(system.nu.value) == pytest.approx(1.0 / system.scales.reynolds)
    found = system.snapshot()[0]
    system.restore(end)  # the same state as that of plain continuation
    system.offset[:] = 0.0
    assert math.exp(follow(driver, goal, Knob("nu*", system.thicken), 1.3, 1.0)[-1][0]) == 1.0
    assert driver.newton(goal, "plain", 20).converged
    assert found == pytest.approx(system.x.x.array, abs=1e-6 * np.abs(found).max())


def test_a_leap_that_fails_leaves_the_state_alone(thick):
    driver, goal = thick
    system = driver.system
    system.thicken(1.0)
    start = system.snapshot()
    outcome = driver.leap(replace(goal, settle=False), "too few steps", 1)
    assert not outcome.converged
    assert system.x.x.array == pytest.approx(start[0], abs=0.0)
    assert system.Q_in == start[1]
