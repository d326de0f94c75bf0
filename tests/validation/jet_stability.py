r"""Linear stability of the axisymmetric flow through a stenosis: where its jet bends to one side by itself.

Perturbations $(a\cos m\theta, b\sin m\theta, c\cos m\theta, p\cos m\theta)\,e^{\sigma t}$ of velocity (r, theta, z) and
pressure, with nothing at the inlet and natural traction at the outlet; for $m \ge 1$ they carry no flow and no mean
pressure, so that the outlet's line plays no part. On the axis $a + b = c = p = 0$ (for $m > 1$ also $a = 0$): $a + b$
is an unknown in the place of $b$. Gradient form, the same elements and mapping as `axisymmetric.Problem`.

Reference: Sherwin & Blackburn (2005), https://doi.org/10.1017/S0022112005004271: 50 % of the diameter, the same cosine;
steady flow bends to the wall through a subcritical bifurcation (abstract read; the cosine at second hand).

Run it: ``python -m tests.validation.jet_stability 60 1.0 0.9 0.8 0.75`` (percent, multiples of the viscosity).
"""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from solver.engine import JIT_OPTIONS, MPI, dolfinx, element, mixed_element, ufl

if TYPE_CHECKING:
    from tests.validation.axisymmetric import Problem

INLET, OUTLET, WALL, AXIS = 1, 2, 3, 4
Components = tuple[Any, Any, Any]


class Perturbation:
    """The eigenvalue problem of one azimuthal wavenumber about the state that a problem holds.

    Args:
        problem: Holds the steady state; may move on to another one between two calls of `spectrum`.
        m: Azimuthal wavenumber, at least one.
    """

    def __init__(self, problem: Problem, m: int = 1) -> None:
        self.problem, self.m = problem, m
        V = element("Lagrange", "quadrilateral", 3, shape=(3,))
        P = element("Lagrange", "quadrilateral", 2)
        self.W = dolfinx.fem.functionspace(problem.mesh, mixed_element([V, P]))
        u, v = (self._components(f(self.W)) for f in (ufl.TrialFunctions, ufl.TestFunctions))
        mass = sum(u[0][i] * v[0][i] for i in range(3)) * problem.weight * problem.dx
        self.M = dolfinx.fem.form(mass, jit_options=JIT_OPTIONS)
        self.A = dolfinx.fem.form(self._operator(u, v), jit_options=JIT_OPTIONS)
        fixed = np.unique(np.concatenate(self._fixed())).astype(np.int32)
        self.bc = dolfinx.fem.dirichletbc(dolfinx.fem.Function(self.W), fixed)

    @staticmethod
    def _components(f: Any) -> tuple[Components, Any]:
        """(a, b, c) and p of an argument, whose second component is a + b."""
        x, p = f
        return (x[0], x[1] - x[0], x[2]), p

    def _operator(self, trial: Any, test: Any) -> Any:
        """Right-hand side of sigma M x = A x."""
        (u, p), (v, q), problem, m = trial, test, self.problem, self.m
        U, _ = ufl.split(problem.state)
        r, grad = problem.eta * problem.R, problem.grad
        slopes = grad(U[0]), grad(U[1])
        form = sum(ufl.inner(grad(u[i]), U) * v[i] for i in range(3))
        form += sum((u[0] * s[0] + u[2] * s[1]) * v[i] for s, i in zip(slopes, (0, 2), strict=True))
        form += u[1] * U[0] / r * v[1]
        viscous = sum(ufl.inner(grad(u[i]), grad(v[i])) for i in range(3))
        viscous += (m * u[0] + u[1]) * (m * v[0] + v[1]) / r**2
        viscous += ((u[0] + m * u[1]) * (v[0] + m * v[1]) + m**2 * u[2] * v[2]) / r**2
        form += problem.nu * viscous - p * self._div(v) + q * self._div(u)
        back = self._backflow(u, v, U) * problem.weight * problem.ds(OUTLET)
        return -form * problem.weight * problem.dx - back

    def _div(self, u: Components) -> Any:
        r, grad = self.problem.eta * self.problem.R, self.problem.grad
        return grad(u[0])[0] + (u[0] + self.m * u[1]) / r + grad(u[2])[1]

    def _backflow(self, u: Components, v: Components, U: Any) -> Any:
        """Derivative of the backflow term."""
        speed = ufl.sqrt(U[1] ** 2 + 1e-6)
        inward, slope = 0.5 * (U[1] - speed), 0.5 * (1 - U[1] / speed)
        own = inward * sum(u[i] * v[i] for i in range(3))
        return -self.problem.conditions.beta * (own + slope * u[2] * (U[0] * v[0] + U[1] * v[2]))

    def _fixed(self) -> list[npt.NDArray[np.int32]]:
        V, tags = self.W.sub(0), self.problem.tags
        on = [(V.sub(i), tag) for tag in (INLET, WALL) for i in range(3)]
        on += [(V.sub(i), AXIS) for i in range(1 if self.m == 1 else 0, 3)]
        on += [(self.W.sub(1), AXIS)]
        return [dolfinx.fem.locate_dofs_topological(sub, 1, tags.find(tag)) for sub, tag in on]

    def spectrum(self, count: int = 6) -> npt.NDArray[np.complex128]:
        """Eigenvalues nearest to zero [1/ms], the fastest growing first (shift and invert at zero)."""
        SLEPc: Any = importlib.import_module("slepc4py.SLEPc")  # in DOLFINx's wheel

        A = dolfinx.fem.petsc.assemble_matrix(self.A, [self.bc])
        M = dolfinx.fem.petsc.assemble_matrix(self.M, [self.bc], diag=0.0)
        A.assemble()
        M.assemble()
        eps = SLEPc.EPS().create(MPI.COMM_SELF)
        eps.setOperators(A, M)
        eps.setProblemType(SLEPc.EPS.ProblemType.GNHEP)
        eps.setDimensions(count, max(4 * count, 30))
        eps.setTarget(0.0)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        eps.setTolerances(1e-8, 60)
        eps.getST().setType("sinvert")
        ksp = eps.getST().getKSP()
        ksp.setType("preonly")
        ksp.getPC().setType("lu")
        ksp.getPC().setFactorSolverType("mumps")
        eps.solve()
        values = np.array([eps.getEigenvalue(i) for i in range(eps.getConverged())], complex)
        for thing in (eps, A, M):
            thing.destroy()
        return values[np.argsort(-values.real)]


def main() -> None:
    """Print the leading eigenvalues, times diameter over mean velocity, down in viscosity."""
    from tests.validation.axisymmetric import Conditions, Grid, Problem, Tube

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("percent", type=int)
    parser.add_argument("thickening", type=float, nargs="+", help="multiples of the viscosity")
    parser.add_argument("--outlet", type=float, default=Tube(0.0).outlet_extension, help="[mm]")
    parser.add_argument("--factor", type=float, default=0.8, help="refinement")
    parser.add_argument("-m", type=int, default=1, help="azimuthal wavenumber")
    arguments = parser.parse_args()
    tube = Tube(arguments.percent / 100, outlet_extension=arguments.outlet)
    problem = Problem(tube, Conditions(), Grid(factor=arguments.factor))
    modes = Perturbation(problem, arguments.m)
    targets = sorted(arguments.thickening, reverse=True)
    for thickening, Q in zip(targets, problem.follow(targets), strict=True):
        U = Q / tube.area
        leading = modes.spectrum()[:4] * tube.diameter / U
        print(  # noqa: T201
            f"{arguments.percent} %, {thickening:.3f} times the viscosity, Re "
            f"{U * tube.diameter / float(problem.nu.value):.1f}, m {arguments.m}: "
            + ", ".join(f"{value:.5f}" if value.imag else f"{value.real:.5f}" for value in leading),
            flush=True,
        )


if __name__ == "__main__":
    main()
