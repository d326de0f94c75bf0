"""What every 0D outlet model must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class OutletModel(BaseModel, ABC):
    """A 0D model of the bed downstream of one outlet.

    Over one time step (or in the steady state) the model is affine in the flow rate,
    ``p = p0 + R Q``, so that the 3D solver can treat it implicitly.

    Attributes:
        governs_mean_pressure: ``p`` is the mean pressure over the outlet; else its normal traction, negative.
    """

    governs_mean_pressure: ClassVar[bool] = True
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def steady(self) -> tuple[float, float]:
        """Return ``(p0 [Pa], R [Pa s m^-3])`` of the steady state."""
