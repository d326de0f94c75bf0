r"""Pressure and flow in a tree whose losses along its centrelines are known: what faster models share.

$$ p(s) = p(0) - \int_0^s (v\,Q + t\,Q|Q|)\,ds - \tfrac12\rho\,(U^2(s) - U^2(0)) $$

and the flows are those at which every outlet meets its resistance. Behind a bifurcation no velocity head comes back
(static pressures are equal where a daughter is slower). The reference has its conditions at the far ends of flow
extensions: what Poiseuille's law says of those is lost as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import Line, Vessel
from pipeline.physiology.formulas import MMHG

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Losses:
    """Coefficients along one line, ``(s,)``, SI.

    Attributes:
        viscous: Of each step to a point: what is lost per flow.
        turbulent: Of each step: what is lost per flow squared.
        head: Velocity head per flow squared: half the density over the area squared.
    """

    viscous: Array
    turbulent: Array
    head: Array


def branch_flows(vessel: Vessel, flows: Mapping[str, float]) -> dict[int, float]:
    """Flow of every branch: of all outlets whose line passes it."""
    found: dict[int, float] = {}
    for name, line in vessel.lines.items():
        for branch in np.unique(line.branch):
            found[int(branch)] = found.get(int(branch), 0.0) + flows[name]
    return found


def drops_of(
    vessel: Vessel, losses: Mapping[str, Losses], flows: Mapping[str, float]
) -> dict[str, Array]:
    """What the pressure has fallen by at every point of every line [Pa].

    Args:
        vessel: The case.
        losses: Along each line.
        flows: Through each outlet [m^3/s].
    """
    through, found = branch_flows(vessel, flows), {}
    for name, line in vessel.lines.items():
        Q = np.array([through[int(b)] for b in line.branch])
        told = losses[name]
        lost = np.cumsum(told.viscous * Q + told.turbulent * Q * np.abs(Q))
        found[name] = lost + np.cumsum(head_changes(line, told.head * Q**2))
    return found


def before(vessel: Vessel) -> float:
    """Resistance of the extension before the inlet [Pa s/m^3]."""
    return _tube(vessel, vessel.calibre.inlet_extension_mm, vessel.calibre.inlet_mm)


def behind(vessel: Vessel, name: str) -> float:
    """Resistance of the extension behind a vessel end [Pa s/m^3]."""
    length = vessel.calibre.extensions_mm.get(name, 0.0)
    return _tube(vessel, length, vessel.calibre.outlets_mm[name])


def _tube(vessel: Vessel, length_mm: float, diameter_mm: float) -> float:
    return float(128e9 * vessel.conditions.viscosity * length_mm / (np.pi * diameter_mm**4))


def head_changes(line: Line, head: Array) -> Array:
    """What the velocity head takes of the pressure from point to point of a line.

    Args:
        line: The line.
        head: Velocity head at its points, ``(s,)``; a daughter that is slower than its stem gives nothing back.
    """
    change = np.diff(head, prepend=head[0])
    junction = np.diff(line.branch, prepend=line.branch[0]) != 0
    change[junction] = np.maximum(change[junction], 0.0)
    return np.asarray(change)


def flows_of(vessel: Vessel, losses: Mapping[str, Losses]) -> dict[str, float]:
    """Flow through each outlet [m^3/s] at which every end meets its resistance.

    Raises:
        ComputationError: There is none, or flows through outlets are given: only resistances are known here.
    """
    from scipy.optimize import root

    if vessel.conditions.outflow_mL_per_s:
        given_at = ", ".join(vessel.conditions.outflow_mL_per_s)
        raise ComputationError(
            f"{vessel.case}: the network knows no outlets of given flow ({given_at})"
        )
    names = list(vessel.lines)
    R = np.array([vessel.conditions.resistance[name] for name in names]) * MMHG * 1e6
    R += [behind(vessel, name) for name in names]
    pd = np.array([vessel.conditions.distal_mmHg[name] for name in names]) * MMHG
    given = vessel.conditions.Q_in_mL_per_s
    Pa = 100.0 * MMHG if vessel.conditions.Pa_mmHg is None else vessel.conditions.Pa_mmHg * MMHG
    scale = float(np.sum((Pa - pd) / np.maximum(R, 1e-6 * R.max() + 1.0))) / len(names)
    if given is not None:
        scale = 1e-6 * given / len(names)

    def residual(x: Array) -> Array:
        flows = dict(zip(names, scale * x[: len(names)], strict=True))
        source = Pa if given is None else Pa * x[-1]
        source -= before(vessel) * sum(flows.values())
        drops = drops_of(vessel, losses, flows)
        off = (
            np.array([source - drops[name][-1] for name in names])
            - pd
            - R * scale * x[: len(names)]
        )
        if given is None:
            return np.asarray(off / Pa)
        return np.append(off / Pa, x[:-1].sum() / len(names) - 1.0)

    start = np.full(len(names) + (given is not None), 0.5 if given is None else 1.0)
    found = root(residual, start, method="hybr", tol=1e-10)
    if not found.success and float(np.abs(found.fun).max()) > 1e-6:
        raise ComputationError(f"{vessel.case}: the network finds no flow: {found.message}")
    return dict(zip(names, scale * found.x[: len(names)], strict=True))


def pressures(
    vessel: Vessel, losses: Mapping[str, Losses], flows: Mapping[str, float]
) -> dict[str, Array]:
    """Pressure at the points of each line [mmHg].

    Args:
        vessel: The case.
        losses: Along each line.
        flows: Through each outlet [m^3/s].
    """
    drops = drops_of(vessel, losses, flows)
    if vessel.conditions.Pa_mmHg is None:
        name = next(iter(vessel.lines))
        end = MMHG * (
            vessel.conditions.distal_mmHg[name]
            + vessel.conditions.resistance[name] * 1e6 * flows[name]
        )
        source = end + behind(vessel, name) * flows[name] + drops[name][-1]
    else:
        source = vessel.conditions.Pa_mmHg * MMHG - before(vessel) * sum(flows.values())
    return {name: (source - drop) / MMHG for name, drop in drops.items()}


def told(vessel: Vessel, curves: Mapping[str, Array], seconds: float) -> Prediction:
    """FFR at vessel ends and distal of lesions, from pressures along the lines.

    Args:
        vessel: The case.
        curves: Pressure at the points of each line [mmHg].
        seconds: What they took.
    """
    given = vessel.conditions.Pa_mmHg
    Pa = float(next(iter(curves.values()))[0]) if given is None else given
    s = {name: line.abscissa_mm for name, line in vessel.lines.items()}
    ffr = {
        name: float(np.interp(at, s[name], curves[name])) / Pa
        for name, at in vessel.ends_mm.items()
        if name in curves
    }
    lesions = {}
    for lesion in vessel.lesions:
        window, outlet = lesion["distal_window"], lesion["outlet"]
        if outlet in curves:
            at = np.linspace(window["start_mm"], window["stop_mm"], 21)
            lesions[lesion["name"]] = float(np.interp(at, s[outlet], curves[outlet]).mean()) / Pa
    return Prediction(ffr, lesions, dict(curves), seconds)
