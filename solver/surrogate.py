r"""A tree seen from its beds: one resistance from the inlet to each outlet, taken from a steady flow.

Good enough to begin with: with it every bed has a periodic orbit of its own, $Q = (p_{in}(t) - p)/R_t$, whose state at
time zero the march in time starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.bed import monodromy
from solver.inlets import FlowInlet, PressureInlet
from solver.outlets import Circuit, OutletModel
from solver.problem import FlowProblem
from solver.system import FlowSystem
from solver.waveform import Signal, Waveform, value

Array = npt.NDArray[np.float64]


class Fed(OutletModel):
    """A bed behind a resistance, fed by a pressure: a circuit that asks for no flow.

    Attributes:
        bed: The bed.
        Rt: Resistance of the tree [Pa s m^-3].
        source: Pressure at the inlet [Pa].
    """

    bed: OutletModel
    Rt: float
    source: Signal

    def circuit(self, t: float | None) -> Circuit:
        """The bed's equations with its flow put in; ``R`` and ``e`` give the pressure on the outlet."""
        told = self.bed.circuit(t)
        part = 1.0 / (told.R + self.Rt)
        free = part * (value(self.source, t) - told.e)  # flow at zero state
        return Circuit(
            A=told.A - part * np.outer(told.b, told.h),
            b=np.zeros_like(told.b),
            c=told.c + told.b * free,
            h=told.h * (1.0 - part * told.R),
            R=0.0,
            e=told.e + told.R * free,
        )

    def flow(self, t: float, x: Array) -> float:
        """Flow through the bed [m^3/s]."""
        told = self.circuit(t)
        return (value(self.source, t) - told.pressure(x, 0.0)) / self.Rt


@dataclass(frozen=True, slots=True)
class Orbit:
    """Where a bed's periodic orbit is at time zero.

    Attributes:
        x: State ``(n,)`` [Pa].
        Q: Flow [m^3/s].
        decay: What is left of a disturbance after a period, at most.
    """

    x: Array
    Q: float
    decay: float


def orbits_of(problem: FlowProblem, system: FlowSystem) -> list[Orbit]:
    """Of every bed of a problem with a pulse, from the steady flow of the means that the system holds."""
    if problem.pulse is None:
        return []
    scales, inlet, period = system.scales, problem.inlet, problem.pulse.period
    Q, p = system.functionals()
    flow, pressure = Q * scales.flow, p * scales.pressure + scales.datum
    found = []
    for k, model in enumerate(problem.outlets.values(), start=1):
        if isinstance(inlet, PressureInlet):
            Rt = (pressure[0] - pressure[k]) / max(flow[k], 1e-300)
            found.append(fed_orbit(model, Rt, inlet.p, period))
        else:
            signal = inlet.Q if isinstance(inlet, FlowInlet) else float(-flow[0])
            found.append(driven_orbit(model, _part(signal, flow[k] / -flow[0], period)))
    return found


def _part(signal: Signal, part: float, period: float) -> Waveform:
    values = signal.values if isinstance(signal, Waveform) else (signal,) * 3
    return Waveform(period=period, values=tuple(part * v for v in values))


def fed_orbit(bed: OutletModel, Rt: float, source: Signal, period: float) -> Orbit:
    """The orbit of a bed behind a resistance (at least a thousandth of the bed's) under a periodic pressure."""
    Rt = max(Rt, 1e-3 * bed.steady()[1], 1e-300)
    fed = Fed(bed=bed, Rt=Rt, source=source)
    x, decay = _closed(fed, None, period)
    return Orbit(x, fed.flow(0.0, x), decay)


def driven_orbit(bed: OutletModel, flow: Waveform) -> Orbit:
    """The orbit of a bed under a periodic flow."""
    x, decay = _closed(bed, flow, flow.period)
    return Orbit(x, flow(0.0), decay)


def _closed(model: OutletModel, flow: Waveform | None, period: float) -> tuple[Array, float]:
    turn, shift = monodromy(model, flow, period)
    if len(shift) == 0:
        return shift, 0.0
    x = np.linalg.solve(np.eye(len(shift)) - turn, shift)
    return np.asarray(x), float(np.abs(np.linalg.eigvals(turn)).max())
