r"""Prescribed flow.

Equation: $Q = Q_0$; the normal traction is whatever it takes. It is found on the way: it is
$\lambda + S\,(Q - Q_0)/\bar Q_0$, and $\lambda$ takes over what the second term says as long as the flow is off (an
augmented Lagrangian: no stiff penalty, and at the end nothing is left of the second term; in time the flow is met to
second order in the step). Some other opening must say what the pressure is.

Reference:
    Nocedal & Wright (2006), Numerical Optimization, Springer, sec. 17.3, https://doi.org/10.1007/978-0-387-40065-5.

Configuration::

    LAD: {kind: flow, Q: 8.0e-7}
    LCx: {kind: flow, Q: {period: 0.8, values: [6.0e-7, 9.0e-7, 7.0e-7, 6.5e-7]}}
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from solver.outlets.base import Circuit, Governs, OutletModel
from solver.waveform import Signal, value


class Flow(OutletModel):
    """Flow out of the domain; the pressure is part of the solution."""

    governs: ClassVar[Governs] = "flow"
    kind: Literal["flow"] = "flow"
    Q: Signal = Field(
        description="flow out of the domain [m^3 s^-1], constant or a waveform; its mean is positive"
    )
    S: float = Field(
        default=1e4,
        gt=0,
        description="traction that an error as large as the mean flow calls up [Pa]: a vessel's drop or more",
    )

    @field_validator("Q")
    @classmethod
    def _outwards(cls, Q: Signal) -> Signal:
        if not value(Q, None) > 0.0:
            raise ValueError("the mean flow out of the domain must be greater than 0")
        return Q

    def circuit(self, t: float | None) -> Circuit:
        """The second term of the traction."""
        R = self.S / value(self.Q, None)
        return Circuit.memoryless(R, -R * value(self.Q, t))
