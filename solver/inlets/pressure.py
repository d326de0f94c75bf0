r"""Prescribed mean pressure.

Configuration::

    inlet: {kind: pressure, p: 12000.0}
    inlet: {kind: pressure, p: {period: 0.8, values: [11000.0, 16000.0, 14000.0, 12000.0]}}
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from solver.inlets.base import InletModel
from solver.waveform import Signal


class PressureInlet(InletModel):
    """Mean pressure over the inlet; the flow rate is part of the solution."""

    prescribes_flow: ClassVar[bool] = False
    kind: Literal["pressure"] = "pressure"
    p: Signal = Field(description="mean pressure over the inlet [Pa], constant or a waveform")
