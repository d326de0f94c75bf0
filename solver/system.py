"""The discrete flow problem: residual, Jacobian and boundary models of one element on one mesh."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import boundary, tangent, terms
from solver.coupling import LowRank
from solver.engine import JIT_OPTIONS, MPI, dolfinx, ufl
from solver.hold import Hold
from solver.io.mesh import FlowMesh
from solver.problem import FlowProblem
from solver.scales import Scales
from solver.spaces import Space, build

Array = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]
QUADRATURE = {1: 2, 2: 4}


class FlowSystem:
    """Residual and Jacobian of one flow problem in dimensionless form.

    Attributes:
        x: The state (velocity and pressure), a DOLFINx function.
        Q_in: Flow into the domain through the inlet.
        offset: What is added to the traction of each open patch so that the *mean pressure* over the
            patch, not the traction, follows its model (zero until `settle_pressures`).
        hold: A force added to the equations for a while (`solver.detour`); None in the real problem.
    """

    def __init__(self, problem: FlowProblem, mesh: FlowMesh, scales: Scales, element: str) -> None:
        start = perf_counter()
        self.problem, self.mesh, self.scales = problem, mesh, scales
        self.comm = mesh.mesh.comm
        self.space: Space = build(mesh.mesh, element)
        self.x = dolfinx.fem.Function(self.space.W)
        self.advecting = dolfinx.fem.Function(self.space.W)
        self.frozen = dolfinx.fem.Function(self.space.W)
        self._r = dolfinx.fem.Function(self.space.W)
        self.inlet = mesh.inlet
        self.prescribed = problem.inlet.prescribes_flow
        self.nu = dolfinx.fem.Constant(mesh.mesh, 1.0 / scales.reynolds)
        self.strength = dolfinx.fem.Constant(mesh.mesh, terms.CAPTURING)
        self.capturing = False
        self.time_step: float | None = None
        self._build_forms()
        self.openings = boundary.openings(problem, mesh, scales, self.space)
        self.fixed = boundary.fixed(mesh, self.space)
        self.profile, self.Q_in = boundary.inlet_velocity(
            problem, mesh, scales, self.space, self.openings.flux[:, 0]
        )
        self.slot = None if self.prescribed else boundary.slot(self.space, self.profile)
        self.offset = np.zeros(len(self.openings.names))
        self.hold: Hold | None = None
        self.apply_inlet()
        kind = "baij" if self.space.equal_order else None
        self.A = dolfinx.fem.petsc.create_matrix(self.J[0], kind)
        self.balance = boundary.balance(self.space)
        self.seconds = {"set-up": perf_counter() - start, "assemble": 0.0}

    # -- forms ---------------------------------------------------------------------------------

    def _dx(self) -> Any:  # noqa: ANN401
        data = {"quadrature_degree": QUADRATURE[self.space.degree]}
        return ufl.Measure("dx", domain=self.mesh.mesh, metadata=data)

    def _fields(self, acceleration: Any = None) -> terms.Fields:  # noqa: ANN401
        space, dx, ds = self.space, self._dx(), boundary.measure(self.mesh, self.space)
        u, p = space.split(self.x)
        v, q = space.split(ufl.TestFunction(space.W))
        w, _ = space.split(self.advecting)
        f, g = space.split(self.frozen)
        outlets = boundary.tags(self.mesh, "outlet")
        smooth = boundary.tags(self.mesh, "slip")
        mesh = self.mesh.mesh
        beta = dolfinx.fem.Constant(mesh, self.problem.backflow_beta)
        rheology = self.problem.rheology
        nu = self.nu * self.thinning() if rheology.varies else self.nu
        return terms.Fields(
            u,
            p,
            v,
            q,
            w,
            f,
            acceleration,
            None,
            nu,
            beta,
            space.degree,
            dx,
            ds(outlets),
            g,
            self.strength,
            ds(smooth) if smooth else None,
            rheology.varies,
        )

    def thinning(self) -> Any:  # noqa: ANN401
        """Viscosity of the state over the reference one, a UFL expression (a number where it does not vary)."""
        if not self.problem.rheology.varies:
            return 1.0
        u, _ = self.space.split(self.x)
        unit = self.scales.velocity / self.scales.length
        return self.problem.rheology.ratio(unit * terms.shear_rate(u))

    def _model(self, *more: terms.Term) -> tuple[terms.Term, ...]:
        """Terms of the equations."""
        model = terms.EQUAL_ORDER if self.space.equal_order else terms.TAYLOR_HOOD
        if boundary.tags(self.mesh, "slip"):
            model = (*model, terms.slip)
        if self.problem.rheology.varies:
            model = (*model, terms.transposed_stress)
        return (*model, *more)

    def _build_forms(self) -> None:
        mesh = self.mesh.mesh
        self.inverse_cfl = dolfinx.fem.Constant(mesh, 0.0)
        self.newton = dolfinx.fem.Constant(mesh, 0.0)
        self.steady = self.F, self.J = self._compile(self._model(), self._fields())

    def _compile(
        self, model: tuple[terms.Term, ...], fields: terms.Fields
    ) -> tuple[Any, tuple[Any, ...]]:
        """Compile the residual and its Jacobian, with a pseudo-time term; the Jacobian's first part is in the cells."""
        F = dolfinx.fem.form(terms.residual(model, fields), jit_options=JIT_OPTIONS)
        in_cells = tuple(term for term in model if term not in terms.ON_FACETS)
        plain = set(in_cells) == set(terms.EQUAL_ORDER) - set(terms.ON_FACETS)
        if not plain or self.problem.rheology.varies:
            J = self._derivative(model, fields)
            du, _ = self.space.split(ufl.TrialFunction(self.space.W))
            J += self.inverse_cfl * terms.rate(fields) * ufl.inner(du, fields.v) * fields.dx
            return F, (dolfinx.fem.form(J, jit_options=JIT_OPTIONS),)
        functions = (self.x, self.advecting, self.frozen)
        constants = (self.nu, self.newton, self.inverse_cfl)
        degree = QUADRATURE[self.space.degree]
        cells = tangent.form(self.space.W, functions, constants, degree)
        facets = self._derivative(tuple(t for t in model if t in terms.ON_FACETS), fields)
        return F, (cells, dolfinx.fem.form(facets, jit_options=JIT_OPTIONS))

    def _derivative(self, model: tuple[terms.Term, ...], fields: terms.Fields) -> Any:  # noqa: ANN401
        """Picard's derivative of some terms, and what makes it Newton's."""
        F, trial = terms.residual(model, fields), ufl.TrialFunction(self.space.W)
        J = ufl.derivative(F, self.x, trial)
        J += self.newton * ufl.derivative(F, self.advecting, trial)
        return J + self.newton * ufl.derivative(F, self.frozen, trial)

    def capture(self, on: bool) -> None:
        """Add (or take out again) the viscosity that `terms.capturing` puts where the mesh is too coarse."""
        self.F, self.J = self.steady
        self.capturing = on
        self.set_capture(terms.CAPTURING)
        if on:
            self.F, self.J = self._compile(self._model(terms.capturing), self._fields())

    def set_capture(self, strength: float) -> None:
        """Set the coefficient of `terms.capturing`."""
        self.strength.value = strength

    # -- time ----------------------------------------------------------------------------------

    def start_marching(self, dt: float) -> None:
        """Add the acceleration ``(3/2 u - h) / dt``; see `remember` for ``h``."""
        self.time_step = dt
        self.history = dolfinx.fem.Function(self.space.W)
        u, _ = self.space.split(self.x)
        h, _ = self.space.split(self.history)
        rate = dolfinx.fem.Constant(self.mesh.mesh, 1.0 / dt)
        fields = self._fields(rate * (1.5 * u - h))
        self.F, self.J = self._compile(self._model(terms.inertia), fields)

    def remember(self, history: Array) -> None:
        """Set the history ``h`` of the time derivative (all local unknowns)."""
        self.history.x.array[:] = history

    def stop_marching(self) -> None:
        """Go back to the steady equations."""
        self.time_step = None
        self.F, self.J = self.steady

    def fastest_rate(self) -> float:
        """Largest advection rate of any element at the present advecting velocity."""
        V0 = dolfinx.fem.functionspace(self.mesh.mesh, ("DG", 0))
        rate = dolfinx.fem.Expression(
            terms.rate(self._fields()), V0.element.interpolation_points, jit_options=JIT_OPTIONS
        )
        values = dolfinx.fem.Function(V0)
        values.interpolate(rate)
        return float(self.comm.allreduce(values.x.array.max(initial=1e-12), op=MPI.MAX))

    def volume(self) -> float:
        """Dimensionless volume of the lumen."""
        one = dolfinx.fem.Constant(self.mesh.mesh, 1.0) * self._dx()
        local = dolfinx.fem.assemble_scalar(dolfinx.fem.form(one, jit_options=JIT_OPTIONS))
        return float(self.comm.allreduce(local))

    # -- state ---------------------------------------------------------------------------------

    def apply_inlet(self) -> None:
        """Put the inlet velocity, and no slip, into the state."""
        self.x.x.array[self.fixed] = self.Q_in * self.profile[self.fixed]

    def functionals(self) -> tuple[Array, Array]:
        """Flow out of, and mean pressure over, each open patch (one reduction)."""
        x = self.x.x.array[: self.space.owned]
        o = self.openings
        both = np.asarray(self.comm.allreduce(np.concatenate([o.flux.T @ x, o.mean.T @ x])))
        return both[: o.area.size], both[o.area.size :]

    def advance(self, step: Any, scale: float) -> None:  # noqa: ANN401
        """Add ``scale * step`` (a PETSc vector) to the state."""
        change = step.array_r * scale
        if not self.prescribed:
            mine = change[self.slot] if self.slot is not None else 0.0
            self.Q_in += self.comm.allreduce(float(mine))
        self.x.x.array[: self.space.owned] += change
        self.x.x.scatter_forward()
        self.apply_inlet()

    def distance(self, values: Array) -> float:
        """Euclidean distance of the state to another (all local unknowns)."""
        owned = self.space.owned
        apart = self.x.x.array[:owned] - values[:owned]
        return float(np.sqrt(self.comm.allreduce(float(apart @ apart))))

    def snapshot(self) -> tuple[Array, float]:
        """Copy of the state, for `restore`."""
        return np.array(self.x.x.array), self.Q_in

    def restore(self, saved: tuple[Array, float]) -> None:
        """Go back to a snapshot."""
        self.x.x.array[:], self.Q_in = saved

    def linearise_about_state(self) -> None:
        """Let the advecting and the frozen velocity equal the state."""
        self.advecting.x.array[:] = self.x.x.array
        self.frozen.x.array[:] = self.x.x.array

    def linearise_about_rest(self) -> None:
        """Let the advecting and the frozen velocity vanish: Stokes flow."""
        self.advecting.x.array[:] = 0.0
        self.frozen.x.array[:] = 0.0

    def thicken(self, factor: float) -> None:
        """Take ``factor`` times the viscosity (continuation; one is the real problem)."""
        self.nu.value = factor / self.scales.reynolds

    def mimic(self, other: FlowSystem, nodes: Nodes) -> None:
        """Take the equations and the state of a system of higher degree on the same mesh (both equal order).

        Args:
            other: The system.
            nodes: Its local node at each local node of this one.
        """
        if self.capturing != other.capturing:
            self.capture(other.capturing)
        if self.time_step != other.time_step:
            self.stop_marching()
            if other.time_step is not None:
                self.start_marching(other.time_step)
        self.nu.value, self.strength.value = other.nu.value, other.strength.value
        for mine, theirs in (
            (self.x, other.x),
            (self.advecting, other.advecting),
            (self.frozen, other.frozen),
        ):
            mine.x.array[:] = theirs.x.array.reshape(-1, 4)[nodes].ravel()

    def settle_pressures(self) -> Array:
        """Correct the tractions so that mean pressures follow the models that govern them; return the gaps before."""
        Q, p = self.functionals()
        o = self.openings
        gap = np.where(o.governed, o.p0 + o.R * Q - p, 0.0)
        self.offset += gap
        return gap

    # -- algebra -------------------------------------------------------------------------------

    def reaction(self) -> Array:
        """Assemble the residual without tractions, fixed unknowns free (the owned part, good until the next call)."""
        r = self._r.x
        r.array[:] = 0.0
        dolfinx.fem.assemble_vector(r.array, self.F)
        r.scatter_reverse(dolfinx.la.InsertMode.add)
        return np.asarray(r.array[: self.space.owned])

    def residual(self, b: Any) -> float:  # noqa: ANN401
        """Assemble the residual into the owned vector ``b``; return its norm."""
        start = perf_counter()
        o, owned = self.openings, self.reaction()
        Q, _ = self.functionals()
        traction = o.p0 + o.R * Q + self.offset
        owned += o.flux[:, 1:] @ traction[1:]
        if not self.prescribed:
            work = self.comm.allreduce(float(self.profile[: owned.size] @ owned))
        mine = self.fixed[self.fixed < owned.size]
        owned[mine] = 0.0
        if self.slot is not None:
            owned[self.slot] = work - traction[0]
        if self.hold is not None:
            owned += self.hold.load(self.x.x.array[: owned.size])
        b.array[:] = owned
        self.seconds["assemble"] += perf_counter() - start
        return float(b.norm())

    def jacobian(self, inverse_cfl: float, newton: float) -> LowRank:
        """Assemble the sparse part into ``A``; return the low-rank part."""
        start = perf_counter()
        self.inverse_cfl.value, self.newton.value = inverse_cfl, newton
        self.A.zeroEntries()
        for form in self.J:
            dolfinx.fem.petsc.assemble_matrix(self.A, form)
        self.A.assemble()
        low_rank = self._low_rank()
        first = self.A.getOwnershipRange()[0]
        mine = self.fixed[self.fixed < self.space.owned]
        self.A.zeroRowsColumns((mine + first).astype(np.int32), diag=1.0)
        self.seconds["assemble"] += perf_counter() - start
        return low_rank

    def _low_rank(self) -> LowRank:
        """Outlet terms, and the border of a pressure inlet; needs ``A`` before rows are fixed."""
        o, owned = self.openings, self.space.owned
        mine = self.fixed[self.fixed < owned]
        flux = o.flux[:, 1:].copy()
        flux[mine] = 0.0
        U, V = [flux * o.R[1:]], [flux]
        if not self.prescribed:
            w, out = self.A.createVecs()
            w.array[:] = self.profile[:owned]
            self.A.mult(w, out)
            corner = w.dot(out)
            column = out.array_r.copy()
            self.A.multTranspose(w, out)
            row = out.array_r.copy()
            column[mine], row[mine] = 0.0, 0.0
            unit = np.zeros(owned)
            if self.slot is not None:
                unit[self.slot] = 1.0
                row[self.slot] = corner - 1.0
            U.append(np.stack([column, unit], axis=1))
            V.append(np.stack([unit, row], axis=1))
            w.destroy()
            out.destroy()
        low = LowRank(self.comm, np.concatenate(U, axis=1), np.concatenate(V, axis=1))
        return low if self.hold is None else self.hold.join(low)

    def destroy(self) -> None:
        """Free the matrix (collective)."""
        self.A.destroy()
