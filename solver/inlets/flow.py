r"""Prescribed flow rate with the developed profile of the real cross-section.

The profile solves $-\Delta w = 1$ on the inlet facets with $w = 0$ on the rim (a parabola on a
circle), scaled on the discrete mesh so that the flow rate is met exactly.

Configuration::

    inlet: {kind: flow, Q: 2.0e-6}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from solver.inlets.base import InletModel


class FlowInlet(InletModel):
    """Flow rate into the domain."""

    kind: Literal["flow"] = "flow"
    Q: float = Field(gt=0, description="flow rate into the domain [m^3 s^-1]")
