"""The coarse level of quadratic elements: exact prolongation, and what it saves."""

import numpy as np
import pytest

from meshing.vessel import VesselMesh
from solver import coarse as coarse_module
from solver.coarse import CoarseLevel
from solver.engine import MPI
from solver.io import mesh as mesh_file
from solver.linear import LinearOptions, LinearSolver
from solver.problem import FlowProblem
from solver.scales import choose
from solver.system import FlowSystem

MU = 3.5e-3


@pytest.fixture(scope="module")
def systems(flow_meshes, tmp_path_factory):
    """A long stenosed tube: quadratic and linear systems at the same smooth state, and their meshes."""
    folder = tmp_path_factory.mktemp("coarse")
    flow_meshes.stenosis(folder, D=3e-3, reduction=0.5, h=3e-3 / 3)
    problem = FlowProblem.model_validate(
        {
            "mesh": str(folder / "mesh.json"),
            "element": "P2-P2",
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "pressure", "p": 12_000.0},
            "outlets": {"out": {"kind": "resistance", "R": 6e9}},
        }
    )
    vessel = VesselMesh.load(problem.mesh)
    scales = choose(problem, vessel.inlets[0].area, 0.03)
    mesh = mesh_file.load(MPI.COMM_SELF, problem.mesh, scales.length)
    fine, coarse = (FlowSystem(problem, mesh, scales, name) for name in ("P2-P2", "P1-P1"))
    points = fine.space.V.tabulate_dof_coordinates()
    nodes = fine.space.velocity[:, 0] // 4
    state = fine.x.x.array.reshape(-1, 4)
    state[nodes, 0] = 1.0 - np.hypot(points[:, 1], points[:, 2]) ** 2
    state[nodes, 3] = 1.0 - points[:, 0] / 10.0
    fine.apply_inlet()
    fine.linearise_about_state()
    return fine, coarse


def _solver(fine, coarse):
    low_rank = fine.jacobian(0.0, 1.0)
    level = None if coarse is None else CoarseLevel(fine, coarse)
    solver = LinearSolver(fine.A, low_rank, fine.balance, LinearOptions(rtol=1e-6), level)
    solver.factor()
    solver.couple(low_rank)
    return solver


def test_linear_functions_are_carried_exactly(systems):
    fine, coarse = systems
    level = CoarseLevel(fine, coarse)
    order = coarse.space.velocity[:, 0] // 4
    places = np.empty((len(order), 3))
    places[order] = coarse.space.V.tabulate_dof_coordinates()
    inside = np.empty((fine.space.owned // 4, 3))
    inside[fine.space.velocity[:, 0] // 4] = fine.space.V.tabulate_dof_coordinates()
    carried = level.P @ (places @ [1.0, -2.0, 0.5] + 3.0)
    gap = abs(carried - (inside @ [1.0, -2.0, 0.5] + 3.0))
    free = np.setdiff1d(np.arange(len(gap)), fine.fixed // 4)
    assert gap[free].max() < 0.02  # mid-edge nodes near the wall lie on curved edges
    assert np.median(gap[free]) < 1e-12
    level.destroy()


@pytest.fixture
def three_levels(monkeypatch):
    """Incomplete factors and sections on the coarse level, however small it is."""
    monkeypatch.setattr(coarse_module, "EXACT_UNKNOWNS", 0)


def _compared(systems):
    """Iterations without and with the coarse level; the solutions' difference, relative."""
    fine, coarse = systems
    solutions, counts = [], []
    for second in (None, coarse):
        solver = _solver(fine, second)
        b, x = fine.A.createVecs()
        fine.residual(b)
        iterations, good = solver.solve(b, x, 1e-8)
        assert good
        counts.append(iterations)
        solutions.append(x.array.copy())
        solver.destroy()
    return counts, np.linalg.norm(solutions[1] - solutions[0]) / np.linalg.norm(solutions[0])


def test_a_coarse_level_saves_most_iterations_and_changes_nothing(systems):
    (without, having), apart = _compared(systems)
    assert having < 0.6 * without
    assert apart < 1e-4


def test_three_levels_do_nearly_as_well(systems, three_levels):
    (without, having), apart = _compared(systems)
    assert having < 0.7 * without
    assert apart < 1e-4


def test_three_levels_turned_around(systems, three_levels):
    """One transposed application is the transpose: ``v . C x = C^T v . x``."""
    fine, coarse = systems
    fine.linearise_about_state()
    level = CoarseLevel(fine, coarse)
    fine.jacobian(0.0, 1.0)
    level.factor()
    level.factors = level.two
    x, y = fine.A.createVecs()
    v, w = fine.A.createVecs()
    x.array[:], v.array[:] = np.random.default_rng(5).normal(size=(2, x.array.size))
    level.correct(x, y)
    level.correct(v, w, transposed=True)
    assert v.dot(y) == pytest.approx(w.dot(x), rel=1e-4)  # factors in single precision
    level.destroy()


def test_equations_are_copied(systems):
    fine, coarse = systems
    level = CoarseLevel(fine, coarse)
    fine.thicken(2.0)
    fine.capture(True)
    fine.start_marching(0.1)
    level.factor()
    assert coarse.nu.value == fine.nu.value
    assert (coarse.capturing, coarse.time_step) == (True, 0.1)
    fine.stop_marching()
    fine.capture(False)
    fine.thicken(1.0)
    level.factor()
    assert coarse.compiled is coarse.equations.steady
    assert coarse.equations.rate.value == 0.0
    level.destroy()
