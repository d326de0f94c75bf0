r"""Newtonian fluid, $\sigma = -pI + 2\mu\varepsilon(u)$.

Configuration::

    rheology: {kind: newtonian, viscosity: 0.0035}
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Newtonian(BaseModel):
    """Constant viscosity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["newtonian"] = "newtonian"
    viscosity: float = Field(gt=0, description="dynamic viscosity [Pa s]")
