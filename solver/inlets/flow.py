r"""Prescribed flow rate with the developed profile of the real cross-section.

The profile solves $-\Delta w = 1$ on the inlet facets with $w = 0$ on the rim (a parabola on a
circle), scaled on the discrete mesh so that the flow rate is met exactly. Where the flow changes with time, each of its
harmonics has the profile of developed oscillating flow (`solver.womersley`).

Configuration::

    inlet: {kind: flow, Q: 2.0e-6}
    inlet: {kind: flow, Q: {period: 0.8, values: [1.0e-6, 3.0e-6, 2.0e-6, 1.5e-6]}}
    inlet: {kind: flow, Q: {period: 0.8, values: [1.0e-6, 3.0e-6, 2.0e-6, 1.5e-6]}, profile: developed}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from solver.inlets.base import InletModel
from solver.waveform import Signal, value


class FlowInlet(InletModel):
    """Flow rate into the domain."""

    kind: Literal["flow"] = "flow"
    Q: Signal = Field(
        description="flow rate into the domain [m^3 s^-1], constant or a waveform; its mean is positive"
    )

    profile: Literal["womersley", "developed"] = Field(
        default="womersley",
        description="of a waveform: developed flow that changes with time, or the steady shape at every time",
    )

    @field_validator("Q")
    @classmethod
    def _inwards(cls, Q: Signal) -> Signal:
        if not value(Q, None) > 0.0:
            raise ValueError("the mean flow into the domain must be greater than 0")
        return Q
