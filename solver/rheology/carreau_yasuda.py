r"""Carreau-Yasuda fluid: blood's viscosity falls with the shear rate.

Equation: $\mu(\dot\gamma) = \mu_\infty + (\mu_0 - \mu_\infty)\,(1 + (\lambda\dot\gamma)^a)^{(n-1)/a}$ with
$\dot\gamma = \sqrt{2\,\varepsilon(u):\varepsilon(u)}$. Carreau's model has $a = 2$.

Reference:
    Boyd, Buick & Green (2007), Phys. Fluids 19, 093103, https://doi.org/10.1063/1.2772250 (the defaults, for blood);
    Cho & Kensey (1991), Biorheology 28, 241-262, https://doi.org/10.3233/BIR-1991-283-415 (Carreau:
    ``viscosity: 0.00345, zero_shear: 0.056, time: 3.313, n: 0.3568, a: 2``).

Configuration::

    rheology: {kind: carreau-yasuda}
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from solver.rheology.base import RheologyModel


class CarreauYasuda(RheologyModel):
    """Shear-thinning; the reference viscosity is the one at infinite shear."""

    varies: ClassVar[bool] = True
    kind: Literal["carreau-yasuda"] = "carreau-yasuda"
    viscosity: float = Field(default=0.0022, gt=0, description="at infinite shear rate [Pa s]")
    zero_shear: float = Field(default=0.022, gt=0, description="viscosity at rest [Pa s]")
    time: float = Field(default=0.11, ge=0, description="lambda [s]")
    n: float = Field(default=0.392, gt=0, le=1, description="power-law index")
    a: float = Field(default=0.644, gt=0, le=4, description="sharpness of the transition")

    @model_validator(mode="after")
    def _thins(self) -> Self:
        if self.zero_shear < self.viscosity:
            raise ValueError(
                f"zero_shear {self.zero_shear:g} must not be less than viscosity {self.viscosity:g} (at infinite shear)"
            )
        return self

    def ratio(self, shear_rate: Any) -> Any:  # noqa: ANN401
        """Viscosity over that at infinite shear."""
        thinned = (1.0 + (self.time * shear_rate) ** self.a) ** ((self.n - 1.0) / self.a)
        return 1.0 + (self.zero_shear / self.viscosity - 1.0) * thinned
