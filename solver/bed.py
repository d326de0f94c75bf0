r"""An outlet's bed in time: backward differences of second order, a line $p = p_0 + R Q$ a step.

$(\tfrac32 x^{n+1} - 2 x^n + \tfrac12 x^{n-1})/\Delta t = A x^{n+1} + b Q^{n+1} + c$ at $t^{n+1}$, the differences of
`solver.stepper`; $x^{n+1}$ is affine in $Q^{n+1}$, and so is the pressure.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from solver.outlets import OutletModel
from solver.waveform import Waveform

Array = npt.NDArray[np.float64]
_EXACT = 1e-10
"""Relative tolerance where an orbit is sought to all digits that matter."""


class Bed:
    """One outlet's states on their way.

    Attributes:
        model: The bed's equations.
        t: Time of `x` [s].
        dt: Time step [s].
        x: State ``(n,)``.
        before: State a step earlier.
    """

    def __init__(self, model: OutletModel, t: float, dt: float, x: Array, before: Array) -> None:
        self.model, self.t, self.dt, self.x, self.before = model, t, dt, x, before

    @classmethod
    def begin(cls, model: OutletModel, t: float, dt: float, x: Array, Q: float) -> Self:
        """Begin with a state and the flow of its time; the step before is the one its rate says."""
        return cls(model, t, dt, x, x - dt * model.circuit(t).rate(x, Q))

    def line(self) -> tuple[float, float]:
        """``(p0 [Pa], R [Pa s m^-3])`` of the pressure at the end of the next step."""
        told = self.model.circuit(self.t + self.dt)
        forced, driven = self._next()
        return told.e + float(told.h @ forced), told.R + float(told.h @ driven)

    def accept(self, Q: float) -> None:
        """End the step with a flow [m^3/s]."""
        forced, driven = self._next()
        self.x, self.before = forced + driven * Q, self.x
        self.t += self.dt

    def _next(self) -> tuple[Array, Array]:
        """The next state without flow, and what a unit of flow adds."""
        told = self.model.circuit(self.t + self.dt)
        left = 1.5 * np.eye(len(self.x)) - self.dt * told.A
        right = 2.0 * self.x - 0.5 * self.before + self.dt * told.c
        return np.linalg.solve(left, right), np.linalg.solve(left, self.dt * told.b)


def steady_state(model: OutletModel, Q: float) -> Array:
    """State ``(n,)`` of a steady flow [m^3/s], in the mean over a period."""
    told = model.circuit(None)
    return np.asarray(np.linalg.solve(told.A, -(told.b * Q + told.c)))


def periodic_state(model: OutletModel, flow: Waveform) -> Array:
    """State ``(n,)`` at time zero of the orbit that a periodic flow [m^3/s] keeps."""
    turn, shift = monodromy(model, flow, flow.period)
    return np.asarray(np.linalg.solve(np.eye(len(shift)) - turn, shift))


def monodromy(model: OutletModel, flow: Waveform | None, period: float) -> tuple[Array, Array]:
    """The state after a period, affine in the one before it: ``(M (n, n), f (n,))``, to `_EXACT`.

    Args:
        model: The bed's equations.
        flow: Periodic flow [m^3/s]; None: no flow.
        period: [s].
    """
    n = len(model.circuit(0.0).c)
    if n == 0:
        return np.empty((0, 0)), np.empty(0)

    def rate(t: float, flat: Array) -> Array:
        told, x = model.circuit(t), flat.reshape(n, n + 1)
        out = told.A @ x
        out[:, n] += told.c if flow is None else told.b * flow(t) + told.c
        return np.asarray(out.ravel())

    start = np.column_stack([np.eye(n), np.zeros(n)])
    size = np.column_stack([np.ones((n, n)), np.full(n, max(abs(model.steady()[0]), 1e3))])
    run = solve_ivp(
        rate, (0.0, period), start.ravel(), "Radau", rtol=_EXACT, atol=_EXACT * size.ravel()
    )
    end = run.y[:, -1].reshape(n, n + 1)
    return np.asarray(end[:, :n]), np.asarray(end[:, n])
