"""What a result says of the state that was found: its status, the open patches, how it came about."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from solver.forces import on_patch
from solver.levels import Found
from solver.probes import sample
from solver.problem import Line, PatchFlow, Point, ProbeValue, Status
from solver.system import FlowSystem


def status(found: Found) -> Status:
    """What kind of state was found."""
    outcome = found.outcome
    if found.average is not None:
        return "time-averaged"
    if outcome.base > 1.0 and outcome.captured == 0.0:
        return "extrapolated"
    real = outcome.thickening == 1.0 and outcome.captured == 0.0
    return "converged" if real else "regularised"


def notes(found: Found) -> list[str]:
    """How the result came about."""
    system, outcome, average = found.system, found.outcome, found.average
    scales, names = system.scales, system.openings.names

    def told(values: Any) -> str:  # noqa: ANN401
        return ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values, strict=True))

    lines = []
    if outcome.branch_end > 1.0:
        lines.append(
            f"the branch of steady states from thicker fluids ends at {outcome.branch_end:.3f} times the viscosity; "
            "this one lies beyond its fold (solver.detour). It solves the equations on this mesh as exactly as any, "
            "but may be unstable, so that the real jet flaps about it"
        )
    if outcome.base > 1.0 and outcome.shift is not None:
        shift = told(outcome.shift / (system.functionals()[1][0] + scales.datum / scales.pressure))
        lines.append(
            f"{outcome.reason}; the result is extrapolated to the real one from the steady states there and at "
            f"{outcome.base:.3f} times, which changed p over that of the inlet by: {shift}"
        )
    elif outcome.thickening > 1.0:
        lines.append(f"{outcome.reason}; the result is the steady state there")
    if outcome.captured > 0.0:
        lines.append(
            "no steady state was found on this mesh without extra viscosity where it does not resolve the "
            f"jet (terms.capturing, C = {outcome.captured:.2g}); a finer mesh behind the narrowing needs less"
        )
    if outcome.captured > 0.0 and outcome.base == 1.0 and outcome.shift is not None:
        shift = told(outcome.shift * scales.pressure)
        lines.append(
            f"estimated change of the mean pressures without the extra viscosity [Pa]: {shift}"
        )
    if average is not None:
        step = average.time_step * scales.length / scales.velocity
        drift = told(average.drift * scales.pressure)
        lines.append(
            f"{outcome.reason}; mean over {average.steps} time steps of {step:.3g} s, mean pressures of the "
            f"window's second half less those of the first [Pa]: {drift}"
        )
    gap = system.offset * scales.pressure
    return [*lines, f"traction minus mean pressure at the open patches [Pa]: {told(gap)}"]


def fluctuations(found: Found) -> dict[str, dict[str, float]]:
    """Standard deviations of the patches' flows and mean pressures in SI units."""
    average, scales = found.average, found.system.scales
    if average is None:
        return {}
    rows = zip(found.system.openings.names, average.Q_deviation, average.p_deviation, strict=True)
    return {
        name: {"Q": float(q * scales.flow), "p": float(p * scales.pressure)} for name, q, p in rows
    }


def patches(system: FlowSystem) -> dict[str, PatchFlow]:
    """Flow, mean pressure and residual of the model of each open patch, in SI units."""
    scales, o = system.scales, system.openings
    Q, p = system.functionals()
    model = o.p0 + o.R * Q
    residual = np.where(o.flows, np.abs(model), np.where(o.governed, np.abs(p - model), 0.0))
    return {
        name: PatchFlow(
            Q=float(Q[i] * scales.flow),
            p=float(p[i] * scales.pressure + scales.datum),
            area=float(o.area[i] * scales.length**2),
            residual=float(residual[i] * scales.pressure),
        )
        for i, name in enumerate(o.names)
    }


def wall_forces(system: FlowSystem) -> dict[str, Point]:
    """Forces on the walls that the problem names [N] (collective)."""
    return {name: _triple(on_patch(system, name)) for name in system.problem.forces}


def probe_values(system: FlowSystem) -> dict[str, tuple[ProbeValue, ...]]:
    """What the problem's probes read (collective)."""
    read = {}
    for name, where in system.problem.probes.items():
        points = where.points() if isinstance(where, Line) else list(where)
        velocity, pressure = sample(system, np.array(points).reshape(-1, 3))
        read[name] = tuple(
            ProbeValue(
                point=point,
                velocity=_triple(u) if np.isfinite(p) else None,
                p=float(p) if np.isfinite(p) else None,
            )
            for point, u, p in zip(points, velocity, pressure, strict=True)
        )
    return read


def _triple(vector: npt.NDArray[np.float64]) -> Point:
    x, y, z = vector.tolist()
    return x, y, z
