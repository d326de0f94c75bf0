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
VISCOSITY = " nu*"
LOG_STEP, LOG_STEP_MIN, LOG_STEP_MAX = 0.25, 0.015, 0.4
MAX_THICKENING = 1.5
"""A steady state of a fluid thicker than this is not taken for the real one's."""
BASE = 0.5
"""Distance of the two states of an extrapolation, as a part of the way that is missing."""
WEANED = 0.02
"""Strength of capturing viscosity from which it is left out altogether."""
CORRECTOR_TOLERANCE = 5e-4
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
        The last (ln factor, state) on the way, up to five; the system holds the last state and factor.
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
            known = [*known[-4:], (here, system.snapshot())]
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

    Where the way ends within `MAX_THICKENING`, the outcome is extrapolated from the states there. The states on the
    way are rough; one that Newton's method cannot make exact is beyond the end of the branch.
    """
    system, knob = driver.system, Knob(f"{phase}{VISCOSITY}", driver.system.thicken)
    known = follow(driver, goal, knob, factor, 1.0)
    outcome = _exact(driver, goal, knob, known, math.log(MAX_THICKENING))
    if outcome is None:
        system.thicken(1.0)
        reason = f"no steady state was found below {MAX_THICKENING} times the viscosity"
        return Outcome(False, math.inf, 0, reason)
    here = known[-1][0]
    if here == 0.0:
        return outcome
    reason = f"no steady state was found below {math.exp(here):.3f} times the viscosity"
    near = replace(outcome, reason=reason, thickening=math.exp(here))
    return extrapolate(driver, goal, knob, known, near)


def extrapolate(
    driver: SteadySolver, goal: Goal, knob: Knob, known: Known, near: Outcome
) -> Outcome:
    """Extrapolate the end of a branch, linearly in ln(viscosity), to the real viscosity.

    Both states meet the goal. Flows, mean pressures and the outlets' lines are affine in the state, so that the
    extrapolated one satisfies them, and the balance of mass, as its parents do; the balance of momentum it satisfies
    to the residual told in the outcome.

    Args:
        driver: Solver of the system, which holds the last state of ``known``, exact.
        goal: What both states must meet.
        knob: The viscosity's.
        known: The way down.
        near: Outcome of the state in the system; returned as it is where no second state can be had.
    """
    system, here = driver.system, known[-1][0]
    state, offset, p = system.snapshot(), system.offset.copy(), system.functionals()[1]
    base = min(known[:-1], key=lambda k: abs(k[0] - (1.0 + BASE) * here), default=None)
    if base is None or base[0] - here < 0.3 * BASE * here:
        return near
    there = base[0]
    system.restore(base[1])
    knob.turn(math.exp(there))
    outcome = driver.newton(goal, f"{knob.label}{math.exp(there):.3f}", CORRECTOR_STEPS)
    knob.turn(1.0)
    if not outcome.converged:
        system.restore(state)
        system.offset[:] = offset
        return near
    t = here / (there - here)
    (x, Q), (far, Q_far) = state, system.snapshot()
    system.restore((x + t * (x - far), Q + t * (Q - Q_far)))
    system.apply_inlet()
    system.offset[:] = offset + t * (offset - system.offset)
    system.linearise_about_state()
    residual = system.residual(driver.b) / goal.reference
    told = {"residual": residual, "cfl": math.inf, "linear_iterations": 0}
    driver.progress.step(system, f"{knob.label.removesuffix(VISCOSITY)} extrapolated", told)
    shift = system.functionals()[1] - p
    return replace(near, residual=residual, base=math.exp(there), shift=shift)


def _exact(
    driver: SteadySolver, goal: Goal, knob: Knob, known: Known, limit: float
) -> Outcome | None:
    """Meet the goal from the last known state that allows it, up to a logarithm of the factor.

    States that do not are taken out of ``known``: they lie beyond the end of their branch.
    """
    while known and known[-1][0] <= limit:
        here, state = known[-1]
        driver.system.restore(state)
        knob.turn(math.exp(here))
        real = here == 0.0 and knob.label.endswith(VISCOSITY)
        name = knob.label.removesuffix(VISCOSITY) if real else f"{knob.label}{math.exp(here):.3f}"
        outcome = driver.newton(goal, name, 20, patience=2)
        if outcome.converged:
            return outcome
        known.pop()
    return None


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
    final = _exact(driver, goal, knob, known, math.inf)
    if final is None:
        return Outcome(False, math.inf, 0, "no steady state was found with capturing viscosity")
    left = math.exp(known[-1][0])
    shift = None if len(known) < 2 else -left * _slope(system, known, math.exp)
    return replace(final, captured=left, shift=shift)


def _slope(system: FlowSystem, known: Known, measure: Callable[[float], float]) -> Array:
    """Change of the open patches' mean pressures a unit of the factor's ``measure``, from the last two."""
    (a, before), (b, after) = known[-2:]
    present, pressures = system.snapshot(), []
    for state in (before, after):
        system.restore(state)
        pressures.append(system.functionals()[1])
    system.restore(present)
    return np.asarray((pressures[1] - pressures[0]) / (measure(b) - measure(a)))


def _predict(system: FlowSystem, known: Known, target: float) -> None:
    """Extrapolate the last two states linearly."""
    if len(known) < 2:
        return
    (a, (xa, Qa)), (b, (xb, Qb)) = known[-2:]
    t = min(1.0, (target - b) / (b - a))
    system.restore((xb + t * (xb - xa), Qb + t * (Qb - Qa)))
    system.apply_inlet()
