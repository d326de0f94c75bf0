r"""Newtonian fluid, $\sigma = -pI + 2\mu\varepsilon(u)$.

Configuration::

    rheology: {kind: newtonian, viscosity: 0.0035}
"""

from __future__ import annotations

from typing import Literal

from solver.rheology.base import RheologyModel


class Newtonian(RheologyModel):
    """Constant viscosity."""

    kind: Literal["newtonian"] = "newtonian"
