r"""Slow modes of a linearised flow: the directions in which a jet bends when its steady branch turns back.

Right modes $J\phi = \sigma M\phi$ and left modes $J^T\psi = \sigma M\psi$ of least $|\sigma|$ with $\sigma$ real, by
subspace iteration with exact factors ($M$: mass matrix of the velocity; $\sigma$ in reference velocities over the
reference length; positive decays). Quadratic elements begin with the modes of the linear ones at the same state.

Reference:
    Saad (2011), Numerical Methods for Large Eigenvalue Problems, SIAM, ch. 5, https://doi.org/10.1137/1.9781611970739.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.coarse import CoarseLevel
from solver.coupling import LowRank
from solver.engine import JIT_OPTIONS, dolfinx, ufl
from solver.factors import exact
from solver.steady import SteadySolver
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
SPARE, ITERATIONS = 4, 8
"""Vectors beyond those wanted, and iterations of the subspace."""
POLISH, POLISH_TOLERANCE = 2, 1e-3
"""Inverse iterations on quadratic elements that start from the linear ones' modes, and how exact their solves are."""
REAL = 1e-6
"""Imaginary part, relative, up to which a rate counts as real."""


@dataclass(frozen=True, slots=True)
class Modes:
    r"""Slow modes, slowest first.

    Attributes:
        rates: $\sigma$ of the right modes, ``(k,)``.
        right: Loads $M\phi$ over the owned unknowns, ``(n, k)``, orthonormal.
        left: Loads $M\psi$, likewise.
    """

    rates: Array
    right: Array
    left: Array


class Inverse:
    """``(A + U V^T)^-1`` and its transpose with exact factors of ``A``; owned parts of distributed vectors."""

    def __init__(self, system: FlowSystem, factors: Any, low: LowRank) -> None:  # noqa: ANN401
        self.factors, self.low, self.comm = factors, low, system.comm
        self.x, self.y = system.A.createVecs()
        self.Z, self.S = self._border(low.U, low.V, transposed=False)
        self.ZT, self.ST = self._border(low.V, low.U, transposed=True)

    def _border(self, U: Array, V: Array, *, transposed: bool) -> tuple[Array, Array]:
        columns = [self._plain(U[:, k], transposed) for k in range(U.shape[1])]
        Z = np.stack(columns, axis=1)
        return Z, np.eye(U.shape[1]) + np.asarray(self.comm.allreduce(V.T @ Z))

    def _plain(self, b: Array, transposed: bool) -> Array:
        self.x.array[:] = b
        apply = self.factors.applyTranspose if transposed else self.factors.apply
        apply(self.x, self.y)
        return np.array(self.y.array_r)

    def solve(self, b: Array, *, transposed: bool = False) -> Array:
        """Solve for one right-hand side."""
        y = self._plain(b, transposed)
        Z, S, V = (self.ZT, self.ST, self.low.U) if transposed else (self.Z, self.S, self.low.V)
        return np.asarray(y - Z @ np.linalg.solve(S, np.asarray(self.comm.allreduce(V.T @ y))))

    def destroy(self) -> None:
        """Free the PETSc vectors (collective)."""
        self.x.destroy()
        self.y.destroy()


class Mass:
    """Product with the mass matrix of the velocity, zero at fixed unknowns."""

    def __init__(self, system: FlowSystem) -> None:
        self.space, self.field = system.space, dolfinx.fem.Function(system.space.W)
        u, _ = self.space.split(self.field)
        v, _ = self.space.split(ufl.TestFunction(self.space.W))
        dx = ufl.Measure("dx", metadata={"quadrature_degree": 2 * self.space.degree})
        self.form = dolfinx.fem.form(ufl.inner(u, v) * dx, jit_options=JIT_OPTIONS)
        self.fixed = system.held
        self.out = dolfinx.fem.Function(self.space.W)

    def __call__(self, values: Array) -> Array:
        """Multiply the owned part of a vector."""
        owned, field, out = self.space.owned, self.field.x, self.out.x
        field.array[:owned] = values
        field.array[self.fixed] = 0.0
        field.scatter_forward()
        out.array[:] = 0.0
        dolfinx.fem.assemble_vector(out.array, self.form)
        out.scatter_reverse(dolfinx.la.InsertMode.add)
        load = np.array(out.array[:owned])
        load[self.fixed] = 0.0
        return load


def slow_modes(driver: SteadySolver, count: int) -> Modes:
    """Slow real modes of a solver's system at its state (collective).

    Args:
        driver: Solver of the system; its factors are renewed.
        count: How many at most; there may be fewer real ones.
    """
    system, level = driver.system, driver.linear.coarse
    driver.refactor()
    if isinstance(level, CoarseLevel):
        where, low = level.coarse, level.low_rank
    else:
        where, low = system, driver.linear.low_rank
    factors = exact(where.A)
    inverse, mass = Inverse(where, factors, low), Mass(where)
    right = _subspace(inverse, mass, count, transposed=False)
    left = _subspace(inverse, mass, count, transposed=True)
    inverse.destroy()
    factors.destroy()
    k = min(right.shape[1], left.shape[1])
    right, left = right[:, :k], left[:, :k]
    if isinstance(level, CoarseLevel) and k > 0:
        right, left = (np.stack([level.prolong(x) for x in X.T], axis=1) for X in (right, left))
    return _polish(driver, right, left)


def _polish(driver: SteadySolver, right: Array, left: Array) -> Modes:
    """Inverse iterations on the system itself."""
    system, mass = driver.system, Mass(driver.system)
    if right.shape[1] == 0:
        return Modes(np.zeros(0), right, left)
    for _ in range(POLISH):
        right = _orthonormal(system.comm, right)
        answer = np.stack([driver.respond(mass(x), POLISH_TOLERANCE) for x in right.T], axis=1)
        H, right = np.asarray(system.comm.allreduce(right.T @ answer)), answer
        left = _orthonormal(system.comm, left)
        left = np.stack(
            [driver.respond(mass(x), POLISH_TOLERANCE, transposed=True) for x in left.T], axis=1
        )
    loads = [
        _orthonormal(system.comm, np.stack([mass(x) for x in X.T], axis=1)) for X in (right, left)
    ]
    return Modes(1.0 / np.linalg.eigvals(H).real, *loads)


def _subspace(inverse: Inverse, mass: Mass, count: int, *, transposed: bool) -> Array:
    """Slow real modes, slowest first, ``(n, k)``."""
    comm = inverse.comm
    X = _orthonormal(comm, _start(mass, count + SPARE))
    for _ in range(ITERATIONS):
        columns = [inverse.solve(mass(x), transposed=transposed) for x in X.T]
        Y = np.stack(columns, axis=1)
        H = np.asarray(comm.allreduce(X.T @ Y))
        previous, X = X, _orthonormal(comm, Y)
    inverse_rates, vectors = np.linalg.eig(H)
    order = np.argsort(-np.abs(inverse_rates))
    real = [i for i in order if abs(inverse_rates[i].imag) <= REAL * abs(inverse_rates[i])][:count]
    return np.asarray(previous @ vectors[:, real].real)


def _start(mass: Mass, count: int) -> Array:
    """Vectors to start from, the same on any number of ranks: waves over the nodes' coordinates."""
    space = mass.space
    x = space.V.tabulate_dof_coordinates()
    start = np.zeros((space.owned, count))
    for j in range(count):
        for c in range(3):
            wave = np.sin(x @ np.roll([1.7, 2.3, 0.9], c + j) * (1.0 + 0.37 * j) + c)
            at = space.velocity[:, c]
            mine = at < space.owned
            start[at[mine], j] = wave[mine]
    start[mass.fixed] = 0.0
    return start


def _orthonormal(comm: Any, X: Array) -> Array:  # noqa: ANN401
    """Orthonormal columns of the same span (Cholesky's factor of the Gram matrix, twice)."""
    X = X / np.sqrt(np.asarray(comm.allreduce((X * X).sum(axis=0))))
    for _ in range(2):
        R = np.linalg.cholesky(np.asarray(comm.allreduce(X.T @ X)), upper=True)
        X = np.linalg.solve(R.T, X.T).T
    return X
