"""Following a steady state in one parameter: secant predictor, Newton corrector, adaptive steps.

Reference:
    Allgower & Georg (2003), Introduction to Numerical Continuation Methods, SIAM, ch. 2,
    https://doi.org/10.1137/1.9780898719154.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.steady import Goal, SteadySolver
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
State = tuple[Array, float]
Known = list[tuple[float, State]]  # (ln of the factor, state)
LOG_STEP, LOG_STEP_MIN, LOG_STEP_MAX = 0.25, 0.015, 0.4
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
        All (ln factor, state) on the way; the system holds the last state and factor.
    """
    system, here, step, left = driver.system, math.log(start), LOG_STEP, goal.max_steps
    last = math.log(end)
    rough = Goal(goal.reference, CORRECTOR_TOLERANCE, CORRECTOR_STEPS, settle=False)
    known: Known = [(here, system.snapshot())]
    while here > last and step >= knob.step_min and left > 0:
        target = here - step if here - step > last + knob.step_min else last
        knob.turn(math.exp(target))
        predict(system, known, target)
        name = f"{knob.label}{math.exp(target):.3f}"
        outcome = driver.newton(rough, name, CORRECTOR_STEPS, patience=2)
        left -= outcome.steps
        if outcome.converged:
            here = target
            known.append((here, system.snapshot()))
            step = min(LOG_STEP_MAX, step * _pace(outcome.steps))
        else:
            step = 0.4 * (here - target)
    system.restore(known[-1][1])
    knob.turn(math.exp(here))
    return known


def _pace(steps: int) -> float:
    """How much longer the next step may be after a corrector of so many Newton steps."""
    return 1.5 if steps <= 2 else 1.0 if steps <= 4 else 0.7


def predict(system: FlowSystem, known: Known, target: float) -> None:
    """Extrapolate the last two states linearly."""
    if len(known) < 2:
        return
    (a, (xa, Qa)), (b, (xb, Qb)) = known[-2:]
    t = min(1.0, (target - b) / (b - a))
    system.restore((xb + t * (xb - xa), Qb + t * (Qb - Qa)))
    system.apply_inlet()
