r"""Around a fold: hold a jet straight while the viscosity falls, then let it go.

On a mesh without symmetry the pitchfork of a jet is unfolded: the branch that comes from thick fluids bends to one
side and turns back at a fold, and the nearly straight jet goes on as a branch of its own that no continuation in the
viscosity alone can reach. A second parameter can. Along the slow modes $\phi$ a force $\Psi s$ keeps the readings
$L^T x$ where they were in the thick fluid ($\Psi = M\psi$, $L = M\phi$; `solver.modes`), which makes the bordered
Jacobian regular at folds and pitchforks; at the real viscosity the force is let go, $s \to 0$. What is found is a
steady state of the real equations: the force is gone, and Newton's method has met the goal without it.

Reference:
    Govaerts (2000), Numerical Methods for Bifurcations of Dynamical Equilibria, SIAM, ch. 3 and 6,
    https://doi.org/10.1137/1.9780898719543 (bordered systems, Lyapunov-Schmidt reduction, unfolding).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from solver.follow import Knob, Known, State, predict
from solver.hold import Hold
from solver.modes import slow_modes
from solver.steady import Goal, Outcome, SteadySolver

log = logging.getLogger("solver")
Array = npt.NDArray[np.float64]
MODES = 1
"""Modes held: a jet bends to one side first; holding more takes forces that are hard to let go."""
GAIN = 30.0
"""Of the hold, in units of the force that moves its readings by one."""
STARTS = (1.9, 1.5)
"""Where the hold begins, in viscosities of the branch's end: before the bend."""
HELD_TOLERANCE = 1e-6
HELD_STEPS, RELEASE_STEPS, HELD_LIMIT = 8, 20, 25
LOG_STEP, LOG_STEP_MIN, LOG_STEP_MAX = 0.12, 0.02, 0.16
RELEASE_MIN = 0.01
"""Least part of a move that would let the force go."""
GONE, ANSWER_TOLERANCE = 0.02, 1e-5
"""Part of the force that Newton's method does without; relative tolerance of the answers to a move."""


def around(driver: SteadySolver, goal: Goal, knob: Knob, way: Known) -> Outcome | None:
    """Look for the real fluid's steady state beyond the end of a branch.

    Args:
        driver: Solver of the system.
        goal: What the state must meet.
        knob: The viscosity's.
        way: The branch, thickest fluid first.

    Returns:
        The outcome at the real viscosity; None where this way does not lead there either.
    """
    for state in _starts(way):
        try:
            outcome = _attempt(driver, goal, knob, state)
        except (
            np.linalg.LinAlgError
        ):  # modes or slopes that are not independent: the same on every rank
            outcome = None
        driver.system.hold = None
        knob.turn(1.0)
        driver.stale = True
        if outcome is not None:
            return outcome
    return None


def _starts(way: Known) -> Iterator[tuple[float, State]]:
    """Known states near the factors to start from, each once."""
    taken = set()
    for factor in STARTS:
        wanted = way[-1][0] + math.log(factor)
        i = int(np.argmin([abs(here - wanted) for here, _ in way]))
        if i not in taken:
            taken.add(i)
            yield way[i]


def _attempt(
    driver: SteadySolver, goal: Goal, knob: Knob, start: tuple[float, State]
) -> Outcome | None:
    """From one state of the branch: hold, follow, let go."""
    system, (here, state) = driver.system, start
    rough = Goal(goal.reference, HELD_TOLERANCE, HELD_STEPS, settle=False)
    system.restore(state)
    knob.turn(math.exp(here))
    driver.stale = True
    if not driver.leap(rough, f"{knob.label}{math.exp(here):.3f}", HELD_STEPS).converged:
        return None
    hold = _hold(driver)
    if hold is None:
        return None
    system.hold = hold
    if not _follow(driver, rough, knob, here) or not _release(driver, rough, knob):
        return None
    system.hold = None
    phase = knob.label.split(" ", 1)[0]
    if not driver.leap(
        replace(rough, tolerance=1e-2 * HELD_TOLERANCE), phase, RELEASE_STEPS
    ).converged:
        return None
    outcome = driver.newton(goal, phase, HELD_LIMIT, patience=2)
    return outcome if outcome.converged else None


def _hold(driver: SteadySolver) -> Hold | None:
    """Hold the slow modes of the system's state where they are."""
    system = driver.system
    modes = slow_modes(driver, MODES)
    if system.comm.rank == 0:
        log.info("jet held along %d modes of rates %s", modes.rates.size, np.round(modes.rates, 3))
    if modes.rates.size == 0:
        return None
    x = system.x.x.array[: system.space.owned]
    values = np.asarray(system.comm.allreduce(modes.right.T @ x))
    weight = np.asarray(system.comm.allreduce(modes.right.T @ modes.left))
    scale = max(float(np.abs(modes.rates).max() * np.abs(weight).max()), 1e-6)
    none = np.zeros(values.size)
    return Hold(system.comm, modes.left, modes.right, values, GAIN * scale, none)


def _follow(driver: SteadySolver, rough: Goal, knob: Knob, here: float) -> bool:
    """Follow the held state down to the real viscosity."""
    system, step, count = driver.system, LOG_STEP, 0
    known: Known = [(here, system.snapshot())]
    while here > 0.0 and step >= LOG_STEP_MIN and count < HELD_LIMIT:
        target, count = max(0.0, here - step), count + 1
        knob.turn(math.exp(target))
        predict(system, known, target)
        name = f"{knob.label}{math.exp(target):.3f} held"
        outcome = driver.leap(rough, name, HELD_STEPS)
        if outcome.converged:
            here, known = target, [*known[-1:], (target, system.snapshot())]
            step = min(LOG_STEP_MAX, step * (1.4 if outcome.steps <= 4 else 0.8))
        else:
            step = 0.5 * (here - target)
    return here == 0.0


def _release(driver: SteadySolver, rough: Goal, knob: Knob) -> bool:
    """Move the readings until the force is gone: Newton's method on $s(a) = 0$, each state exact."""
    system, hold = driver.system, driver.system.hold
    if hold is None:
        return True
    force = hold.strength(system.x.x.array[: system.space.owned])
    first, part = float(np.abs(force).max()), 1.0
    for _ in range(RELEASE_STEPS):
        change, slope = _answer(driver, hold)
        move = -np.linalg.solve(slope, force)
        saved = system.snapshot()
        while part >= RELEASE_MIN:
            system.hold = replace(hold, values=hold.values + part * move)
            driver.nudge(change @ (part * move))
            name = f"{knob.label}1.000 held by {float(np.abs(force).max()) / first:.2f}"
            if driver.leap(rough, name, HELD_STEPS).converged:
                break
            system.restore(saved)
            part *= 0.4
        else:
            return False
        hold, part = system.hold, min(1.0, 2.0 * part)
        force = hold.strength(system.x.x.array[: system.space.owned])
        if np.abs(force).max() < GONE * first:
            return True
    return False


def _answer(driver: SteadySolver, hold: Hold) -> tuple[Array, Array]:
    """Change of the state and of the force with the values held, ``(n, k)`` and ``(k, k)``."""
    driver.refactor()
    loads = (hold.gain * hold.forces).T
    D = np.stack([driver.respond(load, ANSWER_TOLERANCE) for load in loads], axis=1)
    reading = np.asarray(hold.comm.allreduce(hold.readings.T @ D))
    return D, hold.gain * (reading - np.eye(len(reading)))
