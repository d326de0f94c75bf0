r"""Time steps of second order: one linear solve each, no limit on the step from convection, outlets implicit.

Backward differences by one Newton step from the extrapolated state $2u^n - u^{n-1}$, which leaves out terms of fourth
order: $(\tfrac32 u^{n+1} - 2u^n + \tfrac12 u^{n-1})/\Delta t + (u\cdot\nabla u)^{n+1} + \dots = 0$. Convection by the
extrapolated velocity alone is of second order, too, but what it does to the shear of a jet is explicit: states swing
from step to step where $\Delta t\,|\nabla u|$ is not small. The stabilisation parameters never see the time step. Mean
pressures are tied to the outlets' models with the viscous traction extrapolated from the steps before.

Reference:
    Bertoglio, Caiazzo & Fernandez (2013), SIAM J. Sci. Comput. 35, B551-B575,
    https://doi.org/10.1137/120874412 (implicit coupling with 0D outlets).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from solver.steady import SteadySolver

Array = npt.NDArray[np.float64]
LINEAR_TOLERANCE = 1e-5
"""Of a step's residual at the extrapolated state."""
BREAKDOWN = 3.0
"""A `Stepper.change` that no flow makes in one step."""


class Stepper:
    """Marches the system of a solver in time from its present state, as if it had been there before.

    Attributes:
        change: Root mean square change of the nodes' velocity in the last step, over that of the first state or the
            reference velocity, whichever is more. Pressures may swing with the outlets' models.
        good: Whether the last step is to be trusted: its linear solve met the tolerance, and nothing blew up.
    """

    def __init__(self, driver: SteadySolver, dt: float) -> None:
        """Begin with a dimensionless time step."""
        self.driver, self.system = driver, driver.system
        self.system.start_marching(dt)
        driver.stale = True
        self.old, self.now = self.system.snapshot(), self.system.snapshot()
        space = self.system.space
        mine = space.velocity.ravel()
        self.velocity = mine[mine < space.owned]
        self.scale = max(self._size(self.now[0]), 1.0)
        self.offsets = [self.system.offset.copy()] * 2
        self.change, self.good = 0.0, True

    def step(self, inflow: float | None = None) -> int:
        """Go on by a time step, which is undone where it is not `good`; return the linear iterations.

        Args:
            inflow: Dimensionless flow into the domain at the new time, where the inlet prescribes one that changes.
        """
        system, old, now = self.system, self.old, self.now
        system.remember(2.0 * now[0] - 0.5 * old[0])
        system.restore((2.0 * now[0] - old[0], 2.0 * now[1] - old[1]))
        if inflow is not None:
            system.Q_in = inflow
        system.offset[:] = 2.0 * self.offsets[1] - self.offsets[0]
        system.apply_inlet()
        system.linearise_about_state()
        iterations = self.driver.correct(LINEAR_TOLERANCE)
        self.change = self._size(system.x.x.array - now[0]) / self.scale
        sane = math.isfinite(self.change) and self.change < BREAKDOWN
        self.good = self.driver.solved and sane
        if self.good:
            self.old, self.now = now, system.snapshot()
            system.settle_pressures()
            self.offsets = [self.offsets[1], system.offset.copy()]
        else:
            system.restore(now)
            system.offset[:] = self.offsets[1]
        return iterations

    def _size(self, values: Array) -> float:
        """Root mean square velocity of the nodes."""
        part = values[self.velocity]
        told = np.array([part @ part, len(part) / 3.0])
        total = np.asarray(self.system.comm.allreduce(told))
        return float(np.sqrt(total[0] / total[1]))

    def stop(self) -> None:
        """Go back to the steady equations; the state stays."""
        self.system.stop_marching()
