"""One flow computation from problem to result: read, solve coarse to fine, check, write."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from meshing.errors import ComputationError, InputError
from meshing.vessel import MeshArrays, VesselMesh
from solver.engine import MPI, dolfinx
from solver.io import fields as field_file
from solver.io import mesh as mesh_file
from solver.io import state as state_file
from solver.linear import LinearOptions
from solver.march import march
from solver.parallel import on_root, peak_memory_GiB
from solver.problem import FlowProblem, FlowResult, PatchFlow
from solver.progress import Progress
from solver.scales import Scales, choose
from solver.steady import (
    CORRECTOR_TOLERANCE,
    Goal,
    Outcome,
    SteadySolver,
    continue_in_viscosity,
)
from solver.system import FlowSystem

log = logging.getLogger("solver")
SAVE_SECONDS = 30.0
"""A restart state is written when the last one is older than this."""


@dataclass(slots=True)
class Run:
    """One computation while it runs."""

    problem: FlowProblem
    comm: MPI.Intracomm
    output: Path | None
    restart: Path | None = None
    mark: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fluctuations: dict[str, dict[str, float]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    saved_at: float = field(default_factory=perf_counter)

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall time of the block to a phase."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + perf_counter() - start

    def keep(self, system: FlowSystem) -> None:
        """Write a restart state when the last one is old."""
        old = perf_counter() - self.saved_at > SAVE_SECONDS
        if self.output is not None and self.comm.bcast(old, root=0):
            state_file.save(system, self.output / "state.h5", self.mark)
            self.saved_at = perf_counter()


def solve(
    problem: FlowProblem,
    comm: MPI.Intracomm | None = None,
    output: Path | None = None,
    restart: Path | None = None,
) -> FlowResult:
    """Solve a flow problem (collective).

    Args:
        problem: The problem; its mesh path must be absolute or relative to the working directory.
        comm: Communicator, all ranks by default.
        output: Folder for ``flow.json``, ``fields.h5`` and restart states; nothing is written without.
        restart: A ``state.h5`` to start from; in ``output`` the one of the same problem is found by itself.

    Raises:
        InputError: The problem or the mesh is at fault.
        ComputationError: No result; the last good state and the history are in ``output``.
    """
    run = Run(problem, comm or MPI.COMM_WORLD, output, restart)
    if output is not None:
        run.mark = on_root(run.comm, lambda: _prepare(problem, output))
    with run.timed("total"):
        with run.timed("read"):
            mesh, scales = _read(run)
        _tell(run, mesh, scales)
        run.progress.keep = run.keep
        system, outcome = _seek(run, mesh, scales)
        if not outcome.converged:
            _give_up(run, system, outcome)
        with run.timed("write"):
            if output is not None:
                field_file.write(system, output / "fields.h5")
                state_file.save(system, output / "state.h5", run.mark)
    result = _result(run, system, outcome)
    system.destroy()
    if output is not None and run.comm.rank == 0:
        result.save(output / "flow.json")
    return result


def _prepare(problem: FlowProblem, output: Path) -> str:
    output.mkdir(parents=True, exist_ok=True)
    return state_file.fingerprint(problem)


# -- reading -----------------------------------------------------------------------------------


def _read(run: Run) -> tuple[mesh_file.FlowMesh, Scales]:
    """Read and check on rank 0, choose scales, distribute."""
    held: list[tuple[VesselMesh, MeshArrays]] = []

    def read() -> Scales:
        vessel, arrays = mesh_file.read(run.problem.mesh)
        _check_patches(run.problem, vessel)
        held.append((vessel, arrays))
        extent = float(np.linalg.norm(np.ptp(arrays.points, axis=0)))
        return choose(run.problem, vessel.inlets[0].area, extent)

    scales = on_root(run.comm, read)
    return mesh_file.distribute(run.comm, held[0] if held else None, scales.length), scales


def _check_patches(problem: FlowProblem, vessel: VesselMesh) -> None:
    """Inlet and outlets of problem and mesh must agree."""
    faults = []
    if len(vessel.inlets) != 1:
        faults.append(f"{len(vessel.inlets)} inlets in the mesh, wanted 1")
    if not any(patch.role == "wall" for patch in vessel.patches):
        faults.append("no wall in the mesh")
    named, there = set(problem.outlets), {patch.name for patch in vessel.outlets}
    faults += [f"outlet {name!r} of the mesh has no model" for name in sorted(there - named)]
    faults += [f"outlet {name!r} is not in the mesh" for name in sorted(named - there)]
    if not named:
        faults.append("no outlet at all")
    if faults:
        raise InputError(
            file=vessel.path,
            field="outlets",
            wanted="one inlet, a wall, and one outlet model for each outlet of the mesh",
            got="; ".join(faults),
            remedy=f"name the outlets of the mesh in the problem: {sorted(there)}",
        )


def _tell(run: Run, mesh: mesh_file.FlowMesh, scales: Scales) -> None:
    if run.comm.rank == 0:
        log.info(
            "%d tetrahedra of order %d, %s, %d rank(s); Re %.0f on D %.3g mm, U %.3g m/s",
            mesh.cells,
            mesh.order,
            run.problem.element,
            run.comm.size,
            scales.reynolds,
            1e3 * scales.length,
            scales.velocity,
        )


# -- solving -----------------------------------------------------------------------------------


def _seek(run: Run, mesh: mesh_file.FlowMesh, scales: Scales) -> tuple[FlowSystem, Outcome]:
    """Go through the elements, coarse to fine; return the last system and how it ended."""
    element, options = run.problem.element, run.problem.steady
    state = _saved_state(run)
    degree = {"P1-P1": 1, "P2-P2": 2, "P2-P1": 2}[element]
    levels = [element] if state or element == "P1-P1" else ["P1-P1", element]
    coarse: FlowSystem | None = None
    rest: tuple[np.ndarray[Any, Any], float] | None = None
    for level in levels:
        last = level == levels[-1]
        with run.timed("set-up"):
            system = FlowSystem(run.problem, mesh, scales, level)
            linear = LinearOptions(
                direct=level == "P2-P1",
                rtol=options.linear_tolerance,
                max_iterations=options.max_linear_iterations,
            )
            driver = SteadySolver(system, linear, run.progress)
        with run.timed("solve"):
            if state is not None and int(state["degree"]) == degree:
                reference = driver.stokes()
                state_file.restore(system, state)
            elif coarse is None:
                reference = driver.stokes()
                rest = system.snapshot()
            else:
                reference = _carry(coarse, system, rest, driver)
            goal = Goal(reference, options.tolerance if last else 1e-2, options.max_steps, last)
            outcome = _climb(driver, goal, level, coarse is None)
            if last and not outcome.converged:
                outcome = _march(run, driver, outcome)
        _book(run, system, driver)
        driver.destroy()
        if coarse is not None:
            coarse.destroy()
        coarse = system
    return system, outcome


FACTORS = (3.0,)
"""Viscosity factors from which a steady state is followed when it is not found directly."""


def _climb(driver: SteadySolver, goal: Goal, level: str, first: bool) -> Outcome:
    """Find the steady state of one level: directly, else by continuation in the viscosity."""
    start = driver.system.snapshot()
    if first:
        return driver.run(goal, level)
    outcome = driver.newton(goal, level, 12, patience=1)
    for factor in FACTORS:
        if outcome.converged:
            break
        driver.system.restore(start)
        driver.system.thicken(factor)
        rough = Goal(goal.reference, CORRECTOR_TOLERANCE, 25, settle=False)
        thick = driver.run(rough, f"{level} nu*{factor:.0f}", 50.0)
        if thick.converged:
            outcome = continue_in_viscosity(driver, goal, level, factor)
    if not outcome.converged:
        driver.system.thicken(1.0)
    return outcome


def _march(run: Run, driver: SteadySolver, stalled: Outcome) -> Outcome:
    """March in time from where the search for a steady state ended, and average."""
    if run.comm.rank == 0:
        log.info("no steady state (%s): marching in time", stalled.reason)
    average = march(driver, run.problem.steady.march_flow_throughs, run.progress)
    if not average.finite:
        return stalled
    scales, names = driver.system.scales, driver.system.openings.names
    run.fluctuations = {
        name: {"Q": float(q * scales.flow), "p": float(p * scales.pressure)}
        for name, q, p in zip(names, average.Q_deviation, average.p_deviation, strict=True)
    }
    run.notes.append(
        f"no steady state was found ({stalled.reason}); mean over {average.steps} time steps of "
        f"{average.time_step * scales.length / scales.velocity:.3g} s"
    )
    return Outcome(True, stalled.residual, average.steps, "time-averaged")


def _carry(coarse: FlowSystem, fine: FlowSystem, rest: Any, driver: SteadySolver) -> float:  # noqa: ANN401
    """Interpolate the coarse state; return the fine residual at the coarse Stokes flow as reference."""
    found = coarse.snapshot()
    coarse.restore(rest)
    _interpolate(coarse, fine)
    fine.linearise_about_state()
    reference = fine.residual(driver.b)
    coarse.restore(found)
    _interpolate(coarse, fine)
    return reference


def _interpolate(coarse: FlowSystem, fine: FlowSystem) -> None:
    """Interpolate the state from one element to another on the same mesh."""
    columns = [
        (coarse.space.V, fine.space.V, coarse.space.velocity[:, c], fine.space.velocity[:, c])
        for c in range(3)
    ]
    columns.append((coarse.space.P, fine.space.P, coarse.space.pressure, fine.space.pressure))
    for source_space, target_space, take, put in columns:
        source, target = dolfinx.fem.Function(source_space), dolfinx.fem.Function(target_space)
        source.x.array[:] = coarse.x.x.array[take]
        target.interpolate(source)
        target.x.scatter_forward()
        fine.x.x.array[put] = target.x.array
    fine.Q_in = coarse.Q_in
    fine.apply_inlet()


def _saved_state(run: Run) -> dict[str, Any] | None:
    """The restart state to start from, on every rank."""

    def find() -> dict[str, Any] | None:
        if run.restart is not None:
            return state_file.read(run.restart)
        candidate = None if run.output is None else run.output / "state.h5"
        if candidate is None or not candidate.exists():
            return None
        state = state_file.read(candidate)
        return state if state["fingerprint"] == run.mark else None

    state = on_root(run.comm, find)
    if state is not None:
        run.notes.append("started from a saved state")
    return state


def _book(run: Run, system: FlowSystem, driver: SteadySolver) -> None:
    for phase, value in {**system.seconds, **driver.linear.seconds}.items():
        if phase != "set-up":
            name = {"solve": "krylov"}.get(phase, phase)
            run.seconds[name] = run.seconds.get(name, 0.0) + value


def _give_up(run: Run, system: FlowSystem, outcome: Outcome) -> None:
    """Save what there is and raise.

    Raises:
        ComputationError: Always.
    """
    where = "nothing was written (no output folder)"
    if run.output is not None:
        state_file.save(system, run.output / "state.h5", run.mark)
        if run.comm.rank == 0:
            (run.output / "history.json").write_text(json.dumps(run.progress.rows, indent=1))
        where = f"the last state is in {run.output / 'state.h5'}, the history in history.json beside it"
    raise ComputationError(
        f"the flow did not converge: {outcome.reason} after {outcome.steps} steps at relative residual "
        f"{outcome.residual:.2e} (wanted {run.problem.steady.tolerance:.0e}); {where}. Try: a finer mesh in "
        "the narrowing, steady.max_steps larger, or element P1-P1 for a first look"
    )


# -- result ------------------------------------------------------------------------------------


def _status(run: Run, outcome: Outcome) -> Literal["converged", "regularised", "time-averaged"]:
    if run.fluctuations:
        return "time-averaged"
    return "converged" if outcome.thickening == 1.0 else "regularised"


def _result(run: Run, system: FlowSystem, outcome: Outcome) -> FlowResult:
    scales, o = system.scales, system.openings
    Q, p = system.functionals()
    residual = np.abs(p - o.p0 - o.R * Q)
    if system.prescribed:
        residual[0] = 0.0
    patches = {
        name: PatchFlow(
            Q=float(Q[i] * scales.flow),
            p=float(p[i] * scales.pressure + scales.datum),
            area=float(o.area[i] * scales.length**2),
            residual=float(residual[i] * scales.pressure),
        )
        for i, name in enumerate(o.names)
    }
    traction = ", ".join(
        f"{name} {value * scales.pressure:.3g}"
        for name, value in zip(o.names, system.offset, strict=True)
    )
    if outcome.sensitivity is not None:
        shift = -outcome.sensitivity * scales.pressure * math.log(outcome.thickening)
        told = ", ".join(f"{name} {value:.2g}" for name, value in zip(o.names, shift, strict=True))
        run.notes.append(
            f"{outcome.reason}; the result is the steady state there. Estimated change of the mean "
            f"pressures [Pa] down to the real viscosity: {told}"
        )
    run.notes.append(f"traction minus mean pressure at the open patches [Pa]: {traction}")
    return FlowResult(
        status=_status(run, outcome),
        thickening=outcome.thickening,
        element=run.problem.element,
        ranks=run.comm.size,
        dofs=system.space.dofs,
        cells=system.mesh.cells,
        steps=len(run.progress.rows),
        linear_iterations=run.progress.linear_iterations,
        residual=outcome.residual,
        mass_balance=float(abs(Q.sum()) / max(abs(Q[0]), 1e-300)),
        inlet=system.inlet,
        patches=patches,
        scales=scales.as_dict(),
        seconds={name: round(value, 3) for name, value in run.seconds.items()},
        peak_memory_GiB=peak_memory_GiB(run.comm),
        history=run.progress.rows,
        fluctuations=run.fluctuations,
        notes=run.notes,
    )
