"""Pressure, FFR and flow along each centreline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.anatomy.types import Centerline
from pipeline.ffr.sections import Section, Sectioner

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """Section means along one centreline; arrays ``(n,)`` over its points.

    Attributes:
        line: The centreline.
        pressure_mmHg: Area-weighted mean pressure.
        flow_mL_per_s: Towards the outlet; NaN where the section is not whole.
        section_area_mm2: Area averaged over.
        peak_m_per_s: Largest speed in the section.
        size_mm: Mean edge length of the cells cut.
        whole: False where only a disc around the centre was averaged (bifurcations).
    """

    line: Centerline
    pressure_mmHg: Floats
    flow_mL_per_s: Floats
    section_area_mm2: Floats
    peak_m_per_s: Floats
    size_mm: Floats
    whole: npt.NDArray[np.bool_]

    @property
    def vessel(self) -> npt.NDArray[np.bool_]:
        """Points that are not in a flow extension."""
        return ~self.line.extension

    def pressure_at(self, abscissa_mm: float) -> float:
        """Interpolated mean pressure [mmHg]."""
        return float(np.interp(abscissa_mm, self.line.abscissa_mm, self.pressure_mmHg))

    def mean_pressure(self, start_mm: float, stop_mm: float) -> float:
        """Mean over a stretch by length [mmHg]; the value at the point if it has no length."""
        s = self.line.abscissa_mm
        if stop_mm <= start_mm:
            return self.pressure_at(start_mm)
        inner = s[(s > start_mm) & (s < stop_mm)]
        x = np.concatenate([[start_mm], inner, [stop_mm]])
        p = np.interp(x, s, self.pressure_mmHg)
        return float(np.trapezoid(p, x) / (stop_mm - start_mm))


def trace(lines: Sequence[Centerline], sectioner: Sectioner) -> tuple[Curve, ...]:
    """Cut the mesh at every centreline point; shared stems are cut once."""
    known: dict[bytes, Section | None] = {}
    curves = []
    for line in lines:
        sections = [_section(line, k, sectioner, known) for k in range(len(line.abscissa_mm))]
        curves.append(_curve(line, sections))
    return tuple(curves)


def _section(
    line: Centerline, k: int, sectioner: Sectioner, known: dict[bytes, Section | None]
) -> Section | None:
    numbers = [*line.points_mm[k], *line.tangent[k], line.radius_mm[k], line.area_mm2[k]]
    key = np.round(numbers, 6).tobytes()
    if key not in known:
        known[key] = sectioner.section(
            line.points_mm[k],
            line.tangent[k],
            float(line.radius_mm[k]),
            float(line.area_mm2[k]),
        )
    return known[key]


def _curve(line: Centerline, sections: Sequence[Section | None]) -> Curve:
    def column(name: str) -> Floats:
        return np.array([np.nan if s is None else getattr(s, name) for s in sections], dtype=float)

    return Curve(
        line=line,
        pressure_mmHg=_filled(line.abscissa_mm, column("pressure")),
        flow_mL_per_s=column("flow_mL_per_s"),
        section_area_mm2=column("area_mm2"),
        peak_m_per_s=column("peak_m_per_s"),
        size_mm=column("size_mm"),
        whole=np.array([s is not None and s.whole for s in sections], dtype=np.bool_),
    )


def _filled(s: Floats, values: Floats) -> Floats:
    """Values with the gaps interpolated (a centreline point may stick out of the mesh at an end cap)."""
    good = np.isfinite(values)
    return values if good.all() or not good.any() else np.interp(s, s[good], values[good])


def branch_outlets(lines: Sequence[Centerline]) -> dict[int, frozenset[str]]:
    """The outlets downstream of each branch number."""
    found: dict[int, set[str]] = {}
    for line in lines:
        for branch in np.unique(line.branch):
            found.setdefault(int(branch), set()).add(line.outlet)
    return {branch: frozenset(names) for branch, names in found.items()}


def flow_mismatch(curves: Sequence[Curve], outflow_mL_per_s: dict[str, float]) -> Floats:
    """Relative difference of every whole section's flow from the outflow downstream of it."""
    downstream = branch_outlets([curve.line for curve in curves])
    parts = []
    for curve in curves:
        expected = np.array(
            [sum(outflow_mL_per_s[o] for o in downstream[int(b)]) for b in curve.line.branch]
        )
        use = curve.whole & curve.vessel & (expected != 0)
        parts.append(curve.flow_mL_per_s[use] / expected[use] - 1.0)
    return np.concatenate(parts) if parts else np.empty(0)
