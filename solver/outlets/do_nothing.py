r"""Do-nothing outlet: the natural condition of the weak form.

Equation: $-p n + \mu\,\partial_n u = -p_0 n$ at every point, so that developed flow leaves undisturbed; the mean
pressure differs from $p_0$ by the mean normal viscous traction.

Reference:
    Heywood, Rannacher & Turek (1996), Int. J. Numer. Meth. Fluids 22, 325-352,
    https://doi.org/10.1002/(SICI)1097-0363(19960315)22:5<325::AID-FLD307>3.0.CO;2-Y.

Configuration::

    out: {kind: do-nothing, p: 0.0}
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from solver.outlets.base import Circuit, Governs, OutletModel


class DoNothing(OutletModel):
    """Natural condition, ``-p n + mu du/dn = -p0 n``."""

    governs: ClassVar[Governs] = "traction"
    kind: Literal["do-nothing"] = "do-nothing"
    p: float = Field(default=0.0, description="p0 [Pa]")

    def circuit(self, t: float | None) -> Circuit:
        """``p = p0``."""
        return Circuit.memoryless(0.0, self.p)
