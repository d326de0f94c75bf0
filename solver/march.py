"""Time marching and averaging, where a jet has no steady state.

Sums of flows and the outlet lines are linear, so that the mean state satisfies them as its members do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.progress import Progress
from solver.steady import SteadySolver
from solver.stepper import Stepper

Array = npt.NDArray[np.float64]
STEPS_PER_FLOW_THROUGH = 60
SPIN_UP = 1.0
"""Flow-throughs marched beside those averaged; a quarter of all steps is not averaged."""
MARCH_CFL = 20.0
"""Twice as much overstates the breakdown of a jet (decision 0011)."""


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over time; the system holds the mean state.

    Attributes:
        steps: Time steps averaged.
        time_step: Dimensionless.
        Q_deviation: Standard deviation of each patch flow, dimensionless.
        p_deviation: Standard deviation of each mean patch pressure, dimensionless.
        drift: Mean of each patch pressure over the window's second half minus that over the first.
        finite: False when the march broke down.
    """

    steps: int
    time_step: float
    Q_deviation: Array
    p_deviation: Array
    drift: Array
    finite: bool


def march(
    driver: SteadySolver, flow_throughs: float, max_steps: int, progress: Progress
) -> Average:
    """March from the present state and leave the mean state in the system.

    Args:
        driver: Solver of the level; its system's state is the start.
        flow_throughs: Length of the averaging window in domain volumes through the inlet.
        max_steps: Most time steps; the window ends there.
        progress: Where steps are told.
    """
    system = driver.system
    duration = system.volume() / max(abs(float(system.functionals()[0][0])), 1e-12)
    dt = min(duration / STEPS_PER_FLOW_THROUGH, MARCH_CFL / system.fastest_rate())
    stepper = Stepper(driver, dt)
    total = max(8, min(max_steps, round((SPIN_UP + flow_throughs) * duration / dt)))
    skip = total // 4
    mean, Q_mean = np.zeros_like(stepper.now[0]), 0.0
    told: list[tuple[Array, Array]] = []
    for step in range(1, total + 1):
        iterations = stepper.step()
        if not stepper.good:
            stepper.stop()
            return Average(step, dt, np.empty(0), np.empty(0), np.empty(0), False)
        numbers = {"residual": stepper.change, "time": step * dt, "linear_iterations": iterations}
        progress.step(system, "march", numbers)
        if step > skip:
            mean, Q_mean = mean + stepper.now[0], Q_mean + stepper.now[1]
            told.append(system.functionals())
    count = len(told)
    system.restore((mean / count, Q_mean / count))
    stepper.stop()
    flows, pressures = np.array([t[0] for t in told]), np.array([t[1] for t in told])
    drift = pressures[count // 2 :].mean(axis=0) - pressures[: count // 2].mean(axis=0)
    return Average(count, dt, flows.std(axis=0), pressures.std(axis=0), drift, True)
