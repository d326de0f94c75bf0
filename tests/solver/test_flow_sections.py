"""Sections along the vessel: what they are, their operator, and what they save."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meshing.vessel import VesselMesh
from solver.engine import MPI
from solver.io import mesh as mesh_file
from solver.linear import LinearOptions
from solver.problem import FlowProblem
from solver.progress import Progress
from solver.scales import choose
from solver.sections import KEPT, SectionLevel
from solver.steady import SteadySolver
from solver.system import FlowSystem


@pytest.fixture
def system(fork):
    """Linear elements on the fork."""
    given = {
        "mesh": str(fork),
        "element": "P1-P1",
        "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
        "inlet": {"kind": "pressure", "p": 12_000.0},
        "outlets": {name: {"kind": "resistance", "R": 6e9} for name in ("out0", "out1")},
    }
    problem = FlowProblem.model_validate(given)
    vessel = VesselMesh.load(problem.mesh)
    scales = choose(problem, vessel.inlets[0].area, 0.03)
    mesh = mesh_file.load(MPI.COMM_SELF, problem.mesh, scales.length)
    return FlowSystem(problem, mesh, scales, "P1-P1")


def _driver(system, level):
    return SteadySolver(system, LinearOptions(max_iterations=400), Progress(), level)


def test_sections_cover_the_vessel_branch_by_branch(system):
    """Weights add up to one; behind the junction no section has nodes of both arms."""
    level = SectionLevel(system)
    sections = level.sections
    assert sections.weight.shape[1] == KEPT
    assert sections.weight.sum(axis=1) == pytest.approx(1.0)
    assert set(sections.index[sections.weight > 0]) == set(range(len(sections.colour)))
    points = system.space.V.tabulate_dof_coordinates()
    ends = [points[system.space.nodes_on(system.mesh.facets(n))].mean(0) for n in ("out0", "out1")]
    near = [np.linalg.norm(points - end, axis=1) < 1.0 for end in ends]
    own = [set(sections.index[mask, 0]) for mask in near]
    assert not own[0] & own[1]


def _on_ranks(mesh, ranks):
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), sys.executable]
    command += ["-m", "tests.solver.sections_on_ranks", str(mesh)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "UCX_TLS": "self,sm,tcp"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return {name: np.array(told) for name, told in json.loads(done.stdout).items()}


def test_the_sections_are_the_same_on_any_ranks(fork):
    """The same vertices in each, with the same weights, whatever its number; and it sees the same others."""
    one, many = _on_ranks(fork, 1), _on_ranks(fork, 4)
    count = len(one["colour"])
    assert len(many["colour"]) == count > 10
    n = len(one["nodes"])
    row = np.repeat(np.arange(n), KEPT)
    W = [np.zeros((n, count)) for _ in range(2)]
    for table, told in zip(W, (one, many), strict=True):
        np.add.at(table, (row, told["index"].ravel()), told["weight"].ravel())
    number = [int(np.abs(W[1] - W[0][:, [k]]).sum(axis=0).argmin()) for k in range(count)]
    assert sorted(number) == list(range(count))
    assert W[1][:, number] == pytest.approx(W[0], abs=1e-12)
    for k in range(count):
        mine = {number[s] for s in one["near"][k] if s >= 0}
        assert mine == {s for s in many["near"][number[k]] if s >= 0}


def test_the_operator_is_galerkins(system):
    """Made from one product a colour; the same as all products."""
    level = SectionLevel(system)
    driver = _driver(system, level)
    driver.stokes()
    Z, count = level.Z.toarray(), level.Z.shape[1]
    products = np.empty((Z.shape[0], count))
    for k in range(count):
        level.z.array[:] = Z[:, k]
        system.A.mult(level.z, level.Az)
        products[:, k] = level.Az.array_r
    wanted = Z.T @ products
    assert level.operator == pytest.approx(wanted, abs=1e-12 * np.abs(wanted).max())
    assert level.regular
    driver.destroy()


def test_the_transpose_is_one(system):
    """``v . C x = C^T v . x``."""
    level = SectionLevel(system)
    driver, random = _driver(system, level), np.random.default_rng(1)
    driver.stokes()
    x, y = system.A.createVecs()
    v, w = system.A.createVecs()
    x.array[:], v.array[:] = random.normal(size=(2, system.space.owned))
    level.correct(x, y)
    level.correct(v, w, transposed=True)
    assert v.dot(y) == pytest.approx(w.dot(x), rel=1e-9)
    driver.destroy()


def test_sections_save_iterations_and_change_nothing(system):
    """The same linear system with and without them."""
    load = np.random.default_rng(2).normal(size=system.space.owned)
    counts, found = [], []
    for level in (SectionLevel(system), None):
        driver = _driver(system, level)
        system.x.x.array[:], system.Q_in = 0.0, 0.0
        driver.stokes()
        driver.b.array[:] = load
        iterations, good = driver.linear.solve(driver.b, driver.dx, 1e-8)
        assert good
        counts.append(iterations)
        found.append(np.array(driver.dx.array_r))
        driver.destroy()
    assert found[0] == pytest.approx(found[1], abs=1e-5 * np.abs(found[1]).max())
    assert counts[0] < 0.7 * counts[1]
