"""Periodic functions of time: pressures, flows and factors of one heartbeat."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Array = npt.NDArray[np.float64]


class Waveform(BaseModel):
    """A periodic cubic spline through values at even times, the first at zero.

    Twice continuously differentiable, so that methods of second order keep their order.

    Configuration::

        {period: 0.8, values: [1.2e4, 1.5e4, 1.3e4, 1.1e4]}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    period: float = Field(gt=0, description="[s]")
    values: tuple[float, ...] = Field(min_length=3, description="at 0, T / n, ... T (n - 1) / n")

    @cached_property
    def _spline(self) -> Any:  # noqa: ANN401
        from scipy.interpolate import CubicSpline  # a case is checked without it

        times = np.linspace(0.0, self.period, len(self.values) + 1)
        return CubicSpline(times, [*self.values, self.values[0]], bc_type="periodic")

    def __call__(self, t: float) -> float:
        """Value at a time [s]."""
        return float(self._spline(t % self.period))

    def rate(self, t: float) -> float:
        """Time derivative [1/s times the values' unit]."""
        return float(self._spline(t % self.period, 1))

    def mean(self) -> float:
        """Mean over the period."""
        return float(self._spline.integrate(0.0, self.period)) / self.period

    def at(self, times: Array) -> Array:
        """Values at times ``(n,)`` [s]."""
        return np.asarray(self._spline(np.mod(times, self.period)))


Signal = float | Waveform
"""A constant, or a function of time."""


def value(signal: Signal, t: float | None) -> float:
    """A signal at a time [s]; its mean over the period where that is None."""
    if isinstance(signal, Waveform):
        return signal.mean() if t is None else signal(t)
    return signal
