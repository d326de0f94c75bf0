r"""Prescribed mean pressure.

Configuration::

    inlet: {kind: pressure, p: 12000.0}
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from solver.inlets.base import InletModel


class PressureInlet(InletModel):
    """Mean pressure over the inlet; the flow rate is part of the solution."""

    prescribes_flow: ClassVar[bool] = False
    kind: Literal["pressure"] = "pressure"
    p: float = Field(description="mean pressure [Pa]")
