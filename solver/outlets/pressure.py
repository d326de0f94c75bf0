r"""Prescribed mean pressure.

Configuration::

    LAD: {kind: pressure, p: 8000.0}
    LCx: {kind: pressure, p: {period: 0.8, values: [8000.0, 9500.0, 8800.0, 7900.0]}}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from solver.outlets.base import Circuit, OutletModel
from solver.waveform import Signal, value


class Pressure(OutletModel):
    """Mean pressure over the outlet."""

    kind: Literal["pressure"] = "pressure"
    p: Signal = Field(description="mean pressure [Pa], constant or a waveform")

    def circuit(self, t: float | None) -> Circuit:
        """The pressure, whatever flows."""
        return Circuit.memoryless(0.0, value(self.p, t))
