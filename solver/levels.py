"""Coarse to fine: a linear element first, its state as the start of the element asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import terms
from solver.continuation import CORRECTOR_TOLERANCE, continue_in_viscosity, wean
from solver.engine import dolfinx
from solver.io import state as state_file
from solver.io.mesh import FlowMesh
from solver.linear import LinearOptions
from solver.march import Average, march
from solver.problem import FlowProblem
from solver.progress import Progress
from solver.scales import Scales
from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

log = logging.getLogger("solver")
State = tuple[npt.NDArray[np.float64], float]
COARSE_TOLERANCE, COARSE_STEPS = 3e-2, 15
"""When the coarse element's state is good enough, or has had enough steps, to start the fine one."""
THICK, THICK_CFL, THICK_STEPS = 3.0, 50.0, 30
"""Viscosity factor from which a steady state is followed when it is not found directly."""
VERY_THICK = 8.0
"""The same with capturing viscosity: here Newton's method converges from the coarse element's state."""


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


@dataclass(slots=True)
class Search:
    """One search for the flow of a problem on a mesh.

    Attributes:
        problem: The problem.
        mesh: The mesh.
        scales: The scales.
        progress: Where steps are told.
        saved: A restart state, if any.
    """

    problem: FlowProblem
    mesh: FlowMesh
    scales: Scales
    progress: Progress
    saved: dict[str, Any] | None
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Found:
        """Go through the elements; time marching where the last has no steady state."""
        element, saved = self.problem.element, self.saved
        coarse, rest = None, None
        if element != "P1-P1" and not _fits(saved, element):
            coarse, rest = self._coarse()
        driver = self._driver(element)
        system = driver.system
        if coarse is not None and rest is not None:
            reference = _carry(coarse, driver, rest)
            coarse.destroy()
        else:
            reference = driver.stokes()
            if saved is not None and _fits(saved, element):
                state_file.restore(system, saved)
        options = self.problem.steady
        goal = Goal(reference, options.tolerance, options.max_steps)
        outcome = _climb(driver, goal, element, first=coarse is None and saved is None)
        average = None
        if not outcome.converged:
            outcome, average = self._march(driver, outcome)
        self._finish(driver)
        return Found(system, outcome, average, self.seconds)

    def _coarse(self) -> tuple[FlowSystem, State]:
        """Solve with linear elements, roughly; return the system and its Stokes state."""
        driver = self._driver("P1-P1")
        reference = driver.stokes()
        rest = driver.system.snapshot()
        goal = Goal(reference, COARSE_TOLERANCE, COARSE_STEPS, settle=False)
        driver.run(goal, "P1-P1")
        self._finish(driver)
        return driver.system, rest

    def _driver(self, element: str) -> SteadySolver:
        options = self.problem.steady
        system = FlowSystem(self.problem, self.mesh, self.scales, element)
        linear = LinearOptions(
            direct=element == "P2-P1",
            rtol=options.linear_tolerance,
            max_iterations=options.max_linear_iterations,
        )
        return SteadySolver(system, linear, self.progress)

    def _finish(self, driver: SteadySolver) -> None:
        """Book the times and free the solver."""
        for phase, value in {**driver.system.seconds, **driver.linear.seconds}.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + value
        driver.destroy()

    def _march(self, driver: SteadySolver, stalled: Outcome) -> tuple[Outcome, Average | None]:
        """March in time from where the search for a steady state ended, and average."""
        if driver.system.comm.rank == 0:
            log.info("%s: marching in time", stalled.reason)
        average = march(driver, self.problem.steady.march_flow_throughs, self.progress)
        if not average.finite:
            return stalled, None
        return Outcome(True, stalled.residual, average.steps, stalled.reason), average


def _fits(saved: dict[str, Any] | None, element: str) -> bool:
    """Whether a saved state has the degree of an element."""
    return saved is not None and int(saved["degree"]) == (1 if element == "P1-P1" else 2)


def _climb(driver: SteadySolver, goal: Goal, element: str, first: bool) -> Outcome:
    """Find a steady state: directly, else by continuation in the viscosity."""
    system, start = driver.system, driver.system.snapshot()
    outcome = driver.run(goal, element) if first else driver.newton(goal, element, 12, patience=1)
    if outcome.converged:
        return outcome
    system.restore(start)
    system.thicken(THICK)
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, THICK_STEPS, settle=False)
    thick = driver.run(rough, f"{element} nu*{THICK:.0f}", THICK_CFL)
    if thick.converged:
        outcome = continue_in_viscosity(driver, goal, element, THICK)
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
    system.thicken(VERY_THICK)
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, THICK_STEPS, settle=False)
    outcome = driver.newton(rough, f"{phase} nu*{VERY_THICK:.0f}", THICK_STEPS)
    if outcome.converged:
        outcome = continue_in_viscosity(driver, goal, phase, VERY_THICK)
    if not outcome.converged:
        system.capture(False)
        return outcome
    if outcome.thickening > 1.0:
        return replace(outcome, captured=terms.CAPTURING)
    return wean(driver, goal, phase, terms.CAPTURING)


def _carry(coarse: FlowSystem, driver: SteadySolver, rest: State) -> float:
    """Interpolate the coarse state; return the fine residual at the coarse Stokes flow as reference."""
    fine, found = driver.system, coarse.snapshot()
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
