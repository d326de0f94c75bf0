"""Problems with the velocity given on the boundary, from the solver's own terms: Newton with a direct solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ufl

from solver import terms
from solver.engine import MPI, PETSc, dolfinx
from solver.spaces import Space, build

TOLERANCE, STEPS = 1e-11, 15


def boundary_nodes(space: Space) -> np.ndarray:
    """V's nodes on the boundary."""
    mesh = space.V.mesh
    mesh.topology.create_connectivity(2, 3)
    return space.nodes_on(dolfinx.mesh.exterior_facet_indices(mesh.topology))


def pressure_node(space: Space) -> int:
    """P's node at the origin, or the nearest to it."""
    return int(np.argmin(np.linalg.norm(space.P.tabulate_dof_coordinates(), axis=1)))


def integral(form: Any) -> float:
    """Value of a form (one process)."""
    return float(dolfinx.fem.assemble_scalar(dolfinx.fem.form(form)))


class Newton:
    """Solves ``F(x) = 0`` with some unknowns held where they are; forms are compiled once."""

    def __init__(self, F: Any, x: Any, space: Space, held: np.ndarray) -> None:
        self.x, self.held = x, held.astype(np.int32)
        self.J = dolfinx.fem.form(ufl.derivative(F, x, ufl.TrialFunction(space.W)))
        self.F = dolfinx.fem.form(F)
        self.A = dolfinx.fem.petsc.create_matrix(self.J)
        self.b, self.step = dolfinx.fem.Function(space.W), dolfinx.fem.Function(space.W)
        self.solver = PETSc.KSP().create(MPI.COMM_SELF)
        self.solver.setType("preonly")
        self.solver.getPC().setType("lu")
        self.solver.getPC().setFactorSolverType("mumps")

    def solve(self) -> int:
        """Solve; return the number of steps."""
        for step in range(STEPS):
            self.b.x.array[:] = 0.0
            dolfinx.fem.assemble_vector(self.b.x.array, self.F)
            self.b.x.array[self.held] = 0.0
            if np.linalg.norm(self.b.x.array) < TOLERANCE:
                return step
            self.A.zeroEntries()
            dolfinx.fem.petsc.assemble_matrix(self.A, self.J)
            self.A.assemble()
            self.A.zeroRowsColumns(self.held, diag=1.0)
            self.solver.setOperators(self.A)
            self.solver.solve(self.b.x.petsc_vec, self.step.x.petsc_vec)
            self.x.x.array[:] -= self.step.x.array
        raise AssertionError("Newton's method did not converge")


class March:
    """An unsteady flow of given viscosity, by second-order backward differences with Newton's method a step.

    Begins at time ``dt``, from the exact velocities then and at 0 of ``exact(points, t)``, ``(n, 3)`` in and out.
    """

    def __init__(
        self,
        mesh: Any,
        element: str,
        exact: Callable[[np.ndarray, float], np.ndarray],
        nu: float,
        dt: float,
        quadrature: int = 6,
    ) -> None:
        self.space = space = build(mesh, element)
        self.exact, self.dt, self.t = exact, dt, dt
        self.where = space.V.tabulate_dof_coordinates()
        self.x, self.history = dolfinx.fem.Function(space.W), dolfinx.fem.Function(space.W)
        self.before = exact(self.where, 0.0)
        self.x.x.array[space.velocity] = exact(self.where, dt)
        normal = ufl.FacetNormal(mesh)
        through = ufl.inner(space.split(ufl.TestFunction(space.W))[0], normal) * ufl.ds(mesh)
        self.flux = dolfinx.fem.assemble_vector(dolfinx.fem.form(through)).array[space.velocity]
        u, p = space.split(self.x)
        v, q = space.split(ufl.TestFunction(space.W))
        h, _ = space.split(self.history)
        self.dx = ufl.Measure("dx", domain=mesh, metadata={"quadrature_degree": quadrature})
        rate, none = (1.5 * u - h) / dt, ufl.Measure("ds", domain=mesh)
        degree = space.degree
        fields = terms.Fields(u, p, v, q, u, u, rate, None, nu, 0.0, degree, self.dx, none)
        model = terms.EQUAL_ORDER if space.equal_order else terms.TAYLOR_HOOD
        F = terms.residual((*model, terms.inertia), fields)
        self.nodes = boundary_nodes(space)
        held = space.velocity[self.nodes].ravel()
        held = np.append(held, space.pressure[pressure_node(space)])
        self.newton = Newton(F, self.x, space, held)

    def run(self, end: float) -> March:
        """March to a time."""
        velocity = self.space.velocity
        while self.t < end - 1e-9 * self.dt:
            now = self.x.x.array[velocity].copy()
            self.history.x.array[velocity] = 2 * now - 0.5 * self.before
            self.before, self.t = now, self.t + self.dt
            self.x.x.array[velocity[self.nodes]] = self._at_rim()
            self.newton.solve()
        return self

    def _at_rim(self) -> np.ndarray:
        """The exact velocity on the boundary, less what its interpolant carries out (spread as by a swelling).

        Else the held pressure's equation, the one left out, takes it all: a sink at that node.
        """
        places, flux = self.where[self.nodes], self.flux[self.nodes]
        velocity, swelling = self.exact(places, self.t), places - places.mean(axis=0)
        return np.asarray(velocity - (flux * velocity).sum() / (flux * swelling).sum() * swelling)
