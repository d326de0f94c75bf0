"""Time steps: order two, outlets on their lines, mass in balance, and no limit from convection."""

import math

import numpy as np
import pytest

from solver.engine import MPI
from solver.levels import Search
from solver.problem import FlowProblem
from solver.progress import Progress
from solver.run import Run, _read
from solver.stepper import Stepper

DURATION = 4.0  # dimensionless: diameters at the mean velocity


def _inflow(t):
    """Flow over its mean: at the mean and at rest at the start."""
    return 1.0 + 0.25 * (1.0 - math.cos(2.0 * math.pi * t / DURATION))


def _steady(mesh_file, flow):
    """The steady flow of a tube: the search, its system and the state."""
    problem = FlowProblem.model_validate(
        {
            "mesh": str(mesh_file),
            "element": "P1-P1",
            "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
            "inlet": {"kind": "flow", "Q": flow},
            "outlets": {"out": {"kind": "resistance", "R": 6e8}},
        }
    )
    mesh, scales = _read(Run(problem, MPI.COMM_SELF, None))
    search = Search(problem, mesh, scales, Progress(), None)
    found = search.run()
    assert found.outcome.converged
    return search, found.system, found.system.snapshot()


@pytest.fixture(scope="module")
def start(tube):
    """A steady flow, whose system every march goes back to."""
    return _steady(tube, 1.5e-6)


def _march(start, steps, duration=DURATION):
    """Pressures over time (inlet, outlet), and the system at the end."""
    search, system, first = start
    system.restore(first)
    system.offset[:] = 0.0
    system.settle_pressures()
    driver = search._solver(system)
    stepper, told = Stepper(driver, duration / steps), []
    for k in range(1, steps + 1):
        stepper.step(first[1] * _inflow(duration * k / steps))
        assert stepper.good
        told.append(system.functionals()[1])
    stepper.stop()
    driver.destroy()
    return np.array(told), system


def test_order_two_in_time(start):
    """Errors of the pressure drop against many steps fall by four when the steps are halved."""
    exact, _ = _march(start, 128)
    best = exact[:, 0] - exact[:, 1]
    errors = []
    for steps in (8, 16, 32):
        p, _ = _march(start, steps)
        drop = p[:, 0] - p[:, 1]
        errors.append(np.abs(drop - best[128 // steps - 1 :: 128 // steps])[1:].max())
    assert errors[0] < 0.3 * np.abs(best).max()
    assert math.log2(errors[1] / errors[2]) > 1.7, errors


def test_outlets_and_mass_at_the_end_of_a_march(start):
    """The gap between mean pressure and model falls with the second power of the step."""
    gaps = []
    for steps in (10, 20, 40):
        _, system = _march(start, steps)
        Q, p = system.functionals()
        openings = system.openings
        assert abs(Q.sum()) < 1e-6 * abs(Q[0])
        assert Q[1] == pytest.approx(start[2][1], rel=1e-6)
        gaps.append(abs(p[1] - openings.p0[1] - openings.R[1] * Q[1]))
    assert gaps[0] < 0.1
    assert math.log2(gaps[1] / gaps[2]) > 1.7, gaps


def test_no_limit_from_convection(start):
    """A step in which the flow crosses tens of elements: the flow stays, and comes to rest where it was."""
    _, system, first = start
    cfl = 8.0 * system.fastest_rate() / 2.0
    assert cfl > 20.0
    p, _ = _march(start, 6, duration=48.0)
    system.restore(first)
    assert np.isfinite(p).all()
    assert abs(p[-1, 0] - system.functionals()[1][0]) < 0.5 * np.abs(p).max()


def test_a_jet_comes_to_rest_in_long_steps(flow_meshes, tmp_path):
    """Steps of a whole throat's passage, through the shear layer behind it: the way does not swing.

    Convected by the extrapolated velocity alone, changes grow again: 5e-3 after four steps, 9e-3 after twenty.
    """
    flow_meshes.stenosis(
        tmp_path, D=3e-3, reduction=0.5, h=7.5e-4, upstream=1.0, downstream=5.0, order=1
    )
    search, system, first = _steady(tmp_path / "mesh.json", 2.6e-6)
    driver = search._solver(system)
    stepper, changes = Stepper(driver, 1.0), []
    for _ in range(20):
        stepper.step(1.05 * first[1])
        assert stepper.good
        changes.append(stepper.change)
    assert changes[4] < 3e-3
    assert changes[-1] < 1e-5
    stepper.stop()
    driver.destroy()


def test_a_step_that_breaks_down_is_undone(start):
    search, system, first = start
    system.restore(first)
    driver = search._solver(system)
    stepper = Stepper(driver, 0.1)
    stepper.step(1e3 * first[1])
    assert not stepper.good
    assert system.Q_in == first[1]
    assert np.array_equal(system.x.x.array, first[0])
    stepper.stop()
    driver.destroy()
