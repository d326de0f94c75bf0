r"""Prescribed mean pressure.

Configuration::

    inlet: {kind: pressure, p: 12000.0}
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PressureInlet(BaseModel):
    """Mean pressure over the inlet; the flow rate is part of the solution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pressure"] = "pressure"
    p: float = Field(description="mean pressure [Pa]")
