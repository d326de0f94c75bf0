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
import numpy.typing as npt

from solver.coarse import CoarseLevel
from solver.linear import LinearOptions, LinearSolver
from solver.progress import Progress
from solver.sections import SectionLevel
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
CFL_START, CFL_MAX, CFL_MIN = 10.0, 1e10, 0.05
GROWTH, SHRINK = 3.0, 0.3
ACCEPT = 1.5
"""A step may raise the residual by this factor (the way to a steady state is not monotone)."""
NEWTON_BELOW = 0.1
"""Newton's method is tried once the residual is below this part of the first."""
PATIENCE = 4
"""Newton steps in a row that were shortened or gained little, before it is given up."""
SETTLE_BELOW = 1e-2
"""Mean pressures are tied to their models once the residual is below this part of the first."""
DIRECT_REUSE = 8
"""Iterations up to which exact factors of an earlier matrix are used again."""
STALE_PATIENCE, STALE_LIMIT = 8, 24
"""Iterations beyond those that fresh incomplete factors took: after so many the next matrix gets new ones, after so
many the present one does (factors cost as much as some ten iterations)."""
ATTEMPT_LIMIT = 50
"""Linear iterations that tell an attempt without patience to be none: near a solution half as many suffice."""
LEAP_FORCING, LENGTHENING, BLOWN = 1e-3, 1.2, 10.0
"""Of `SteadySolver.leap`: relative tolerance of its linear solves, how much longer a step may be than the last, and the
residual that ends it."""
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
        stop_at_branch_end: Where a continuation ends early, look no further.
        least: Least factor on the viscosity to go to; beyond it the real fluid is extrapolated.
    """

    reference: float
    tolerance: float
    max_steps: int
    settle: bool = True
    stop_at_branch_end: bool = False
    least: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search for a steady state ended.

    Attributes:
        converged: The goal was met (for ``thickening`` times the viscosity).
        residual: Last residual relative to the reference; of an extrapolated state, that of the real equations.
        steps: Nonlinear steps taken.
        reason: Why it ended.
        thickening: Least factor on the viscosity for which a steady state was found; one is the real fluid.
        base: Factor of the second state of an extrapolation to the real viscosity; one without.
        captured: Strength of `terms.capturing` in the equations solved; zero without it.
        branch_end: Factor on the viscosity at which the branch from thicker fluids ended; one where it did not.
        shift: Change of the open patches' mean pressures, dimensionless: made by the extrapolation; or, with
            ``captured``, estimated for leaving that viscosity out.
        earlier: Of a search that stopped at a branch's end: the state it began with, and its factor on the viscosity.
    """

    converged: bool
    residual: float
    steps: int
    reason: str
    thickening: float = 1.0
    base: float = 1.0
    captured: float = 0.0
    branch_end: float = 1.0
    shift: Array | None = None
    earlier: tuple[tuple[Array, float], float] | None = None


class SteadySolver:
    """Drives one `FlowSystem` to a steady state."""

    def __init__(
        self,
        system: FlowSystem,
        options: LinearOptions,
        progress: Progress,
        level: CoarseLevel | SectionLevel | None = None,
    ) -> None:
        self.system, self.options, self.progress = system, options, progress
        self.b, self.dx = system.A.createVecs()
        low_rank = system.jacobian(0.0, 0.0)
        self.sections = level if isinstance(level, SectionLevel) else None
        self.linear = LinearSolver(system.A, low_rank, system.balance, options, level)
        self.fresh_iterations = 0
        self.stale = True
        self.factored_at = 0.0
        self.solved = True  # whether the last linear solve met its tolerance

    def stokes(self) -> float:
        """Solve the Stokes problem into the state; return the residual of the full equations there."""
        system = self.system
        system.linearise_about_rest()
        system.residual(self.b)
        if self.sections is not None and not self.sections.ready:
            self._solve(0.0, 0.0, 0.1)
            flow = system.x.x.array[: system.space.owned] - self.dx.array_r
            self.sections.follow(flow)
            self.linear.corrected, self.stale = False, True
        self._solve(0.0, 0.0, 1e-4)
        system.advance(self.dx, -1.0)
        system.linearise_about_state()
        return system.residual(self.b)

    def _solve(
        self, inverse_cfl: float, newton: float, rtol: float, most: int | None = None
    ) -> int:
        """One linear solve for ``dx``; refactor when stale, or when the old factors do badly.

        In ``most`` iterations with fresh factors, if so many are given.
        """
        system, linear = self.system, self.linear
        low_rank = system.jacobian(inverse_cfl, newton)
        jump = abs(math.log10((inverse_cfl + 1e-6) / (self.factored_at + 1e-6)))
        linear.couple(low_rank)
        if self.stale or jump > 0.8:
            self._factor(inverse_cfl)
        fresh = self.fresh_iterations
        limit = fresh + STALE_LIMIT if fresh else most
        iterations, good = linear.solve(self.b, self.dx, rtol, limit)
        if not good and fresh:
            self._factor(inverse_cfl)
            again, good = linear.solve(self.b, self.dx, rtol, go_on=True)
            self.fresh_iterations = max(again, fresh)
            iterations += again
        elif not fresh:
            self.fresh_iterations = iterations
        self.solved = good
        patience = DIRECT_REUSE if self.options.direct else self.fresh_iterations + STALE_PATIENCE
        self.stale = not good or iterations > patience
        return iterations

    def correct(self, rtol: float) -> int:
        """Take one Newton step from the present state, whole; return the linear iterations."""
        self.system.residual(self.b)
        iterations = self._solve(0.0, 1.0, rtol)
        self.system.advance(self.dx, -1.0)
        return iterations

    def refactor(self) -> None:
        """Renew the Jacobian of the state and its factors."""
        self.system.linearise_about_state()
        self.linear.couple(self.system.jacobian(0.0, 1.0))
        self._factor(0.0)

    def respond(self, load: Array, rtol: float, *, transposed: bool = False) -> Array:
        """Solve ``J d = load`` (or with the transpose) for owned unknowns, with the factors there are."""
        self.b.array[:] = load
        if transposed:
            self.linear.solve_transposed(self.b, self.dx, rtol)
        else:
            self.linear.solve(self.b, self.dx, rtol)
        return np.array(self.dx.array_r)

    def nudge(self, change: Array) -> None:
        """Add a change of the owned unknowns to the state."""
        self.dx.array[:] = change
        self.system.advance(self.dx, 1.0)

    def _factor(self, inverse_cfl: float) -> None:
        self.linear.factor()
        self.factored_at, self.fresh_iterations = inverse_cfl, 0

    def run(self, goal: Goal, phase: str, cfl: float = CFL_START) -> Outcome:
        """Pseudo-transient steps until Newton's method takes over; both until the goal is met."""
        system = self.system
        system.linearise_about_state()
        r = system.residual(self.b)
        best, since_best, step = r, 0, 0
        while step < goal.max_steps:
            if r < NEWTON_BELOW * goal.reference and since_best % 4 == 0:
                outcome = self.newton(goal, phase, goal.max_steps - step)
                step += outcome.steps
                if outcome.converged:
                    return Outcome(True, outcome.residual, step, "converged")
                r = system.residual(self.b)
            step += 1
            iterations = self._solve(1.0 / cfl, 0.0, self._forcing(r, goal))
            r_new, _ = self._globalise(r)
            if not math.isfinite(r_new):
                cfl *= 0.2
                if cfl < CFL_MIN:
                    return Outcome(False, r / goal.reference, step, "no step reduces the residual")
                continue
            cfl = min(CFL_MAX, cfl * min(GROWTH, max(SHRINK, r / r_new)))
            r = r_new
            self._report(phase, r / goal.reference, cfl, iterations)
            since_best = 0 if r < 0.7 * best else since_best + 1
            best = min(best, r) if since_best == 0 else best
            if since_best > STALL_STEPS:
                return Outcome(False, r / goal.reference, step, "the residual stalls")
        return Outcome(False, r / goal.reference, step, "step limit")

    def newton(self, goal: Goal, phase: str, max_steps: int, patience: int = PATIENCE) -> Outcome:
        """Damped Newton steps on the steady equations; on failure the state is the best one seen."""
        system = self.system
        system.linearise_about_state()
        r = system.residual(self.b)
        start, saved, gap, short = r, system.snapshot(), math.inf, 0
        for step in range(1, max_steps + 1):
            most = ATTEMPT_LIMIT if patience == 1 else None
            iterations = self._solve(0.0, 1.0, self._forcing(r, goal), most)
            worth = self.solved or patience > 1
            r_new, length = self._globalise(r) if worth else (math.inf, 0.0)
            short = short + 1 if length < 1.0 or r_new > 0.7 * r else 0
            if not math.isfinite(r_new) or short > patience:
                system.restore(saved)
                system.linearise_about_state()
                system.residual(self.b)
                return Outcome(
                    False, start / goal.reference, step, "Newton's method does not converge"
                )
            r = r_new
            if goal.settle and r < SETTLE_BELOW * goal.reference:
                gap = float(np.abs(system.settle_pressures()).max())
                r = system.residual(self.b)
            self._report(phase, r / goal.reference, math.inf, iterations)
            if r <= goal.tolerance * goal.reference and (not goal.settle or self._settled(gap)):
                return Outcome(True, r / goal.reference, step, "converged")
            if r < start:
                start, saved = r, system.snapshot()
        return Outcome(False, r / goal.reference, max_steps, "step limit")

    def leap(self, goal: Goal, phase: str, max_steps: int) -> Outcome:
        """Full Newton steps, judged by their lengths; on failure the state is that at the start.

        The residual may rise on the way: near a mode that hardly decays a short residual stands for a long error, and
        damping by it stops Newton's method within its reach.

        Reference:
            Deuflhard (2004), Newton Methods for Nonlinear Problems, Springer, sec. 2.1 and 3.3 (error-oriented,
            affine covariant), https://doi.org/10.1007/978-3-642-23899-4.
        """
        system = self.system
        start, last = system.snapshot(), math.inf
        system.linearise_about_state()
        r = system.residual(self.b)
        for step in range(1, max_steps + 1):
            iterations = self._solve(0.0, 1.0, LEAP_FORCING)
            length = float(self.dx.norm())
            if not (self.solved and math.isfinite(length) and length < LENGTHENING * last):
                break
            system.advance(self.dx, -1.0)
            system.linearise_about_state()
            r, last = system.residual(self.b), length
            if not r < BLOWN * goal.reference:
                break
            self._report(phase, r / goal.reference, math.inf, iterations)
            if r <= goal.tolerance * goal.reference:
                return Outcome(True, r / goal.reference, step, "converged")
        system.restore(start)
        system.linearise_about_state()
        r = system.residual(self.b)
        self.stale = True
        reason = "Newton's steps do not grow shorter"
        return Outcome(False, r / goal.reference, max_steps, reason)

    def _report(self, phase: str, residual: float, cfl: float, iterations: int) -> None:
        numbers = {"residual": residual, "cfl": cfl, "linear_iterations": iterations}
        self.progress.step(self.system, phase, numbers)

    def _forcing(self, r: float, goal: Goal) -> float:
        """Relative tolerance of the linear solve: looser far away, never below what the end needs."""
        needed = 0.1 * goal.tolerance * goal.reference / max(r, 1e-300)
        return min(max(10.0 * self.options.rtol, 1e-2), max(needed, self.options.rtol))

    def _globalise(self, r: float) -> tuple[float, float]:
        """Take the step, shortened if needed; return the new residual (inf: rejected) and the length."""
        system = self.system
        saved = system.snapshot()
        for length in (1.0, 0.5, 0.25, 0.1):
            system.advance(self.dx, -length)
            system.linearise_about_state()
            r_new = system.residual(self.b)
            if math.isfinite(r_new) and r_new < (ACCEPT if length == 1.0 else 1.0) * r:
                return r_new, length
            system.restore(saved)
        system.linearise_about_state()
        system.residual(self.b)
        self.stale = True
        return math.inf, 0.0

    def _settled(self, gap: float) -> bool:
        """Mean pressures on their lines and mass in balance, both to well below 1e-6."""
        system = self.system
        Q, p = system.functionals()
        scale = np.abs(p + system.scales.datum / system.scales.pressure).max()
        return bool(gap < 1e-7 * scale and abs(Q.sum()) < 1e-7 * abs(Q[0]))

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        self.linear.destroy()
        self.b.destroy()
        self.dx.destroy()
