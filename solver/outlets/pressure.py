r"""Prescribed mean pressure.

Configuration::

    LAD: {kind: pressure, p: 8000.0}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from solver.outlets.base import OutletModel


class Pressure(OutletModel):
    """Mean pressure over the outlet."""

    kind: Literal["pressure"] = "pressure"
    p: float = Field(description="mean pressure [Pa]")

    def steady(self) -> tuple[float, float]:
        """Return ``(p, 0)``."""
        return self.p, 0.0
