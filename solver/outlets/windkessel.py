r"""Three-element Windkessel (RCR).

::

    Q ->  --- Rp --- pc --- Rd --- pd
                     |
                     C
                     |
                    gnd

Equations: $p = p_c + R_p Q$ and $C \dot p_c = Q - (p_c - p_d)/R_d$.

Reference:
    Vignon-Clementel et al. (2006), Comput. Methods Appl. Mech. Engrg. 195, 3776-3796,
    https://doi.org/10.1016/j.cma.2005.04.014, section 3.2.

Configuration::

    LAD: {kind: windkessel, Rp: 1.2e9, C: 4.0e-12, Rd: 9.0e9, pd: 0.0}
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from solver.outlets.base import Circuit, OutletModel


class Windkessel(OutletModel):
    """RCR; the state is the capacitor's pressure ``pc``."""

    kind: Literal["windkessel"] = "windkessel"
    Rp: float = Field(ge=0, description="proximal resistance [Pa s m^-3]")
    C: float = Field(gt=0, description="compliance [m^3 Pa^-1]")
    Rd: float = Field(gt=0, description="distal resistance [Pa s m^-3]")
    pd: float = Field(default=0.0, description="distal pressure [Pa]")

    def circuit(self, t: float | None) -> Circuit:
        """The equations above; they do not change with time."""
        rate = 1.0 / (self.C * self.Rd)
        return Circuit(
            A=np.array([[-rate]]),
            b=np.array([1.0 / self.C]),
            c=np.array([rate * self.pd]),
            h=np.array([1.0]),
            R=self.Rp,
            e=0.0,
        )
