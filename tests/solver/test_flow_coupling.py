"""Low-rank outlet terms in operator and preconditioner against a dense solve."""

import numpy as np
import pytest

from solver.coupling import Emphasis, LowRank
from solver.engine import MPI, PETSc
from solver.linear import LinearOptions, LinearSolver


def _matrix(n, rng):
    dense = np.diag(np.full(n, 4.0)) + np.diag(np.full(n - 1, -1.3), 1)
    dense += np.diag(np.full(n - 1, -0.7), -1)
    A = PETSc.Mat().createAIJ([n, n], nnz=3, comm=MPI.COMM_SELF)
    for i in range(n):
        for j in range(max(0, i - 1), min(n, i + 2)):
            A.setValue(i, j, dense[i, j])
    A.assemble()
    A.setBlockSize(4)
    return A.convert("baij", PETSc.Mat()), dense


@pytest.mark.parametrize("outlets", [1, 6, 20])
@pytest.mark.parametrize("resistance", [1e-2, 1e4])
def test_outlets_match_the_dense_solve(measured, outlets, resistance):
    rng, n = np.random.default_rng(outlets), 120
    A, dense = _matrix(n, rng)
    V = np.zeros((n, outlets))
    for k in range(outlets):
        V[6 * k : 6 * k + 5, k] = rng.uniform(0.5, 1.0, 5)
    R = resistance * rng.uniform(0.5, 2.0, outlets)
    direction = np.full(n, n**-0.5)
    low_rank = LowRank(MPI.COMM_SELF, V * R, V)
    solver = LinearSolver(A, low_rank, Emphasis(MPI.COMM_SELF, direction, 30.0), LinearOptions())
    solver.factor()
    solver.couple(low_rank)
    x, b = A.createVecs()
    b.array[:] = rng.normal(size=n)
    iterations, good = solver.solve(b, x, 1e-12)
    exact = np.linalg.solve(dense + (V * R) @ V.T, b.array)
    assert good
    measured("difference", float(abs(x.array - exact).max() / abs(exact).max()), "< 1e-9")
    assert x.array == pytest.approx(exact, rel=1e-9, abs=1e-9 * float(abs(exact).max()))
    # a tridiagonal matrix's factors are exact but for their rounding (two digits and a half an iteration)
    assert iterations <= 6
    solver.destroy()


def test_what_rounded_products_find_is_held_against_the_operator():
    """Products off by a thousandth: the solution of a tolerance of 1e-5 is not taken, the solver goes on from it."""
    rng, n = np.random.default_rng(4), 120
    A, dense = _matrix(n, rng)
    low_rank = LowRank(MPI.COMM_SELF, np.zeros((n, 1)), np.zeros((n, 1)))
    solver = LinearSolver(
        A, low_rank, Emphasis(MPI.COMM_SELF, np.full(n, n**-0.5), 1.0), LinearOptions()
    )
    solver.factor()
    x, b = A.createVecs()
    b.array[:] = rng.normal(size=n)
    few, good = solver.solve(b, x, 1e-5)
    assert good
    assert solver.quick is not None
    exact, quick = solver.quick.mult, solver.quick

    def off(given, made):
        exact(given, made)
        made.scale(1.001)

    quick.mult = off  # type: ignore[method-assign]
    more, good = solver.solve(b, x, 1e-5)
    assert good
    assert more > few
    left = np.linalg.norm(dense @ x.array - b.array) / np.linalg.norm(b.array)
    assert left < 1.5e-5
    solver.destroy()


def test_without_the_correction_the_solver_would_need_a_step_an_outlet():
    """The preconditioner's correction is what keeps the count down: switch it off and see."""
    rng, n, outlets = np.random.default_rng(0), 120, 12
    A, _ = _matrix(n, rng)
    V = np.zeros((n, outlets))
    for k in range(outlets):
        V[6 * k : 6 * k + 5, k] = 1.0
    low_rank = LowRank(MPI.COMM_SELF, 1e4 * V * rng.uniform(0.5, 2, outlets), V)
    emphasis = Emphasis(MPI.COMM_SELF, np.full(n, n**-0.5), 1.0)
    solver = LinearSolver(A, low_rank, emphasis, LinearOptions())
    solver.factor()
    x, b = A.createVecs()
    b.array[:] = rng.normal(size=n)
    solver.woodbury.Z = np.zeros_like(low_rank.U)
    solver.woodbury.S = np.eye(outlets)
    iterations, _ = solver.solve(b, x, 1e-12)
    assert iterations >= outlets
    solver.destroy()


def test_products_with_few_rows_are_those_with_all():
    """Rows of zeros are left out of the products, and only those."""
    rng = np.random.default_rng(4)
    U, V = (rng.normal(size=(40, 3)) * (rng.uniform(size=(40, 1)) < 0.2) for _ in range(2))
    U[7], V[7, 1] = 0.0, 2.0
    low_rank, x, y = LowRank(MPI.COMM_SELF, U, V), rng.normal(size=40), rng.normal(size=40)
    assert low_rank.dots(x) == pytest.approx(V.T @ x, rel=1e-14)
    before = y.copy()
    low_rank.add(np.array([1.0, -2.0, 0.5]), y)
    assert y == pytest.approx(before + U @ [1.0, -2.0, 0.5], rel=1e-14)
