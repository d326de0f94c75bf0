"""What every rheology model must offer."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class RheologyModel(BaseModel):
    """A generalised Newtonian fluid.

    Attributes:
        viscosity: Reference viscosity: that of the Reynolds number [Pa s].
        varies: Whether the viscosity depends on the shear rate.
    """

    varies: ClassVar[bool] = False
    model_config = ConfigDict(frozen=True, extra="forbid")
    viscosity: float = Field(gt=0, description="dynamic viscosity [Pa s]")

    def ratio(self, shear_rate: Any) -> Any:  # noqa: ANN401 - numbers, arrays or UFL expressions
        """Viscosity over the reference one at a shear rate [1/s]."""
        return 1.0 + 0.0 * shear_rate
