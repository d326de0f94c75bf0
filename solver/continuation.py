r"""Steady jets by continuation in the viscosity.

Pseudo-transient steps need a steady state that is stable in (pseudo-)time; a jet often has one that is
not, or one whose basin is small. Newton's method finds it all the same when it starts near: from the
steady state of a slightly thicker fluid.

Reference:
    Allgower & Georg (2003), Introduction to Numerical Continuation Methods, SIAM, ch. 2,
    https://doi.org/10.1137/1.9780898719154.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
Known = list[tuple[float, tuple[Array, float]]]  # (ln of the factor, state)
LOG_STEP, LOG_STEP_MIN, LOG_STEP_MAX = 0.25, 0.015, 0.4
MAX_THICKENING = 1.3
"""A steady state of a fluid thicker than this is not taken for the real one's."""
WEANED = 0.02
"""Strength of capturing viscosity from which it is left out altogether."""
CORRECTOR_TOLERANCE = 2e-3
CORRECTOR_STEPS = 7


@dataclass(frozen=True, slots=True)
class Knob:
    """A positive factor in the equations that is turned down slowly.

    Attributes:
        label: How a step is told, e.g. ``"P2-P2 nu*"``; the factor is appended.
        turn: Sets the factor.
        step_min: Shortest step in the factor's logarithm.
    """

    label: str
    turn: Callable[[float], None]
    step_min: float = LOG_STEP_MIN


def follow(driver: SteadySolver, goal: Goal, knob: Knob, start: float, end: float) -> Known:
    """Follow a steady state from one factor down to another, or as far as it goes.

    Natural continuation in the factor's logarithm with a secant predictor, a Newton corrector and adaptive
    steps. The system's state must solve the problem at ``start``.

    Returns:
        The last two (ln factor, state); the system holds the last state and factor.
    """
    system, here, step, left = driver.system, math.log(start), LOG_STEP, goal.max_steps
    last = math.log(end)
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, CORRECTOR_STEPS, settle=False)
    known: Known = [(here, system.snapshot())]
    while here > last and step >= knob.step_min and left > 0:
        target = here - step if here - step > last + knob.step_min else last
        knob.turn(math.exp(target))
        _predict(system, known, target)
        name = f"{knob.label}{math.exp(target):.3f}"
        outcome = driver.newton(rough, name, CORRECTOR_STEPS, patience=2)
        left -= outcome.steps
        if outcome.converged:
            here = target
            known = [*known[-1:], (here, system.snapshot())]
            step = min(LOG_STEP_MAX, step * _pace(outcome.steps))
        else:
            step *= 0.4
    system.restore(known[-1][1])
    knob.turn(math.exp(here))
    return known


def _pace(steps: int) -> float:
    """How much longer the next step may be after a corrector of so many Newton steps."""
    return 1.5 if steps <= 2 else 1.0 if steps <= 4 else 0.7


def continue_in_viscosity(driver: SteadySolver, goal: Goal, phase: str, factor: float) -> Outcome:
    """Follow the steady state from a viscosity ``factor`` times too large down to the real one.

    Where it ends within `MAX_THICKENING`, the outcome is the state there, with what it changes.
    """
    system = driver.system
    known = follow(driver, goal, Knob(f"{phase} nu*", system.thicken), factor, 1.0)
    here = known[-1][0]
    if here == 0.0:
        return driver.newton(goal, phase, 20)
    reason = f"no steady state was found below {math.exp(here):.3f} times the viscosity"
    if math.exp(here) > MAX_THICKENING or len(known) < 2:
        system.thicken(1.0)
        return Outcome(False, math.inf, 0, reason)
    slope = _slope(system, known, lambda log_factor: log_factor)
    final = driver.newton(goal, f"{phase} nu*{math.exp(here):.3f}", 20)
    return replace(final, reason=reason, thickening=math.exp(here), shift=-slope * here)


def wean(driver: SteadySolver, goal: Goal, phase: str, strength: float) -> Outcome:
    """Take capturing viscosity away as far as a steady state goes with it; altogether, if it can be."""
    system = driver.system
    knob = Knob(f"{phase} C=", system.set_capture, step_min=0.08)
    known = follow(driver, goal, knob, strength, WEANED)
    if known[-1][0] <= math.log(WEANED) + 1e-9:
        system.capture(False)
        outcome = driver.newton(goal, phase, 20, patience=2)
        if outcome.converged:
            return outcome
        system.capture(True)
    shift = None
    if len(known) > 1:
        shift = -_slope(system, known, math.exp) * math.exp(known[0][0])
    here, state = known[0]  # not the last one: close to the end of a branch Newton's method is slow
    system.restore(state)
    system.set_capture(math.exp(here))
    final = driver.newton(goal, f"{phase} C={math.exp(here):.3f}", 20)
    return replace(final, captured=math.exp(here), shift=shift)


def _slope(system: FlowSystem, known: Known, measure: Callable[[float], float]) -> Array:
    """Change of the open patches' mean pressures a unit of the factor's ``measure``; keeps the last state."""
    (a, before), (b, after) = known
    pressures = []
    for state in (before, after):
        system.restore(state)
        pressures.append(system.functionals()[1])
    return np.asarray((pressures[1] - pressures[0]) / (measure(b) - measure(a)))


def _predict(system: FlowSystem, known: Known, target: float) -> None:
    """Extrapolate the last two states linearly."""
    if len(known) < 2:
        return
    (a, (xa, Qa)), (b, (xb, Qb)) = known
    t = min(1.0, (target - b) / (b - a))
    system.restore((xb + t * (xb - xa), Qb + t * (Qb - Qa)))
    system.apply_inlet()
