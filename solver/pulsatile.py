r"""A periodic flow: beds in time, periods marched until nothing is missing.

The march begins with the steady flow of the means, each bed on its periodic orbit behind the tree's resistance
(`solver.surrogate`), so that little is left to settle. A step that breaks down begins its period again with half the
step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from solver.bed import Bed
from solver.cycle import Cycle
from solver.inlets import FlowInlet, PressureInlet
from solver.io import pulse_state
from solver.io.pulse_state import Saved
from solver.periodicity import difference, missing
from solver.problem import FlowProblem, PatchWaves, Pulse, PulseResult
from solver.progress import Progress
from solver.steady import Goal, SteadySolver
from solver.stepper import Stepper
from solver.surrogate import orbits_of
from solver.waveform import Waveform, value
from solver.womersley import Womersley

log = logging.getLogger("solver")
Array = npt.NDArray[np.float64]
START_TOLERANCE, START_STEPS = 1e-5, 12
FINEST = 8
"""A period's steps are doubled so many times at most: to eight times."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a period began, to begin it again."""

    state: tuple[Array, float]
    offset: Array
    beds: tuple[tuple[Array, Array], ...]


@dataclass(slots=True)
class Pulsatile:
    """The march of one problem.

    Attributes:
        driver: Solver whose system holds the steady flow of the means, and then the flow in time.
        problem: The problem.
        progress: Where steps are told.
        keep: Called after each step; saves what `saved` tells now and then. None where nothing is kept.
        beds: One an outlet.
        cycle: What is kept of the present period.
        stepper: Takes the steps.
        decay: What the beds' slowest disturbance shrinks to in a period.
        steps: Time steps a period.
        number: The present period, from 1.
        marched: Steps taken.
        differences: Of the periods so far (`solver.periodicity`).
        errors: What each still lacked.
        before: Flows and mean pressures of the period before.
        start: Where the present period began.
        womersley: What the inlet's flow adds to its steady shape, where it changes with time.
    """

    driver: SteadySolver
    problem: FlowProblem
    progress: Progress
    keep: Callable[[Pulsatile], None] | None = None
    beds: list[Bed] = field(default_factory=list)
    cycle: Cycle = field(init=False)
    stepper: Stepper = field(init=False)
    decay: float = 0.0
    steps: int = 0
    number: int = 1
    marched: int = 0
    differences: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    before: tuple[Array, Array] | None = None
    start: _Start = field(init=False)
    womersley: Womersley | None = None
    seconds: float = 0.0

    @property
    def pulse(self) -> Pulse:
        """How."""
        if self.problem.pulse is None:
            raise ValueError("the problem has no pulse")
        return self.problem.pulse

    def run(self, state: dict[str, Any] | None = None) -> PulseResult:
        """March until the flow is periodic, or for as many periods as allowed.

        The state of the system becomes the mean over the last period, of which `cycle` holds what is kept.

        Args:
            state: A restart state to go on from (`solver.io.pulse_state.read`, on every rank).

        Raises:
            ComputationError: A step breaks down however short it is.
        """
        system, began = self.driver.system, perf_counter()
        means = system.openings.p0.copy(), system.openings.R.copy()
        first, inlet = self.marched, self.problem.inlet
        if isinstance(inlet, FlowInlet) and isinstance(inlet.Q, Waveform):
            self.womersley = Womersley(system, inlet.Q) if inlet.profile == "womersley" else None
        if state is None:
            self._begin()
            self._mark_start()
        else:
            self._go_on(pulse_state.restore(system, state))
            first = self.marched
        while True:
            self._period()
            if self._is_periodic() or self.number >= self.pulse.cycles:
                break
            self.number += 1
            self.cycle.begin()
            self._mark_start()
        self.stepper.stop()
        system.pulsation[:] = 0.0
        system.restore((self.cycle.mean("state"), float(-self.cycle.waves()[0][:, 0].mean())))
        system.openings.p0[:], system.openings.R[:] = means
        self.seconds = (perf_counter() - began) / max(self.marched - first, 1)
        return self._told()

    # -- the beginning -------------------------------------------------------------------------

    def _begin(self) -> None:
        orbits = orbits_of(self.problem, self.driver.system)
        self.decay = max((orbit.decay for orbit in orbits), default=0.0)
        self.steps = self.pulse.steps
        self.beds = [
            Bed.begin(model, 0.0, self._dt_seconds(), orbit.x, orbit.Q)
            for model, orbit in zip(self.problem.outlets.values(), orbits, strict=True)
        ]
        self._settle()
        self.cycle = Cycle(self.driver.system, self.pulse, self.steps)
        self.stepper = Stepper(self.driver, self._dt())

    def _settle(self) -> None:
        """The steady flow between the pressures of time zero, where there is one; else that of the means stays."""
        system = self.driver.system
        for k, bed in enumerate(self.beds, start=1):
            told = bed.model.circuit(0.0)
            self._set_line(k, float(told.h @ bed.x) + told.e, told.R)
        kept = system.snapshot()
        self._set_inlet(0.0)
        system.apply_inlet()
        system.linearise_about_state()
        reference = max(system.residual(self.driver.b), 1e-300)
        goal = Goal(reference, START_TOLERANCE, START_STEPS, settle=False)
        outcome = self.driver.newton(goal, "start", START_STEPS, patience=2)
        if not outcome.converged:
            system.restore(kept)
        system.settle_pressures()

    # -- saved ---------------------------------------------------------------------------------

    def saved(self) -> Saved:
        """All that `run` needs to go on from here."""
        kept, stepper = self.cycle.sums, self.stepper
        windows = {k: v[:, None] for k, v in kept.items() if k.startswith("window")}
        walls = {k: v.reshape(len(v), -1) for k, v in kept.items() if k.startswith("shear")}
        first = self.start.state[0]
        vectors = {"now": stepper.now[0], "old": stepper.old[0], "first": first}
        Q, p = self.cycle.waves()
        numbers: dict[str, Any] = {
            "Q_in": [stepper.now[1], stepper.old[1]],
            "offsets": stepper.offsets,
            "march": [self.steps, self.number, self.marched, self.decay],
            "differences": self.differences,
            "errors": self.errors,
            "Q": Q,
            "p": p,
            "first Q_in": self.start.state[1],
            "first offset": self.start.offset,
            **{f"count {name}": count for name, count in self.cycle.counts.items()},
        }
        if "state" in kept:
            vectors["sum"] = kept["state"]
        if self.before is not None:
            numbers |= {"before Q": self.before[0], "before p": self.before[1]}
        now = tuple((bed.x, bed.before) for bed in self.beds)
        for kind, states in (("bed", now), ("first bed", self.start.beds)):
            for k, (x, before) in enumerate(states):
                numbers |= {f"{kind} {k} x": x, f"{kind} {k} before": before}
        arrays = {name: np.atleast_1d(np.asarray(told, float)) for name, told in numbers.items()}
        return Saved(vectors, walls, windows, arrays)

    def _go_on(self, saved: Saved) -> None:
        """Take up a march where it was saved."""
        system, numbers = self.driver.system, saved.numbers
        steps, number, marched, self.decay = (float(value) for value in numbers["march"])
        self.steps, self.number, self.marched = round(steps), round(number), round(marched)
        self.differences, self.errors = (
            numbers[name].tolist() for name in ("differences", "errors")
        )
        if "before Q" in numbers:
            self.before = numbers["before Q"], numbers["before p"]
        self.cycle = Cycle(system, self.pulse, self.steps)
        self.cycle.flow, self.cycle.pressure = list(numbers["Q"]), list(numbers["p"])
        for name, count in numbers.items():
            if name.startswith("count "):
                self.cycle.counts[name.removeprefix("count ")] = round(float(count[0]))
        sums = self.cycle.sums
        sums |= {name: v[:, 0] for name, v in saved.pressures.items()}
        sums |= {name: v if v.shape[1] == 3 else v[:, 0] for name, v in saved.nodal.items()}
        if "sum" in saved.vectors:
            sums["state"] = saved.vectors["sum"]
        order = range(len(self.problem.outlets))
        beds, first = (
            tuple((numbers[f"{kind} {k} x"], numbers[f"{kind} {k} before"]) for k in order)
            for kind in ("bed", "first bed")
        )
        self._put_beds(beds, len(self.cycle.flow))
        state = saved.vectors["first"], float(numbers["first Q_in"][0])
        self.start = _Start(state, numbers["first offset"], first)
        self.stepper = Stepper(self.driver, self._dt())
        now, old = numbers["Q_in"]
        self.stepper.now, self.stepper.old = (
            (saved.vectors["now"], float(now)),
            (saved.vectors["old"], float(old)),
        )
        self.stepper.offsets = list(numbers["offsets"])
        system.restore(self.stepper.now)
        system.offset[:] = self.stepper.offsets[-1]

    def _put_beds(self, states: tuple[tuple[Array, Array], ...], step: int) -> None:
        """Begin the beds' next step, after so many of the present period, with their states."""
        dt = self._dt_seconds()
        t = (self.number - 1) * self.pulse.period + step * dt
        models = self.problem.outlets.values()
        self.beds = [
            Bed(model, t, dt, x, before) for model, (x, before) in zip(models, states, strict=True)
        ]

    def _mark_start(self) -> None:
        system = self.driver.system
        beds = tuple((bed.x, bed.before) for bed in self.beds)
        self.start = _Start(system.snapshot(), system.offset.copy(), beds)

    # -- in time -------------------------------------------------------------------------------

    def _dt_seconds(self) -> float:
        return self.pulse.period / self.steps

    def _dt(self) -> float:
        scales = self.driver.system.scales
        return self._dt_seconds() * scales.velocity / scales.length

    def _set_line(self, k: int, p0: float, R: float) -> None:
        o, scales = self.driver.system.openings, self.driver.system.scales
        o.p0[k] = (p0 if o.flows[k] else p0 - scales.datum) / scales.pressure
        o.R[k] = R * scales.flow / scales.pressure

    def _set_inlet(self, t: float) -> float | None:
        """Put the inlet's pressure of a time into the system; its flow, where it prescribes one, is returned."""
        system, inlet = self.driver.system, self.problem.inlet
        if isinstance(inlet, PressureInlet):
            o, scales = system.openings, system.scales
            o.p0[0] = (value(inlet.p, t) - scales.datum) / scales.pressure
            return None
        if isinstance(inlet, FlowInlet):
            system.Q_in = value(inlet.Q, t) / system.scales.flow
            if self.womersley is not None:
                self.womersley.put(t, system.pulsation)
        return float(system.Q_in)

    def _period(self) -> None:
        """March to the end of the period; where it breaks down, all of it again with steps half as long."""
        system, first = self.driver.system, self.start
        while not self._march():
            self.stepper.stop()
            self.cycle.destroy()
            if self.steps >= FINEST * self.pulse.steps:
                raise ComputationError(
                    f"the march in time breaks down with {self.steps} steps a period. Try: a finer mesh in the "
                    "narrowing, element P1-P1, or a lower flow"
                )
            self.steps *= 2
            self.differences.clear()
            self.before = None
            log.info("a step broke down: from there again with %d steps a period", self.steps)
            system.restore(first.state)
            system.offset[:] = first.offset
            beds = tuple((x, 0.5 * (x + before)) for x, before in first.beds)
            self.start = first = _Start(first.state, first.offset, beds)
            self._put_beds(first.beds, 0)
            self.driver.stale = True
            self.cycle = Cycle(system, self.pulse, self.steps)
            self.stepper = Stepper(self.driver, self._dt())

    def _march(self) -> bool:
        """The rest of the period's steps; whether all were good."""
        system, scales = self.driver.system, self.driver.system.scales
        for step in range(len(self.cycle.flow) + 1, self.steps + 1):
            t = step * self._dt_seconds()
            for k, bed in enumerate(self.beds, start=1):
                self._set_line(k, *bed.line())
            iterations = self.stepper.step(self._set_inlet(t))
            if not self.stepper.good:
                return False
            Q, p = system.functionals()
            for bed, flow in zip(self.beds, Q[1:], strict=True):
                bed.accept(float(flow * scales.flow))
            self.cycle.add(Q, p)
            self.marched += 1
            numbers = {
                "residual": self.stepper.change,
                "time": t,
                "linear_iterations": iterations,
            }
            self.progress.step(system, "pulse", numbers)
            if self.keep is not None:
                self.keep(self)
        return True

    def _is_periodic(self) -> bool:
        """Whether the period just marched lacks no more than the tolerance."""
        scales = self.driver.system.scales
        Q, p = self.cycle.waves()
        now = Q, p + scales.datum / scales.pressure
        before, self.before = self.before, now
        if before is None:
            return False
        self.differences.append(difference(now, before))
        self.errors.append(missing(self.differences, self.decay))
        log.info(
            "period %d: differs from the one before by %.1e, still lacks %.1e",
            self.number,
            self.differences[-1],
            self.errors[-1],
        )
        return self.errors[-1] <= self.pulse.tolerance

    def _told(self) -> PulseResult:
        system = self.driver.system
        Q, p = self.cycle.waves()
        Q, p = Q * system.scales.flow, p * system.scales.pressure + system.scales.datum
        return PulseResult(
            period=self.pulse.period,
            steps=self.steps,
            cycles=self.number,
            errors=tuple(self.errors),
            periodic=bool(self.errors) and self.errors[-1] <= self.pulse.tolerance,
            seconds_per_step=round(self.seconds, 4),
            times=tuple(self._dt_seconds() * (k + 1) for k in range(self.steps)),
            waves={
                name: PatchWaves(Q=tuple(Q[:, k].tolist()), p=tuple(p[:, k].tolist()))
                for k, name in enumerate(system.openings.names)
            },
        )
