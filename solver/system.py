"""The discrete flow problem: residual, Jacobian and boundary models of one element on one mesh."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import boundary, terms
from solver.blocks import Blocks, Strip
from solver.coupling import LowRank
from solver.engine import JIT_OPTIONS, MPI, dolfinx
from solver.equations import Equations
from solver.hold import Hold
from solver.inflow import inlet_velocity
from solver.io.mesh import FlowMesh
from solver.problem import FlowProblem
from solver.scales import Scales
from solver.spaces import Space, build

Array = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]


class FlowSystem:
    """Residual and Jacobian of one flow problem in dimensionless form.

    Attributes:
        x: The state (velocity and pressure), a DOLFINx function.
        Q_in: Flow into the domain through the inlet.
        profile: Velocity that carries a unit flow in, all local unknowns.
        pulsation: Velocity over the inlet that carries no flow (`solver.womersley`); zero in a steady flow.
        offset: What is added to the traction of each open patch so that the *mean pressure* over the
            patch, not the traction, follows its model (zero until `settle_pressures`).
        fixed: Velocity unknowns without freedom, ghosts too.
        held: Those that this rank owns.
        free_flux: Flow out of each outlet as a functional of the owned unknowns, zero at fixed ones.
        hold: A force added to the equations for a while (`solver.detour`); None in the real problem.
    """

    def __init__(self, problem: FlowProblem, mesh: FlowMesh, scales: Scales, element: str) -> None:
        start = perf_counter()
        self.problem, self.mesh, self.scales = problem, mesh, scales
        self.comm = mesh.mesh.comm
        self.space: Space = build(mesh.mesh, element)
        self.equations = eq = Equations(problem, mesh, scales, self.space)
        self.x, self.advecting, self.frozen = eq.x, eq.advecting, eq.frozen
        self.nu, self.strength = eq.nu, eq.strength
        self.newton, self.inverse_cfl = eq.newton, eq.inverse_cfl
        self.compiled = eq.steady
        self._r = dolfinx.fem.Function(self.space.W)
        self.inlet = mesh.inlet
        self.prescribed = problem.inlet.prescribes_flow
        self.capturing = False
        self.time_step: float | None = None
        self.openings = boundary.openings(problem, mesh, scales, self.space)
        self.fixed = boundary.fixed(mesh, self.space)
        self.held = self.fixed[self.fixed < self.space.owned]
        self.free_flux = np.asfortranarray(self.openings.flux[:, 1:])
        self.free_flux[self.held] = 0.0
        self.profile, self.Q_in = inlet_velocity(
            problem, mesh, scales, self.space, self.openings.flux[:, 0]
        )
        self.pulsation = np.zeros_like(self.profile)
        self.slot = None if self.prescribed else boundary.slot(self.space, self.profile)
        self.offset = np.zeros(len(self.openings.names))
        self.hold: Hold | None = None
        self.apply_inlet()
        self.A, self.blocks = self._matrix()
        self.strip: Strip | None = None
        self.balance = boundary.balance(self.space)
        self.seconds = {"set-up": perf_counter() - start, "assemble": 0.0}

    # -- equations -----------------------------------------------------------------------------

    def thinning(self) -> Any:  # noqa: ANN401
        """Viscosity of the state over the reference one (`Equations.thinning`)."""
        return self.equations.thinning()

    def capture(self, on: bool) -> None:
        """Add (or take out again) the viscosity that `terms.capturing` puts where the mesh is too coarse."""
        self.capturing = on
        self.set_capture(terms.CAPTURING)
        self.compiled = self.equations.capturing() if on else self.equations.steady

    def set_capture(self, strength: float) -> None:
        """Set the coefficient of `terms.capturing`."""
        self.strength.value = strength

    # -- time ----------------------------------------------------------------------------------

    def start_marching(self, dt: float) -> None:
        """Add the acceleration ``(3/2 u - h) / dt``; see `remember` for ``h``."""
        self.time_step = dt
        self.equations.rate.value = 1.0 / dt
        self.compiled = self.equations.marching()

    def remember(self, history: Array) -> None:
        """Set the history ``h`` of the time derivative (all local unknowns)."""
        self.equations.history.x.array[:] = history

    def stop_marching(self) -> None:
        """Go back to the steady equations."""
        self.time_step = None
        self.equations.rate.value = 0.0
        self.compiled = self.equations.steady

    def fastest_rate(self) -> float:
        """Largest advection rate of any element at the present advecting velocity."""
        V0 = dolfinx.fem.functionspace(self.mesh.mesh, ("DG", 0))
        rate = dolfinx.fem.Expression(
            terms.rate(self.equations.fields()),
            V0.element.interpolation_points,
            jit_options=JIT_OPTIONS,
        )
        values = dolfinx.fem.Function(V0)
        values.interpolate(rate)
        return float(self.comm.allreduce(values.x.array.max(initial=1e-12), op=MPI.MAX))

    def volume(self) -> float:
        """Dimensionless volume of the lumen."""
        one = dolfinx.fem.Constant(self.mesh.mesh, 1.0) * self.equations.dx
        local = dolfinx.fem.assemble_scalar(dolfinx.fem.form(one, jit_options=JIT_OPTIONS))
        return float(self.comm.allreduce(local))

    # -- state ---------------------------------------------------------------------------------

    def apply_inlet(self) -> None:
        """Put the inlet velocity, and no slip, into the state."""
        inflow = self.Q_in * self.profile[self.fixed] + self.pulsation[self.fixed]
        self.x.x.array[self.fixed] = inflow

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
        """Correct the tractions so that mean pressures, or flows, are what they should be; return the gaps before."""
        Q, p = self.functionals()
        o = self.openings
        model = o.p0 + o.R * Q
        gap = np.where(o.flows, model, np.where(o.governed, model - p, 0.0))
        self.offset += gap
        return gap

    # -- algebra -------------------------------------------------------------------------------

    def _matrix(self) -> tuple[Any, Blocks | None]:
        """A matrix with every entry there will be; its blocks, where there are any."""
        form = self.equations.everywhere()
        if not self.space.equal_order:
            return dolfinx.fem.petsc.create_matrix(form), None
        A = dolfinx.fem.petsc.create_matrix(form, "baij")
        dolfinx.fem.petsc.assemble_matrix(A, form)
        A.assemble()
        return A, Blocks(A, self.held)

    def reaction(self) -> Array:
        """Assemble the residual without tractions, fixed unknowns free (the owned part, good until the next call)."""
        r = self._r.x
        r.array[:] = 0.0
        dolfinx.fem.assemble_vector(r.array, self.compiled.residual)
        if self.compiled.cells is not None:
            self.compiled.cells.add_residual(r.array)
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
        owned[self.held] = 0.0
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
        for form in self.compiled.jacobian:
            dolfinx.fem.petsc.assemble_matrix(self.A, form)
        self.A.assemble()
        if self.blocks is not None and self.compiled.cells is not None:
            self.blocks.add(self.compiled.cells)
        low_rank = self._low_rank()
        if self.blocks is not None:
            self.blocks.fix()
        else:
            first = self.A.getOwnershipRange()[0]
            self.A.zeroRowsColumns((self.held + first).astype(np.int32), diag=1.0)
        self.seconds["assemble"] += perf_counter() - start
        return low_rank

    def _low_rank(self) -> LowRank:
        """Outlet terms, and the border of a pressure inlet; needs ``A`` before rows are fixed."""
        free, owned = self.free_flux, self.space.owned
        count, more = free.shape[1], 0 if self.prescribed else 2
        U, V = (np.zeros((owned, count + more), order="F") for _ in range(2))
        V[:, :count] = free
        np.multiply(free, self.openings.R[1:], out=U[:, :count])
        if more:
            column, row = self._times_profile()
            corner = self.comm.allreduce(float(self.profile[:owned] @ column))
            column[self.held], row[self.held] = 0.0, 0.0
            if self.slot is not None:
                U[self.slot, -1] = V[self.slot, -2] = 1.0
                row[self.slot] = corner - 1.0
            U[:, -2], V[:, -1] = column, row
        low = LowRank(self.comm, U, V)
        return low if self.hold is None else self.hold.join(low)

    def _times_profile(self) -> tuple[Array, Array]:
        """``A w`` and ``A^T w`` over the owned unknowns for the inlet's profile ``w``."""
        w = self.profile[: self.space.owned]
        if self.blocks is not None:
            if self.strip is None:
                self.strip = self.blocks.strip(w)
            return self.blocks.multiply(self.strip), self.blocks.multiply_transposed(self.strip)
        x, y = self.A.createVecs()
        x.array[:] = w
        self.A.mult(x, y)
        ahead = y.array_r.copy()
        self.A.multTranspose(x, y)
        turned = y.array_r.copy()
        x.destroy()
        y.destroy()
        return ahead, turned

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        if self.blocks is not None:
            self.blocks.destroy()
        self.A.destroy()
