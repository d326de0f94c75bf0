"""From rest to the steady state: a thick fluid on linear elements first, the real one on the element asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import terms
from solver.coarse import EXACT_UNKNOWNS, CoarseLevel
from solver.continuation import continue_in_viscosity, wean
from solver.engine import dolfinx
from solver.follow import CORRECTOR_TOLERANCE, Knob, follow
from solver.io import state as state_file
from solver.io.mesh import FlowMesh
from solver.linear import LinearOptions
from solver.march import Average, march
from solver.problem import FlowProblem
from solver.progress import Progress
from solver.scales import Scales
from solver.sections import SectionLevel, Sections, cut
from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

log = logging.getLogger("solver")
State = tuple[npt.NDArray[np.float64], float]
VERY_THICK = (8.0, 40.0, 200.0)
"""Viscosity factors at one of which Newton's method converges from Stokes flow."""
THICK = 3.0
"""Viscosity factor at which linear elements hand over to quadratic ones."""
COARSE_TOLERANCE, COARSE_STEPS = 2e-2, 25
"""How good the linear elements' states need to be, and how many steps they may take in all."""
FEW_STEPS, THICK_CFL, THICK_STEPS = 12, 50.0, 30


@dataclass(slots=True)
class Found:
    """What the search ended with.

    Attributes:
        system: The system of the finest element, with its state.
        outcome: How it ended.
        average: The time average, where there was no steady state.
        seconds: Wall time by kind of work.
    """

    system: FlowSystem
    outcome: Outcome
    average: Average | None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Descent:
    """Linear elements' states on the way from a thick fluid to the real one.

    Attributes:
        reference: Residual of the full equations at Stokes flow.
        rest: Stokes flow.
        thick: State at `THICK` times the viscosity, or as near to it as the way went.
        last: State at the least viscosity reached.
        complete: Whether that is the real one.
    """

    reference: float
    rest: State
    thick: State
    last: State
    complete: bool


@dataclass(slots=True)
class Search:
    """One search for the flow of a problem on a mesh.

    Attributes:
        problem: The problem.
        mesh: The mesh.
        scales: The scales.
        progress: Where steps are told.
        saved: A restart state, if any.
        after: Goes on from a state that was found, with the solver of the finest element; None where that is all.
        begin: Puts given fields into a system's state and returns the factor on the viscosity they solve; None without.
        seconds: Wall time by kind of work.
        sections: Those of the linear elements, once cut.
    """

    problem: FlowProblem
    mesh: FlowMesh
    scales: Scales
    progress: Progress
    saved: dict[str, Any] | None
    begin: Callable[[FlowSystem], float] | None = None
    after: Callable[[SteadySolver], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    sections: Sections | None = None

    def run(self) -> Found:
        """Find the steady state; march in time where there is none."""
        element = self.problem.element
        coarse = None if element == "P1-P1" else self._system("P1-P1")
        system = self._system(element)
        driver = self._solver(system, coarse)
        outcome = self._restarted(driver) or self._guessed(driver)
        if outcome is None:
            outcome = self._linear(driver) if coarse is None else self._quadratic(driver, coarse)
        average = None
        least = self.problem.steady.least_viscosity
        real = outcome.thickening <= least and outcome.captured == 0.0
        stopped = not real and self.problem.stop_at_branch_end
        marched = not real and self.problem.steady.unsteady == "average"
        if not stopped and (marched or not outcome.converged):
            outcome, average = self._march(driver, outcome)
        if self.after is not None and outcome.converged:
            self.after(driver)
        self._finish(driver)
        if coarse is not None:
            coarse.destroy()
        return Found(system, outcome, average, self.seconds)

    def _system(self, element: str) -> FlowSystem:
        return FlowSystem(self.problem, self.mesh, self.scales, element)

    def _solver(self, system: FlowSystem, coarse: FlowSystem | None = None) -> SteadySolver:
        options = self.problem.steady
        small = system.space.degree == 1 and system.space.dofs <= EXACT_UNKNOWNS
        direct = small or not system.space.equal_order
        linear = LinearOptions(
            direct=direct,
            rtol=options.linear_tolerance,
            max_iterations=options.max_linear_iterations,
        )
        level: CoarseLevel | SectionLevel | None = None
        if not direct:
            if (coarse or system).space.dofs > EXACT_UNKNOWNS:
                self.sections = self.sections or cut(coarse or system)
            if coarse is None:
                level = SectionLevel(system, self.sections)
            else:
                level = CoarseLevel(system, coarse, self.sections)
        return SteadySolver(system, linear, self.progress, level)

    def _goal(self, reference: float) -> Goal:
        options, stop = self.problem.steady, self.problem.stop_at_branch_end
        return Goal(
            reference,
            options.tolerance,
            options.max_steps,
            stop_at_branch_end=stop,
            least=options.least_viscosity,
        )

    def _restarted(self, driver: SteadySolver) -> Outcome | None:
        """Newton's method from the restart state; None where there is none, or it does not converge."""
        saved = self.saved
        if saved is None or int(saved["degree"]) != driver.system.space.degree:
            return None
        goal = self._goal(driver.stokes())
        state_file.restore(driver.system, saved)
        outcome = driver.newton(goal, self.problem.element, FEW_STEPS, patience=1)
        if outcome.converged:
            return outcome
        driver.system.offset[:] = 0.0  # as a search without a restart state begins
        return None

    def _guessed(self, driver: SteadySolver) -> Outcome | None:
        """From given fields to the real viscosity; None where there are none, or this way ends early and must not."""
        if self.begin is None:
            return None
        system, element = driver.system, self.problem.element
        goal = self._goal(driver.stokes())
        factor = self.begin(system)
        system.thicken(factor)
        driver.stale = True
        rough = Goal(goal.reference, CORRECTOR_TOLERANCE, FEW_STEPS, settle=False)
        outcome = driver.newton(rough, f"{element} nu*{factor:.3f}", FEW_STEPS, patience=2)
        if outcome.converged:
            ahead = replace(goal, stop_at_branch_end=True)
            outcome = continue_in_viscosity(driver, ahead, element, factor)
            if outcome.converged or goal.stop_at_branch_end:
                return outcome
        system.thicken(1.0)
        system.offset[:] = 0.0
        return None

    def _linear(self, driver: SteadySolver) -> Outcome:
        """Linear elements all the way."""
        way = _descend(driver)
        goal, system = self._goal(way.reference), driver.system
        if way.complete and goal.least == 1.0:
            outcome = driver.newton(goal, "P1-P1", FEW_STEPS)
            if outcome.converged:
                return outcome
        system.restore(way.thick)
        return _climb_down(driver, goal, "P1-P1")

    def _quadratic(self, driver: SteadySolver, coarse: FlowSystem) -> Outcome:
        """Quadratic elements from the linear ones' states."""
        first = self._solver(coarse)
        end = THICK if self.problem.steady.least_viscosity > 1.0 else 1.0
        way, fine, element = _descend(first, end), driver.system, self.problem.element
        self._finish(first)
        _carry(coarse, way.rest, fine)
        fine.linearise_about_state()
        goal = self._goal(fine.residual(driver.b))
        if way.complete and goal.least == 1.0:
            _carry(coarse, way.last, fine)
            outcome = driver.newton(goal, element, FEW_STEPS, patience=1)
            if outcome.converged:
                return outcome
        _carry(coarse, way.thick, fine)
        return _climb_down(driver, goal, element)

    def _finish(self, driver: SteadySolver) -> None:
        """Book the times and free the solver."""
        for phase, value in {**driver.system.seconds, **driver.linear.seconds}.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + value
        driver.destroy()

    def _march(self, driver: SteadySolver, stalled: Outcome) -> tuple[Outcome, Average | None]:
        """March in time from where the search for a steady state ended, and average."""
        if driver.system.comm.rank == 0:
            log.info("%s: marching in time", stalled.reason)
        options, system = self.problem.steady, driver.system
        start, offset = system.snapshot(), system.offset.copy()
        if stalled.captured > 0.0:
            system.capture(False)
        system.thicken(1.0)
        average = march(driver, options.march_flow_throughs, options.march_max_steps, self.progress)
        if not average.finite:
            system.restore(start)
            system.offset[:] = offset
            return stalled, None
        return Outcome(True, stalled.residual, average.steps, stalled.reason), average


def _descend(driver: SteadySolver, end: float = 1.0) -> Descent:
    """Follow the steady state of linear elements from a thick fluid down to a factor, or as far as it goes."""
    system = driver.system
    reference = driver.stokes()
    rest = system.snapshot()
    rough = Goal(reference, COARSE_TOLERANCE, COARSE_STEPS, settle=False)
    knob = Knob("P1-P1 nu*", system.thicken)
    factor, _ = _begin(driver, rough, knob)
    thick = follow(driver, rough, knob, factor, THICK)[-1][1]
    last = follow(driver, rough, knob, THICK, end)[-1]
    system.thicken(1.0)
    return Descent(reference, rest, thick, last[1], last[0] == 0.0)


def _begin(driver: SteadySolver, goal: Goal, knob: Knob) -> tuple[float, Outcome]:
    """Newton's method in a fluid so thick that it converges; return the viscosity factor, and how it ended."""
    start = driver.system.snapshot()
    for factor in VERY_THICK:
        driver.system.restore(start)
        knob.turn(factor)
        driver.stale = True
        outcome = driver.newton(goal, f"{knob.label}{factor:.3f}", goal.max_steps)
        if outcome.converged:
            break
    return factor, outcome


def _climb_down(driver: SteadySolver, goal: Goal, element: str) -> Outcome:
    """From a guess at `THICK` times the viscosity to the real one; with capturing viscosity, if need be."""
    system, start = driver.system, driver.system.snapshot()
    system.thicken(THICK)
    driver.stale = True
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, THICK_STEPS, settle=False)
    outcome = driver.newton(rough, f"{element} nu*{THICK:.3f}", FEW_STEPS, patience=2)
    if not outcome.converged:
        outcome = driver.run(rough, f"{element} nu*{THICK:.3f}", THICK_CFL)
    if outcome.converged:
        outcome = continue_in_viscosity(driver, goal, element, THICK)
    elif goal.stop_at_branch_end:
        return replace(outcome, thickening=THICK)
    if goal.stop_at_branch_end:
        return outcome
    if not outcome.converged and system.space.equal_order:
        system.restore(start)
        outcome = _capture(driver, goal, element)
    if not outcome.converged:
        system.thicken(1.0)
    return outcome


def _capture(driver: SteadySolver, goal: Goal, element: str) -> Outcome:
    """Follow the steady state of the equations with capturing viscosity down to the real viscosity."""
    system, phase = driver.system, f"{element}+C"
    system.capture(True)
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, THICK_STEPS, settle=False)
    factor, outcome = _begin(driver, rough, Knob(f"{phase} nu*", system.thicken))
    if outcome.converged:
        outcome = continue_in_viscosity(driver, goal, phase, factor)
    if not outcome.converged:
        system.capture(False)
        return outcome
    if outcome.thickening > 1.0:
        return replace(outcome, captured=terms.CAPTURING)
    return wean(driver, goal, phase, terms.CAPTURING)


def _carry(coarse: FlowSystem, state: State, fine: FlowSystem) -> None:
    """Interpolate a coarse state to the fine element on the same mesh."""
    coarse.restore(state)
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
    if not fine.prescribed:
        fine.Q_in = coarse.Q_in
    fine.apply_inlet()
