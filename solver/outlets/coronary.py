r"""Coronary bed that the contracting heart squeezes.

::

    Q ->  --- Ra --- pa --- Ram --- pm --- Rv --- Pv
                     |              |
                     Ca            Cim
                     |              |
                    gnd          Pim(t)

Equations: $p = p_a + R_a Q$, $C_a \dot p_a = Q - (p_a - p_m)/R_{am}$ and
$C_{im}(\dot p_m - \dot P_{im}) = (p_a - p_m)/R_{am} - (p_m - P_v)/R_v$. The states are $p_a$ and the transmural
pressure $p_m - P_{im}$, so that no derivative of the intramyocardial pressure is needed. In a hyperaemic bed $R_{am}$
is small; a microcirculation that the squeezing narrows has a factor on it that changes with time.

Reference:
    Kim et al. (2010), Ann. Biomed. Eng. 38, 3195-3209, https://doi.org/10.1007/s10439-010-0083-6, figure 2 (their
    Rv and Rv-micro are one resistance here); Mantero, Pietrabissa & Fumero (1992), J. Biomed. Eng. 14, 109-116,
    https://doi.org/10.1016/0141-5425(92)90015-D.

Configuration::

    LAD: {kind: coronary, Ra: 2.4e9, Ca: 3.0e-12, Ram: 3.9e9, Cim: 2.5e-11, Rv: 1.2e9, Pv: 700.0,
          Pim: {period: 0.8, values: [500.0, 12000.0, 15000.0, 2000.0, 600.0, 500.0]}}
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from solver.outlets.base import Circuit, OutletModel
from solver.waveform import Signal, Waveform, value


class Coronary(OutletModel):
    """Coronary bed; the states are ``pa`` and ``pm - Pim``."""

    kind: Literal["coronary"] = "coronary"
    Ra: float = Field(ge=0, description="arterial resistance [Pa s m^-3]")
    Ca: float = Field(gt=0, description="arterial compliance [m^3 Pa^-1]")
    Ram: float = Field(gt=0, description="microvascular resistance [Pa s m^-3]")
    Cim: float = Field(gt=0, description="intramyocardial compliance [m^3 Pa^-1]")
    Rv: float = Field(gt=0, description="venous resistance [Pa s m^-3]")
    Pv: float = Field(default=0.0, description="right atrial pressure [Pa]")
    Pim: Signal = Field(description="intramyocardial pressure [Pa], constant or a waveform")
    microvascular: Signal = Field(
        default=1.0, description="factor on Ram, constant or a waveform; positive"
    )

    @field_validator("microvascular")
    @classmethod
    def _positive(cls, factor: Signal) -> Signal:
        if min(factor.values if isinstance(factor, Waveform) else (factor,)) <= 0.0:
            raise ValueError("a factor on a resistance must be greater than 0")
        return factor

    def circuit(self, t: float | None) -> Circuit:
        """The equations above; of the mean: those of the mean pressure and the mean factor."""
        Pim = value(self.Pim, t)
        through = 1.0 / (self.Ram * value(self.microvascular, t))
        out = 1.0 / self.Rv
        return Circuit(
            A=np.array(
                [
                    [-through / self.Ca, through / self.Ca],
                    [through / self.Cim, -(through + out) / self.Cim],
                ]
            ),
            b=np.array([1.0 / self.Ca, 0.0]),
            c=np.array(
                [through * Pim / self.Ca, (out * (self.Pv - Pim) - through * Pim) / self.Cim]
            ),
            h=np.array([1.0, 0.0]),
            R=self.Ra,
            e=0.0,
        )
