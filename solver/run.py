"""One flow computation from problem to result: read, solve coarse to fine, check, write."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import BranchEndError, ComputationError, InputError
from meshing.vessel import VesselMesh
from solver.engine import MPI
from solver.inlets import ProfileInlet
from solver.io import fields as field_file
from solver.io import guess as guess_file
from solver.io import mesh as mesh_file
from solver.io import profile as profile_file
from solver.io import pulse_state, rows
from solver.io import state as state_file
from solver.levels import Found, Search
from solver.parallel import on_all, on_root, peak_memory
from solver.problem import BranchEnd, FlowProblem, FlowResult, PulseResult
from solver.progress import Progress
from solver.pulsatile import Pulsatile
from solver.result import fluctuations, notes, patches, probe_values, status, wall_forces
from solver.scales import Scales, choose
from solver.steady import Outcome, SteadySolver
from solver.system import FlowSystem

log = logging.getLogger("solver")
Array = npt.NDArray[np.float64]
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
    progress: Progress = field(default_factory=Progress)
    saved_at: float = field(default_factory=perf_counter)
    pulse: PulseResult | None = None
    fields: dict[str, Array] | None = None

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall time of the block to a phase."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + perf_counter() - start

    def pulsate(self, driver: SteadySolver) -> None:
        """March in time from the steady flow of the means; its state becomes the mean over a period."""
        self.progress.keep = None
        state = None
        if self.output is not None:
            path = self.output / "pulse.h5"
            state_file.save(driver.system, self.output / "state.h5", self.mark)
            names = on_root(self.comm, lambda: pulse_state.names_of(path, self.mark))
            state = pulse_state.read(self.comm, path, names) if names else None
        if state is not None:
            self.notes.append("the march in time went on from a saved state")
        with self.timed("pulse"):
            march = Pulsatile(driver, self.problem, self.progress, self.keep_pulse)
            self.pulse = march.run(state)
            self.fields = march.cycle.fields()
            march.cycle.destroy()

    def keep_pulse(self, march: Pulsatile) -> None:
        """Write a restart state of a march when the last one is old."""
        old = perf_counter() - self.saved_at > SAVE_SECONDS
        if self.output is not None and self.comm.bcast(old, root=0):
            path = self.output / "pulse.h5"
            pulse_state.save(march.driver.system, march.saved(), path, self.mark)
            self.saved_at = perf_counter()

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
        BranchEndError: ``stop_at_branch_end``; ``branch_end.json``, that state's ``fields.h5`` and a state well before
            (``earlier.h5``, a guess for another mesh) are in ``output``.
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
        with run.timed("solve"):
            saved, begin = _saved_state(run), _given_fields(run, mesh)
            after = None if problem.pulse is None else run.pulsate
            found = Search(problem, mesh, scales, run.progress, saved, begin, after).run()
        run.seconds |= {f"solve: {phase}": value for phase, value in found.seconds.items()}
        system = found.system
        stopped = problem.stop_at_branch_end and not found.outcome.converged
        if stopped and found.outcome.thickening > 1.0:
            _stop(run, found)
        if not found.outcome.converged:
            _give_up(run, system, found.outcome)
        with run.timed("write"):
            if output is not None:
                field_file.write(system, output / "fields.h5", run.fields)
                state_file.save(system, output / "state.h5", run.mark)
    result = _result(run, found)
    system.destroy()
    if output is not None and run.comm.rank == 0:
        result.save(output / "flow.json")
    return result


def _prepare(problem: FlowProblem, output: Path) -> str:
    output.mkdir(parents=True, exist_ok=True)
    return state_file.fingerprint(problem)


# -- reading -----------------------------------------------------------------------------------


def _read(run: Run) -> tuple[mesh_file.FlowMesh, Scales]:
    """Read and check, choose scales, distribute."""
    problem, comm = run.problem, run.comm
    slab = mesh_file.read(comm, problem.mesh)
    on_root(comm, lambda: _check_patches(problem, slab.vessel))
    extent, inflow, inlet = slab.extent(comm), 0.0, slab.vessel.inlets[0]
    if isinstance(problem.inlet, ProfileInlet):
        file = problem.inlet.file
        facets, corners = slab.triangles(comm, inlet.tag)
        profile = on_root(comm, lambda: profile_file.read(file, facets))
        inflow = profile_file.inflow(profile, facets, corners)
    scales = on_root(comm, lambda: choose(problem, inlet.area, extent, inflow))
    return mesh_file.distribute(comm, slab, scales.length), scales


def _check_patches(problem: FlowProblem, vessel: VesselMesh) -> None:
    """Inlet and outlets of problem and mesh must agree."""
    faults = []
    if len(vessel.inlets) != 1:
        faults.append(f"{len(vessel.inlets)} inlets in the mesh, wanted 1")
    if not any(patch.role in ("wall", "slip") for patch in vessel.patches):
        faults.append("no wall in the mesh")
    named, there = set(problem.outlets), {patch.name for patch in vessel.outlets}
    faults += [f"outlet {name!r} of the mesh has no model" for name in sorted(there - named)]
    faults += [f"outlet {name!r} is not in the mesh" for name in sorted(named - there)]
    if not named:
        faults.append("no outlet at all")
    walls = {patch.name for patch in vessel.patches if patch.role == "wall"}
    faults += [
        f"no wall {name!r} to give the force on" for name in problem.forces if name not in walls
    ]
    if faults:
        raise InputError(
            file=vessel.path,
            field="patches",
            wanted="one inlet, a wall, one outlet model for each outlet of the mesh; forces on its walls",
            got="; ".join(faults),
            remedy=f"name the patches as in the mesh: outlets {sorted(there)}, walls {sorted(walls)}",
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


def _saved_state(run: Run) -> dict[str, Any] | None:
    """This rank's part of the restart state to start from."""

    def find() -> Path | None:
        if run.restart is not None:
            state_file.mark_of(run.restart)
            return run.restart
        candidate = None if run.output is None else run.output / "state.h5"
        if candidate is None or not candidate.exists():
            return None
        return candidate if state_file.mark_of(candidate) == run.mark else None

    path = on_root(run.comm, find)
    if path is None:
        return None
    run.notes.append("started from a saved state")
    return state_file.read(run.comm, path)


def _given_fields(run: Run, mesh: mesh_file.FlowMesh) -> Callable[[FlowSystem], float] | None:
    """What puts the problem's guess into a system (collective); None without one.

    Raises:
        InputError: The file is no guess for this mesh.
    """
    path = run.problem.guess
    if path is None:
        return None
    first, end = rows.span(run.comm, mesh.nodes)
    guess = on_all(run.comm, lambda: guess_file.read(path, mesh.nodes, first, end))
    run.notes.append("the search began with given fields")
    return lambda system: field_file.put(system, guess)


def _stop(run: Run, found: Found) -> None:
    """Write where the branch ended, the state there and one well before, and raise.

    Raises:
        BranchEndError: Always.
    """
    system, outcome = found.system, found.outcome
    flow, _ = system.functionals()
    outflow = {
        name: float(Q * system.scales.flow)
        for name, Q in zip(system.openings.names, flow, strict=True)
        if name != system.inlet
    }
    if run.output is not None:
        field_file.write(system, run.output / "fields.h5")
    if run.output is not None and outcome.earlier is not None:
        state, factor = outcome.earlier
        system.restore(state)
        field_file.save_guess(system, factor, run.output / "earlier.h5")
    memory = peak_memory(run.comm)
    if run.output is not None and run.comm.rank == 0:
        BranchEnd(
            factor=outcome.thickening,
            outflow=outflow,
            cells=system.mesh.cells,
            steps=len(run.progress.rows),
            seconds=round(run.seconds["solve"], 3),
            peak_memory_GiB=sum(memory),
        ).save(run.output / "branch_end.json")
    raise BranchEndError(outcome.reason)


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
        where = (
            f"the last state is in {run.output / 'state.h5'}, the history in history.json beside it"
        )
    raise ComputationError(
        f"the flow did not converge: {outcome.reason} after {outcome.steps} steps at relative residual "
        f"{outcome.residual:.2e} (wanted {run.problem.steady.tolerance:.0e}); {where}. Try: a finer mesh in "
        "the narrowing, steady.max_steps larger, or element P1-P1 for a first look"
    )


def _pulse_notes(run: Run) -> list[str]:
    if run.pulse is None or run.pulse.periodic:
        return []
    lacks = f"{run.pulse.errors[-1]:.1e}" if run.pulse.errors else "an unknown part"
    return [
        f"the flow is not periodic after {run.pulse.cycles} periods: {lacks} is lacking (pulse.tolerance)"
    ]


# -- result ------------------------------------------------------------------------------------


def _result(run: Run, found: Found) -> FlowResult:
    system, outcome = found.system, found.outcome
    opened = patches(system)
    flows = [patch.Q for patch in opened.values()]
    memory = peak_memory(run.comm)
    return FlowResult(
        status=status(found) if run.pulse is None else "periodic",
        thickening=outcome.thickening,
        base=outcome.base,
        captured=outcome.captured,
        branch_end=outcome.branch_end,
        element=run.problem.element,
        ranks=run.comm.size,
        dofs=system.space.dofs,
        cells=system.mesh.cells,
        steps=len(run.progress.rows),
        linear_iterations=run.progress.linear_iterations,
        residual=outcome.residual,
        mass_balance=float(abs(sum(flows)) / max(abs(flows[0]), 1e-300)),
        inlet=system.inlet,
        patches=opened,
        forces=wall_forces(system),
        probes=probe_values(system),
        scales=system.scales.as_dict(),
        seconds={name: round(value, 3) for name, value in run.seconds.items()},
        peak_memory_GiB=sum(memory),
        rank_memory_GiB=tuple(memory),
        history=run.progress.rows,
        fluctuations=fluctuations(found),
        pulse=run.pulse,
        notes=[*run.notes, *_pulse_notes(run), *notes(found)],
    )
