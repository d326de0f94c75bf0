r"""What every 0D outlet model must offer: a linear circuit.

$\dot x = A(t) x + b(t) Q + c(t)$ and $p = h \cdot x + R(t) Q + e(t)$ with the state $x$ (pressures at nodes), the flow
out of the domain $Q$ and the pressure $p$ that the bed puts on the outlet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Array = npt.NDArray[np.float64]
Governs = Literal["mean pressure", "traction", "flow"]


@dataclass(frozen=True, slots=True)
class Circuit:
    """The coefficients of a bed's equations at one time, ``n`` states [Pa].

    Attributes:
        A: ``(n, n)`` [1/s].
        b: ``(n,)`` [Pa m^-3].
        c: ``(n,)`` [Pa/s].
        h: ``(n,)``.
        R: [Pa s m^-3].
        e: [Pa].
    """

    A: Array
    b: Array
    c: Array
    h: Array
    R: float
    e: float

    @classmethod
    def memoryless(cls, R: float, e: float) -> Circuit:
        """A bed without states, ``p = e + R Q``."""
        none = np.empty(0)
        return cls(np.empty((0, 0)), none, none, none, R, e)

    def rate(self, x: Array, Q: float) -> Array:
        """Time derivative of the state [Pa/s]."""
        return np.asarray(self.A @ x + self.b * Q + self.c)

    def pressure(self, x: Array, Q: float) -> float:
        """Pressure on the outlet [Pa]."""
        return float(self.h @ x) + self.R * Q + self.e


class OutletModel(BaseModel, ABC):
    """A 0D model of the bed downstream of one outlet.

    Attributes:
        governs: ``mean pressure``: ``p`` is that over the outlet; ``traction``: its normal traction, negative;
            ``flow``: a part of that, which vanishes at the end (`solver.outlets.flow`).
    """

    governs: ClassVar[Governs] = "mean pressure"
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def circuit(self, t: float | None) -> Circuit:
        """The bed's equations at a time [s]; those of the mean over a period where it is None."""

    def steady(self) -> tuple[float, float]:
        """Return ``(p0 [Pa], R [Pa s m^-3])`` of the steady state, ``p = p0 + R Q``."""
        told = self.circuit(None)
        if len(told.c) == 0:
            return told.e, told.R
        forced, driven = np.linalg.solve(told.A, np.column_stack([told.c, told.b])).T
        return told.e - float(told.h @ forced), told.R - float(told.h @ driven)
