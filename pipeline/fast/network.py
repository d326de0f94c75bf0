r"""A 0D/1D network with the reference's own outlets: the least a faster model has to beat.

Along a line the mean pressure falls by friction and by what a jet loses, and changes with the velocity head:

$$ p(s) = P_a - \int_0^s \frac{8\pi\mu Q}{A^2}\,ds - \sum \Delta p_e - \tfrac12\rho\,(U^2(s) - U^2(0)),\quad
\Delta p_e = \tfrac12 K_t\,\rho\,Q^2\left(\frac1{A_t} - \frac1{A_d}\right)^2 $$

with the areas $A_t$ of a lesion's throat and $A_d$ behind it, $K_t = 1.52$; the loss is spread from throat to distal
shoulder. Behind a bifurcation no velocity head comes back (static pressures are equal where a daughter is slower). The
flows are those at which every end meets its resistance.

References:
    Young & Tsai (1973), J. Biomech. 6, 395-410, https://doi.org/10.1016/0021-9290(73)90099-7 (expansion loss);
    Poiseuille's law on the local area is what 1D models of FFR take for friction, e.g. Itu et al. (2012), ISBI,
    https://doi.org/10.1109/ISBI.2012.6235677.
"""

from __future__ import annotations

import time

import numpy as np

from pipeline.fast.hydraulics import Losses, flows_of, pressures, told
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import Line, Vessel

EXPANSION = 1.52


class Network:
    """The baseline.

    Attributes:
        name: For `pipeline.fast.find`.
        expansion: Loss coefficient of a lesion's jet.
    """

    name = "network"

    def __init__(self, expansion: float = EXPANSION) -> None:
        self.expansion = expansion

    def predict(self, vessel: Vessel) -> Prediction:
        """Pressures and FFR.

        Raises:
            ComputationError: No flow meets all outlets, or flows through outlets are given: it knows resistances only.
        """
        began = time.perf_counter()
        losses = {
            name: formula(vessel, line, self.expansion) for name, line in vessel.lines.items()
        }
        curves = pressures(vessel, losses, flows_of(vessel, losses))
        return told(vessel, curves, time.perf_counter() - began)


def formula(vessel: Vessel, line: Line, expansion: float = EXPANSION) -> Losses:
    """Losses along a line by the formulas.

    Args:
        vessel: The case.
        line: One of its lines.
        expansion: Loss coefficient of a lesion's jet.
    """
    area, s = 1e-6 * line.whole_area_mm2, 1e-3 * line.abscissa_mm
    friction = 8 * np.pi * vessel.conditions.viscosity / area**2
    steps = np.diff(s, prepend=s[0])
    mean = 0.5 * (friction + np.concatenate([friction[:1], friction[:-1]]))
    turbulent = np.zeros(len(s))
    for number in range(len(vessel.lesions)):
        inside = np.flatnonzero(line.lesion == number)
        if len(inside) > 2:
            throat = inside[int(np.argmin(area[inside]))]
            behind = np.arange(throat + 1, inside[-1] + 1)
            if len(behind):
                gap = max(1.0 / area[throat] - 1.0 / area[behind[-1]], 0.0)
                turbulent[behind] += (
                    0.5 * expansion * vessel.conditions.density * gap**2 / len(behind)
                )
    return Losses(mean * steps, turbulent, 0.5 * vessel.conditions.density / area**2)
