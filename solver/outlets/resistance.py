r"""Pure resistance outlet.

::

    Q ->  --- R --- pd

Equation: $p = p_d + R Q$; flow out of the domain is positive.

Reference:
    Vignon-Clementel et al. (2006), Comput. Methods Appl. Mech. Engrg. 195, 3776-3796,
    https://doi.org/10.1016/j.cma.2005.04.014, section 3.1.

Configuration::

    LAD: {kind: resistance, R: 1.0e10, pd: 0.0}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from solver.outlets.base import Circuit, OutletModel


class Resistance(OutletModel):
    """Resistance outlet, ``p = pd + R Q``."""

    kind: Literal["resistance"] = "resistance"
    R: float = Field(ge=0, description="resistance [Pa s m^-3]")
    pd: float = Field(default=0.0, description="distal pressure [Pa]")

    def circuit(self, t: float | None) -> Circuit:
        """The line ``p = pd + R Q``."""
        return Circuit.memoryless(self.R, self.pd)
