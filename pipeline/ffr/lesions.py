"""Numbers of each lesion: pressure before and after, flow, throat, wall shear stress.

Where pressures are taken: `WINDOWS`; what was used of a window is told with each number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.anatomy.types import Lesion
from pipeline.ffr.curves import Curve
from pipeline.ffr.wall import Wall, statistics
from pipeline.physiology.formulas import reynolds

PROXIMAL_DIAMETERS = 1.0
DISTAL_DIAMETERS = (2.0, 3.0)
WINDOWS = (
    "Proximal pressure: mean over the reference diameter before the proximal shoulder. Distal pressure: mean from 2 to "
    "3 reference diameters beyond the distal shoulder, where the jet has given back what pressure it gives back. Both "
    "windows stop at the neighbouring lesion and at the anatomical ends (limited_by)."
)
SHOULDER = "the next lesion"
END = "the end of the vessel"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a centreline over which pressure is averaged.

    Attributes:
        start_mm: Abscissa.
        stop_mm: Abscissa; equal to `start_mm` where there is no room for a stretch.
        limited_by: What cut it short; None if it has its full length and place.
    """

    start_mm: float
    stop_mm: float
    limited_by: str | None


@dataclass(frozen=True, slots=True)
class Flow:
    """What lesions need beside the curves.

    Attributes:
        reference_pressure_mmHg: Pa of FFR.
        outflow_mL_per_s: Through each outlet.
        density: [kg m^-3].
        viscosity: [Pa s].
    """

    reference_pressure_mmHg: float
    outflow_mL_per_s: Mapping[str, float]
    density: float
    viscosity: float


def distal_window(end_mm: float, diameter_mm: float, limit_mm: float, limit: str) -> Window:
    """From 2 to 3 diameters beyond the distal shoulder, but not beyond ``limit_mm``.

    Where the limit comes before the window begins, the last point before the limit is taken.
    """
    start, stop = (end_mm + n * diameter_mm for n in DISTAL_DIAMETERS)
    if stop <= limit_mm:
        return Window(start, stop, None)
    last = max(limit_mm, end_mm)
    return Window(min(start, last), last, limit)


def proximal_window(start_mm: float, diameter_mm: float, limit_mm: float, limit: str) -> Window:
    """The diameter before the proximal shoulder, but not before ``limit_mm``."""
    begin = start_mm - PROXIMAL_DIAMETERS * diameter_mm
    if begin >= limit_mm:
        return Window(begin, start_mm, None)
    return Window(min(limit_mm, start_mm), start_mm, limit)


def describe(
    lesion: Lesion, others: Sequence[Lesion], curves: Sequence[Curve], wall: Wall, flow: Flow
) -> dict[str, Any]:
    """All numbers of one lesion, JSON-able, units in the keys.

    Args:
        lesion: The lesion.
        others: All lesions of the vessel.
        curves: All pull-back curves.
        wall: The wall.
        flow: Reference pressure, outflows, blood.
    """
    along = {curve.line.outlet: curve for curve in curves if curve.line.outlet in lesion.outlets}
    main = along[lesion.outlet]
    by_outlet = {
        name: _pressures(lesion, others, curve, _shift(lesion, main, curve), flow)
        for name, curve in along.items()
    }
    q = sum(flow.outflow_mL_per_s[name] for name in lesion.outlets)
    return {
        "name": lesion.name,
        "outlet": lesion.outlet,
        "outlets": list(lesion.outlets),
        "diameter_stenosis": lesion.diameter_stenosis,
        "area_stenosis": lesion.area_stenosis,
        "reference_diameter_mm": lesion.reference_diameter_mm,
        "minimum_lumen_diameter_mm": lesion.minimum_lumen_diameter_mm,
        "minimum_lumen_area_mm2": lesion.minimum_lumen_area_mm2,
        "length_mm": lesion.length_mm,
        "start_mm": lesion.start_mm,
        "throat_mm": lesion.throat_mm,
        "end_mm": lesion.end_mm,
        "centre_mm": list(lesion.centre_mm),
        **by_outlet[lesion.outlet],
        **_throat(lesion, main, q, flow),
        "wall_shear_stress": statistics(wall, lesion, main.line),
        "by_outlet": by_outlet,
    }


def _shift(lesion: Lesion, main: Curve, curve: Curve) -> float:
    """What to add to an abscissa of the lesion's own centreline to get that of another one."""
    if curve is main:
        return 0.0
    nearest = np.argmin(np.linalg.norm(curve.line.points_mm - np.asarray(lesion.centre_mm), axis=1))
    own = np.argmin(np.linalg.norm(main.line.points_mm - np.asarray(lesion.centre_mm), axis=1))
    return float(curve.line.abscissa_mm[nearest] - main.line.abscissa_mm[own])


def _pressures(
    lesion: Lesion, others: Sequence[Lesion], curve: Curve, shift: float, flow: Flow
) -> dict[str, Any]:
    s = curve.line.abscissa_mm[curve.vessel] - shift
    d = lesion.reference_diameter_mm
    after = _next(lesion, others, curve.line.outlet)
    before = _previous(lesion, others, curve.line.outlet)
    distal = distal_window(lesion.end_mm, d, *min((float(s.max()), END), (after, SHOULDER)))
    proximal = proximal_window(
        lesion.start_mm, d, *max((float(s.min()), END), (before, "the previous lesion"))
    )
    p_proximal = curve.mean_pressure(proximal.start_mm + shift, proximal.stop_mm + shift)
    p_distal = curve.mean_pressure(distal.start_mm + shift, distal.stop_mm + shift)
    reference = flow.reference_pressure_mmHg
    return {
        "pressure_proximal_mmHg": p_proximal,
        "pressure_distal_mmHg": p_distal,
        "pressure_drop_mmHg": p_proximal - p_distal,
        "ffr_proximal": p_proximal / reference,
        "ffr_distal": p_distal / reference,
        "ffr_drop": (p_proximal - p_distal) / reference,
        "proximal_window": _window(proximal),
        "distal_window": _window(distal),
    }


def _next(lesion: Lesion, others: Sequence[Lesion], outlet: str) -> float:
    """Proximal shoulder of the next lesion towards ``outlet``, on the lesion's own abscissa."""
    starts = [o.start_mm for o in others if outlet in o.outlets and o.throat_mm > lesion.throat_mm]
    return min(starts, default=math.inf)


def _previous(lesion: Lesion, others: Sequence[Lesion], outlet: str) -> float:
    ends = [o.end_mm for o in others if outlet in o.outlets and o.throat_mm < lesion.throat_mm]
    return max(ends, default=-math.inf)


def _window(window: Window) -> dict[str, Any]:
    return {
        "start_mm": window.start_mm,
        "stop_mm": window.stop_mm,
        "limited_by": window.limited_by,
    }


def _throat(lesion: Lesion, main: Curve, q: float, flow: Flow) -> dict[str, Any]:
    s = main.line.abscissa_mm
    inside = (s >= lesion.start_mm) & (s <= lesion.end_mm + lesion.reference_diameter_mm)
    throat = int(np.argmin(np.abs(s - lesion.throat_mm)))
    return {
        "flow_mL_per_min": q * 60.0,
        "throat_mean_velocity_m_per_s": q / lesion.minimum_lumen_area_mm2,
        "peak_velocity_m_per_s": _largest(main.peak_m_per_s[inside]),
        "throat_reynolds": reynolds(
            abs(q), lesion.minimum_lumen_diameter_mm, flow.density, flow.viscosity
        ),
        "throat_pressure_mmHg": main.pressure_at(lesion.throat_mm),
        "elements_across_throat": _ratio(lesion.minimum_lumen_diameter_mm, main.size_mm[throat]),
    }


def _ratio(length_mm: float, size_mm: float) -> float | None:
    return length_mm / float(size_mm) if np.isfinite(size_mm) else None


def _largest(values: npt.NDArray[np.float64]) -> float | None:
    good = values[np.isfinite(values)]
    return float(good.max()) if good.size else None
