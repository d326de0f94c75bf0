r"""A fractional-step method to hold the solver's own time step against: incremental pressure correction, second order.

Each step predicts the velocity, component by component with one scalar matrix, and projects it:
$\tfrac{1}{2\Delta t}(3u - 4u^n + u^{n-1}) + N(u) - \nu\Delta u + \nabla p^\sharp = 0$ with
$p^\sharp = p^n + \tfrac43\varphi^n - \tfrac13\varphi^{n-1}$, then $\Delta\varphi = \tfrac{3}{2\Delta t}\nabla\cdot u$,
$p^{n+1} = p^n + \varphi$. Convection is explicit (extrapolated to second order: constant matrices, a CFL limit) or
semi-implicit (advected by the extrapolated velocity: a new scalar matrix a step, no limit). An outlet $p = p_d + R Q$
is implicit: $\varphi = \varphi_0 + \sum_k c_k\psi_k$, with one potential $\psi_k$ per outlet computed beforehand, and
the $c_k$ from a small system. Plain Galerkin: no stabilisation.

Reference:
    Guermond, Minev & Shen (2006), Comput. Methods Appl. Mech. Engrg. 195, 6011-6045,
    https://doi.org/10.1016/j.cma.2005.10.010, sec. 3.2 and 3.5; outlets: Bertoglio, Caiazzo & Fernandez (2013), SIAM J.
    Sci. Comput. 35, B551-B575, https://doi.org/10.1137/120874412.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import boundary
from solver.engine import JIT_OPTIONS, PETSc, dolfinx, ufl
from solver.spaces import DEGREES
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
RTOL = 1e-6
PROJECTIONS = 10
"""Of the first state: the pressure of a step would be off by what is left of its divergence over the step."""


class FractionalStep:
    """Marches a flow with an inlet of given flow in time, from the state of a system of the velocity's degree.

    Attributes:
        Q: Flow out of each open patch, inlet first, dimensionless.
        p: Pressure at each outlet, dimensionless.
        seconds: Wall time by kind of work.
    """

    def __init__(self, system: FlowSystem, element: str, dt: float, *, explicit: bool) -> None:
        mesh, comm = system.mesh.mesh, system.comm
        self.system, self.dt, self.explicit = system, dt, explicit
        self.V = V = system.space.V
        self.P = P = dolfinx.fem.functionspace(mesh, ("Lagrange", DEGREES[element][1]))
        nu = float(system.nu.value)
        dx = ufl.Measure("dx", metadata={"quadrature_degree": 2 * system.space.degree})
        u, v, p, q = (f(S) for S in (V, P) for f in (ufl.TrialFunction, ufl.TestFunction))
        self.u = [dolfinx.fem.Function(V) for _ in range(3)]
        self.old = [dolfinx.fem.Function(V) for _ in range(3)]
        self.w = [dolfinx.fem.Function(V) for _ in range(3)]
        w, now, old = (ufl.as_vector(f) for f in (self.w, self.u, self.old))
        self.M = _matrix(u * v * dx)
        rest = 1.5 / dt * u * v * dx + nu * ufl.inner(ufl.grad(u), ufl.grad(v)) * dx
        carried = (ufl.dot(w, ufl.grad(u)) + 0.5 * ufl.div(w) * u) * v * dx
        self.momentum = _form(rest if explicit else rest + carried)
        self.held = _fixed_nodes(system)
        self.bc = dolfinx.fem.dirichletbc(PETSc.ScalarType(0.0), self.held, V)
        self.A = dolfinx.fem.petsc.assemble_matrix(self.momentum, [self.bc])
        self.A.assemble()
        self.convection = [
            _form(
                (2.0 * (ufl.dot(now, ufl.grad(now[i])) + 0.5 * ufl.div(now) * now[i]) * v) * dx
                - (ufl.dot(old, ufl.grad(old[i])) + 0.5 * ufl.div(old) * old[i]) * v * dx
            )
            for i in range(3)
        ]
        self.G = [_matrix(p.dx(i) * v * dx) for i in range(3)]
        self.D = [_matrix(u.dx(i) * q * dx) for i in range(3)]
        self.outlets = [name for name in system.openings.names if name != system.inlet]
        at = {
            name: dolfinx.fem.locate_dofs_topological(P, 2, system.mesh.facets(name))
            for name in self.outlets
        }
        everywhere = np.unique(np.concatenate(list(at.values())))
        ends = dolfinx.fem.dirichletbc(PETSc.ScalarType(0.0), everywhere, P)
        stiffness = _form(ufl.inner(ufl.grad(p), ufl.grad(q)) * dx)
        self.K = dolfinx.fem.petsc.assemble_matrix(stiffness)
        self.K.assemble()
        self.K0 = dolfinx.fem.petsc.assemble_matrix(stiffness, [ends])
        self.K0.assemble()
        self.p_now, self.phi, self.phi_old, self.rhs, self.lift = (
            self.K.createVecRight() for _ in range(5)
        )
        self.ends = everywhere[everywhere < P.dofmap.index_map.size_local]
        self.indicator = []
        for name in self.outlets:
            one = self.K.createVecRight()
            mine = at[name][at[name] < P.dofmap.index_map.size_local]
            one.array[mine] = 1.0
            self.indicator.append(one)
        self.velocity_solver = PETSc.KSP().create(comm)
        self.velocity_solver.setOperators(self.A)
        self.velocity_solver.setType("cg" if explicit else "bcgs")
        self.velocity_solver.getPC().setType("bjacobi")
        self.velocity_solver.setInitialGuessNonzero(True)
        self.velocity_solver.setTolerances(rtol=RTOL, max_it=500)
        self.poisson = PETSc.KSP().create(comm)
        self.poisson.setOperators(self.K0)
        self.poisson.setType("preonly")
        self.poisson.getPC().setType("lu")
        self.poisson.getPC().setFactorSolverType("mumps")
        self.seconds = {"momentum": 0.0, "pressure": 0.0, "assemble": 0.0}
        self._start(_form(u * v * dx))
        self._potentials()

    def _start(self, mass: Any) -> None:  # noqa: ANN401
        """The state of the system, as if it had been there before, its velocity projected to this one's divergence."""
        x, space = self.system.x.x.array, self.system.space
        for i in range(3):
            self.u[i].x.array[:] = x[space.velocity[:, i]]
        M = dolfinx.fem.petsc.assemble_matrix(mass, [self.bc])
        M.assemble()
        load, step = M.createVecs()
        solver = PETSc.KSP().create(self.system.comm)
        solver.setOperators(M)
        solver.setType("cg")
        solver.getPC().setType("jacobi")
        solver.setTolerances(rtol=1e-8)
        chi, part = self.K.createVecs()
        for _ in range(PROJECTIONS):
            self.rhs.set(0.0)
            for i in range(3):
                self.D[i].mult(self.u[i].x.petsc_vec, part)
                self.rhs.axpy(-1.0, part)
            self.rhs.array[self.ends] = 0.0
            self.poisson.solve(self.rhs, chi)
            for i in range(3):
                self.G[i].mult(chi, load)
                load.array[self.held[self.held < load.local_size]] = 0.0
                solver.solve(load, step)
                self.u[i].x.petsc_vec.axpy(-1.0, step)
                self.u[i].x.scatter_forward()
        for i in range(3):
            self.old[i].x.array[:] = self.u[i].x.array
        source, target = dolfinx.fem.Function(space.P), dolfinx.fem.Function(self.P)
        source.x.array[:] = x[space.pressure]
        target.interpolate(source)
        self.p_now.array[:] = target.x.array[: self.p_now.local_size]
        o = self.system.openings
        owned = self.M.getLocalSize()[0]
        self.flux = [o.flux[space.velocity[:owned, i]] for i in range(3)]
        self.Q = self._flows()
        self.p = (o.p0 + o.R * self.Q)[1:]
        self._set_ends(self.p_now, self.p)

    def _set_ends(self, vector: Any, values: Array) -> None:  # noqa: ANN401
        for one, value in zip(self.indicator, values, strict=True):
            mine = np.flatnonzero(one.array_r)
            vector.array[mine] = value

    def _flows(self) -> Array:
        local = sum(f.T @ u.x.array[: len(f)] for f, u in zip(self.flux, self.u, strict=True))
        return np.asarray(self.system.comm.allreduce(local))

    def _potentials(self) -> None:
        """A potential for each outlet: one there, zero at the others; and what each draws through each."""
        self.psi = []
        for one in self.indicator:
            self.K.mult(one, self.rhs)
            self.rhs.scale(-1.0)
            self.rhs.array[self.ends] = one.array_r[self.ends]
            psi = self.K.createVecRight()
            self.poisson.solve(self.rhs, psi)
            self.psi.append(psi)
        n = len(self.psi)
        self.through = np.empty((n, n))  # of outlet k's end by potential l
        for column, psi in enumerate(self.psi):
            self.K.mult(psi, self.lift)
            self.through[:, column] = [one.dot(self.lift) for one in self.indicator]

    def step(self, inflow: float) -> int:
        """Go on by a time step to a flow into the domain; return the iterations of the momentum solves."""
        system, dt, began = self.system, self.dt, perf_counter()
        now, before = [np.array(f.x.array) for f in self.u], [np.array(f.x.array) for f in self.old]
        for i in range(3):
            self.w[i].x.array[:] = 2.0 * now[i] - before[i]
        if not self.explicit:
            self.A.zeroEntries()
            dolfinx.fem.petsc.assemble_matrix(self.A, self.momentum, [self.bc])
            self.A.assemble()
        loads = []
        sharp = self.p_now.duplicate()
        self.p_now.copy(sharp)
        sharp.axpy(4.0 / 3.0, self.phi)
        sharp.axpy(-1.0 / 3.0, self.phi_old)
        profile = inflow * system.profile
        for i in range(3):
            history, load = self.M.createVecs()
            history.array[:] = (4.0 * now[i] - before[i])[: history.local_size] / (2.0 * dt)
            self.M.mult(history, load)
            if self.explicit:
                vector = dolfinx.fem.assemble_vector(self.convection[i])
                vector.scatter_reverse(dolfinx.la.InsertMode.add)
                load.array[:] -= vector.array[: load.local_size]
            pull = load.duplicate()
            self.G[i].mult(sharp, pull)
            load.axpy(-1.0, pull)
            loads.append(load)
        self.seconds["assemble"] += perf_counter() - began
        began, iterations = perf_counter(), 0
        for i in range(3):
            given = dolfinx.fem.Function(self.V)
            given.x.array[:] = profile[system.space.velocity[:, i]]
            kept = np.zeros_like(given.x.array)
            kept[self.held] = given.x.array[self.held]
            bc = dolfinx.fem.Function(self.V)
            bc.x.array[:] = kept
            value = dolfinx.fem.dirichletbc(bc, self.held)
            dolfinx.fem.petsc.apply_lifting(loads[i], [self.momentum], bcs=[[value]])
            mine = self.held[self.held < loads[i].local_size]
            loads[i].array[mine] = kept[mine]
            self.old[i].x.array[:] = now[i]
            x = self.u[i].x
            x.array[:] = self.w[i].x.array
            solution = x.petsc_vec
            self.velocity_solver.solve(loads[i], solution)
            if self.velocity_solver.getConvergedReason() <= 0:
                raise ArithmeticError("the momentum solve does not converge")
            x.scatter_forward()
            iterations += self.velocity_solver.getIterationNumber()
        self.seconds["momentum"] += perf_counter() - began
        began = perf_counter()
        self._project()
        self.seconds["pressure"] += perf_counter() - began
        return iterations

    def _project(self) -> None:
        """The pressure increment, with the outlets' pressures in it."""
        o, dt = self.system.openings, self.dt
        self.rhs.set(0.0)
        part = self.rhs.duplicate()
        for i in range(3):
            self.D[i].mult(self.u[i].x.petsc_vec, part)
            self.rhs.axpy(-1.5 / dt, part)
        source = self.rhs.copy()
        self.rhs.array[self.ends] = 0.0
        plain = self.K.createVecRight()
        self.poisson.solve(self.rhs, plain)
        self.K.mult(plain, self.lift)
        self.lift.axpy(-1.0, source)
        # flow after the projection: Q* - (2 dt / 3) (integral of the increment's normal derivative)
        drawn = np.array([one.dot(self.lift) for one in self.indicator])
        Q = self._flows()
        R, p0, step = o.R[1:], o.p0[1:], 2.0 * dt / 3.0
        gap = p0 + R * (Q[1:] - step * drawn) - self.p
        c = np.linalg.solve(np.eye(len(R)) + step * R[:, None] * self.through, gap)
        self.phi.copy(self.phi_old)
        plain.copy(self.phi)
        for value, psi in zip(c, self.psi, strict=True):
            self.phi.axpy(float(value), psi)
        self.p = self.p + c
        self.p_now.axpy(1.0, self.phi)
        self.Q = Q.copy()
        self.Q[1:] -= step * (drawn + self.through @ c)

    def inlet_pressure(self) -> float:
        """Mean pressure over the inlet, of the nodes of its facets."""
        nodes = dolfinx.fem.locate_dofs_topological(
            self.P, 2, self.system.mesh.facets(self.system.inlet)
        )
        mine = nodes[nodes < self.p_now.local_size]
        comm, values = self.system.comm, self.p_now.array_r[mine]
        return float(comm.allreduce(values.sum()) / comm.allreduce(len(values)))


def _fixed_nodes(system: FlowSystem) -> npt.NDArray[np.int32]:
    return np.unique(system.space.nodes_on(boundary.facets(system.mesh, "wall", "inlet")))


def _form(expression: Any) -> Any:  # noqa: ANN401
    return dolfinx.fem.form(expression, jit_options=JIT_OPTIONS)


def _matrix(expression: Any) -> Any:  # noqa: ANN401
    A = dolfinx.fem.petsc.assemble_matrix(_form(expression))
    A.assemble()
    return A
