"""Colours of figures and viewer: perceptually uniform maps, one fixed FFR scale, one hue a vessel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FFR_RANGE = (0.5, 1.0)
UNDER = "#c2185b"  # below the scale
MASKED = "#d9d9d9"  # flow extensions
INK = "#1b1f24"
STEM = "#7d858f"  # what several vessels share
LESION = "#b00020"
VESSELS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#8a6d00",
    "#56b4e9",
    "#5d3a9b",
    "#666666",
)  # after Okabe, Ito
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True)
class Scale:
    """How one field is coloured.

    Attributes:
        name: Array name in ``ffr/wall.vtp``.
        label: Name for people.
        unit: Unit, empty if none.
        low: Value of the first colour.
        high: Value of the last colour.
        colours: Name of a Matplotlib colour map.
        under: Colour of what is below `low`; the first colour if None.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    colours: str
    under: str | None = None

    @property
    def caption(self) -> str:
        """Label with unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


def vessel_style(k: int) -> tuple[str, str]:
    """Colour and dash of the k-th vessel."""
    return VESSELS[k % len(VESSELS)], DASHES[k // len(VESSELS) % len(DASHES)]


def scales(
    shear: npt.NDArray[np.floating], pressure: npt.NDArray[np.floating]
) -> tuple[Scale, Scale, Scale]:
    """FFR on its fixed scale, wall shear stress up to its 99th percentile, pressure over its range."""
    top = _round_up(float(np.nanquantile(shear, 0.99)))
    low, high = float(np.nanmin(pressure)), float(np.nanmax(pressure))
    low, high = 5 * np.floor(low / 5), 5 * np.ceil(high / 5)
    return (
        Scale("ffr", "FFR", "", *FFR_RANGE, "viridis", UNDER),
        Scale("wall_shear_stress_Pa", "Wall shear stress", "Pa", 0.0, top, "cividis"),
        Scale(
            "pressure_mmHg", "Pressure", "mmHg", float(low), float(max(high, low + 5)), "viridis"
        ),
    )


def _round_up(value: float) -> float:
    """The next number with one digit out of 1, 2, 3, 4, 5, 6, 8."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 2, 3, 4, 5, 6, 8, 10])
    return float(power * steps[np.searchsorted(steps, value / power - 1e-9)])
