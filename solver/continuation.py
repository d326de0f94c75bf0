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
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from solver.steady import Goal, Outcome, SteadySolver
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
Known = list[tuple[float, tuple[Array, float]]]  # (ln of the factor, state)
LOG_STEP, LOG_STEP_MIN, LOG_STEP_MAX = 0.25, 0.015, 0.4
MAX_THICKENING = 1.3
"""A steady state of a fluid thicker than this is not taken for the real one's."""
CORRECTOR_TOLERANCE = 2e-3
CORRECTOR_STEPS = 7


def continue_in_viscosity(driver: SteadySolver, goal: Goal, phase: str, factor: float) -> Outcome:
    r"""Follow the steady state from a viscosity ``factor`` times too large down to the real one.

    The state must solve the thick problem. Natural continuation in $\ln\nu$ with a secant predictor, a
    Newton corrector and adaptive steps.
    """
    system, log_factor, step = driver.system, math.log(factor), LOG_STEP
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, CORRECTOR_STEPS, settle=False)
    known: Known = [(log_factor, system.snapshot())]
    steps = 0
    while log_factor > 0.0:
        target = log_factor - step if log_factor - step > LOG_STEP_MIN else 0.0
        system.thicken(math.exp(target))
        _predict(system, known, target)
        name = f"{phase} nu*{math.exp(target):.3f}"
        outcome = driver.newton(rough, name, CORRECTOR_STEPS, patience=2)
        steps += outcome.steps
        if outcome.converged:
            log_factor = target
            known = [*known[-1:], (log_factor, system.snapshot())]
            step = min(
                LOG_STEP_MAX,
                step * (1.5 if outcome.steps <= 2 else 1.0 if outcome.steps <= 4 else 0.7),
            )
        else:
            system.restore(known[-1][1])
            step *= 0.4
        if step < LOG_STEP_MIN or steps > goal.max_steps:
            return _settle_for(driver, goal, phase, known)
    final = driver.newton(goal, phase, 20)
    return replace(final, steps=steps + final.steps)


def _settle_for(driver: SteadySolver, goal: Goal, phase: str, known: Known) -> Outcome:
    """Converge fully at the last viscosity that had a steady state, and measure the sensitivity to it."""
    system, (before, after) = driver.system, (known[0], known[-1])
    factor = math.exp(after[0])
    reason = f"no steady state was found below {factor:.3f} times the viscosity"
    if factor > MAX_THICKENING or len(known) < 2:
        system.thicken(1.0)
        return Outcome(False, math.inf, 0, reason)
    pressures = []
    for _, state in (before, after):
        system.restore(state)
        pressures.append(system.functionals()[1])
    sensitivity = (pressures[1] - pressures[0]) / (after[0] - before[0])
    system.thicken(factor)
    final = driver.newton(goal, f"{phase} nu*{factor:.3f}", 20)
    return replace(final, reason=reason, thickening=factor, sensitivity=sensitivity)


def _predict(system: FlowSystem, known: Known, target: float) -> None:
    """Extrapolate the last two states linearly."""
    if len(known) < 2:
        return
    (a, (xa, Qa)), (b, (xb, Qb)) = known
    t = min(1.0, (target - b) / (b - a))
    system.restore((xb + t * (xb - xa), Qb + t * (Qb - Qa)))
    system.apply_inlet()
