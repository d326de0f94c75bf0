r"""Steady states by pseudo-transient continuation: Stokes, Picard, growing steps, Newton.

The step size $\mathrm{CFL}$ grows as the residual falls (switched evolution relaxation, with limits on
growth and shrinkage); a step that raises the residual too much is shortened, then rejected and repeated
with a smaller CFL. The stabilisation parameters never see the pseudo-time step.

Reference:
    Kelley & Keyes (1998), SIAM J. Numer. Anal. 35, 508-523, https://doi.org/10.1137/S0036142996304796.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solver.linear import LinearOptions, LinearSolver
from solver.progress import Progress
from solver.system import FlowSystem

CFL_START, CFL_MAX, CFL_MIN = 10.0, 1e10, 0.05
GROWTH, SHRINK = 3.0, 0.3
ACCEPT = 1.5
"""A step may raise the residual by this factor (the way to a steady state is not monotone)."""
NEWTON_BELOW = 0.3
"""Newton's linearisation once the residual is below this part of the first; Picard's before."""
SETTLE_BELOW = 1e-2
"""Mean pressures are tied to their models once the residual is below this part of the first."""
STALL_STEPS = 18
"""Accepted steps without halving the residual after which no steady state is expected."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When a steady computation is finished.

    Attributes:
        reference: Residual that counts as one.
        tolerance: Relative residual to reach.
        max_steps: Give up after so many steps.
        settle: Tie mean pressures to the models and require mass balance, too.
    """

    reference: float
    tolerance: float
    max_steps: int
    settle: bool = True


@dataclass(slots=True)
class Outcome:
    """How it ended: ``converged``, ``stalled`` (no steady state found), with the last residual."""

    converged: bool
    residual: float
    steps: int
    reason: str


class SteadySolver:
    """Drives one `FlowSystem` to a steady state."""

    def __init__(self, system: FlowSystem, options: LinearOptions, progress: Progress) -> None:
        self.system, self.options, self.progress = system, options, progress
        self.b, self.dx = system.A.createVecs()
        low_rank = system.jacobian(0.0, 0.0)
        self.linear = LinearSolver(system.A, low_rank, options)
        self.fresh_iterations = 0
        self.stale = True
        self.factored_at = 0.0

    def stokes(self) -> float:
        """Solve the Stokes problem into the state; return the residual of the full equations there."""
        system = self.system
        system.linearise_about_rest()
        system.residual(self.b)
        self._solve(0.0, 0.0, 1e-4)
        system.advance(self.dx, -1.0)
        system.linearise_about_state()
        return system.residual(self.b)

    def _solve(self, inverse_cfl: float, newton: float, rtol: float) -> int:
        """One linear solve for ``dx``; refactor when stale, or when the old factors do badly."""
        system, linear = self.system, self.linear
        low_rank = system.jacobian(inverse_cfl, newton)
        jump = abs(math.log10((inverse_cfl + 1e-6) / (self.factored_at + 1e-6)))
        if self.stale or jump > 0.8:
            self._factor(low_rank, inverse_cfl)
        else:
            linear.couple(low_rank)
        iterations, good = linear.solve(self.b, self.dx, rtol)
        if not good and self.fresh_iterations:
            self._factor(low_rank, inverse_cfl)
            again, good = linear.solve(self.b, self.dx, rtol)
            iterations += again
        if not self.fresh_iterations:
            self.fresh_iterations = iterations
        self.stale = not good or iterations > 2 * self.fresh_iterations + 12
        return iterations

    def _factor(self, low_rank: object, inverse_cfl: float) -> None:
        self.linear.factor()
        self.linear.couple(low_rank)  # type: ignore[arg-type]
        self.factored_at, self.fresh_iterations = inverse_cfl, 0

    def run(self, goal: Goal, phase: str, cfl: float = CFL_START) -> Outcome:
        """Iterate until the goal is met, the step limit is reached, or the residual stalls."""
        system = self.system
        system.linearise_about_state()
        r = system.residual(self.b)
        best, since_best, gap = r, 0, math.inf
        for step in range(1, goal.max_steps + 1):
            newton = 1.0 if r < NEWTON_BELOW * goal.reference else 0.0
            rtol = self._forcing(r, goal)
            iterations = self._solve(1.0 / cfl, newton, rtol)
            r_new = self._globalise(r)
            if not math.isfinite(r_new):
                cfl *= 0.2
                if cfl < CFL_MIN:
                    return Outcome(False, r / goal.reference, step, "no step reduces the residual")
                continue
            cfl = min(CFL_MAX, cfl * min(GROWTH, max(SHRINK, r / r_new)))
            r = r_new
            if goal.settle and r < SETTLE_BELOW * goal.reference:
                gap = float(np.abs(system.settle_pressures()).max())
                r = system.residual(self.b)
            numbers = {"residual": r / goal.reference, "cfl": cfl, "linear_iterations": iterations}
            self.progress.step(system, phase, numbers)
            if r <= goal.tolerance * goal.reference and (not goal.settle or self._settled(gap)):
                return Outcome(True, r / goal.reference, step, "converged")
            since_best = 0 if r < 0.5 * best else since_best + 1
            best = min(best, r) if since_best == 0 else best
            if since_best > STALL_STEPS:
                return Outcome(False, r / goal.reference, step, "the residual stalls")
        return Outcome(False, r / goal.reference, goal.max_steps, "step limit")

    def _forcing(self, r: float, goal: Goal) -> float:
        """Relative tolerance of the linear solve: looser far away, never below what the end needs."""
        needed = 0.1 * goal.tolerance * goal.reference / max(r, 1e-300)
        return min(0.1, max(needed, self.options.rtol))

    def _globalise(self, r: float) -> float:
        """Take the step, shortened if needed; return the new residual, or inf when it is rejected."""
        system = self.system
        saved = system.snapshot()
        for length in (1.0, 0.4, 0.15):
            system.advance(self.dx, -length)
            system.linearise_about_state()
            r_new = system.residual(self.b)
            if math.isfinite(r_new) and r_new < ACCEPT * r:
                return r_new
            system.restore(saved)
        system.linearise_about_state()
        system.residual(self.b)
        self.stale = True
        return math.inf

    def _settled(self, gap: float) -> bool:
        """Mean pressures on their lines and mass in balance, both to well below 1e-6."""
        system = self.system
        Q, p = system.functionals()
        scale = np.abs(p + system.scales.datum / system.scales.pressure).max()
        return gap < 1e-7 * scale and abs(Q.sum()) < 1e-7 * abs(Q[0])

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        self.linear.destroy()
        self.b.destroy()
        self.dx.destroy()
