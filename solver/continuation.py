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
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from solver.detour import around
from solver.follow import CORRECTOR_STEPS, Knob, Known, follow
from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
VISCOSITY = " nu*"
MAX_THICKENING = 1.5
"""A steady state of a fluid thicker than this is not taken for the real one's."""
HASTY = 0.02
"""Shortest step in ln(viscosity) where a finer mesh can follow: no need to meet the end of the branch closely."""
BASE = 0.5
"""Distance of the two states of an extrapolation, as a part of the way that is missing."""
WEANED = 0.02
"""Strength of capturing viscosity from which it is left out altogether."""


def continue_in_viscosity(driver: SteadySolver, goal: Goal, phase: str, factor: float) -> Outcome:
    """Follow the steady state from a viscosity ``factor`` times too large down to the real one.

    Where the way ends early, `solver.detour` looks for the real fluid's state beyond; where that fails and the end is
    within `MAX_THICKENING`, the outcome is extrapolated from the states there. The states on the way are rough; one
    that Newton's method cannot make exact is beyond the end of the branch.
    """
    system, knob = driver.system, Knob(f"{phase}{VISCOSITY}", driver.system.thicken)
    if goal.stop_at_branch_end:
        knob = replace(knob, step_min=HASTY)
    way = follow(driver, goal, knob, factor, goal.least)
    known, end = list(way), math.log(goal.least)
    if goal.stop_at_branch_end and way[-1][0] > end:
        return _stopped(way)
    outcome = _exact(driver, goal, knob, known, math.log(MAX_THICKENING))
    if outcome is not None and known[-1][0] == end:
        return outcome if end == 0.0 else _preview(driver, goal, knob, known, outcome)
    if goal.stop_at_branch_end:
        return _stopped(known or way[:1])
    if not system.capturing:
        state, offset = system.snapshot(), system.offset.copy()
        beyond = around(driver, goal, knob, way)
        if beyond is not None:
            return replace(beyond, branch_end=math.exp(way[-1][0]))
        system.restore(state)
        system.offset[:] = offset
    if outcome is None:
        system.thicken(1.0)
        reason = f"no steady state was found below {MAX_THICKENING} times the viscosity"
        return Outcome(False, math.inf, 0, reason)
    here = known[-1][0]
    reason = f"no steady state was found below {math.exp(here):.3f} times the viscosity"
    near = replace(outcome, reason=reason, thickening=math.exp(here))
    return extrapolate(driver, goal, knob, known, near)


def _preview(
    driver: SteadySolver, goal: Goal, knob: Knob, known: Known, outcome: Outcome
) -> Outcome:
    """The real fluid from the thicker one that was asked for."""
    reason = f"a preview: computed down to {goal.least:.3g} times the viscosity"
    near = replace(outcome, reason=reason, thickening=goal.least)
    return extrapolate(driver, goal, knob, known, near)


def _stopped(known: Known) -> Outcome:
    """The end of a branch where no more than that is wanted."""
    end = known[-1][0]
    there, state = known[0]
    reason = f"the steady branch ends at {math.exp(end):.3f} times the viscosity"
    earlier = (state, math.exp(there))
    return Outcome(False, math.inf, 0, reason, thickening=math.exp(end), earlier=earlier)


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
