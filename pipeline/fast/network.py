r"""A 0D/1D network with the reference's own outlets: the least a faster model has to beat.

Along a line the mean pressure falls by friction and by what a jet loses, and changes with the velocity head:

$$ p(s) = P_a - \int_0^s \frac{8\pi\mu Q}{A^2}\,ds - \sum \Delta p_e - \tfrac12\rho\,(U^2(s) - U^2(0)),\quad
\Delta p_e = \tfrac12 K_t\,\rho\,Q^2\left(\frac1{A_t} - \frac1{A_d}\right)^2 $$

with the areas $A_t$ of a lesion's throat and $A_d$ behind it, $K_t = 1.52$; the loss is spread from throat to distal
shoulder. Behind a bifurcation no velocity head comes back (static pressures are equal where a daughter is slower). The
flows are those at which every end meets its resistance.

References:
    Young & Tsai (1973), J. Biomech. 6, 395-410, https://doi.org/10.1016/0021-9290(73)90099-7 (expansion loss);
    Poiseuille's law on the local area is what 1D models of FFR take for friction, e.g. Itu et al. (2012), ISBI,
    https://doi.org/10.1109/ISBI.2012.6235677.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import Line, Vessel
from pipeline.physiology.formulas import MMHG

Array = npt.NDArray[np.float64]
EXPANSION = 1.52


@dataclass(frozen=True, slots=True)
class _Losses:
    """Coefficients along one line, ``(s,)``, SI: what is lost up to a point, and the velocity head there.

    Attributes:
        viscous: Increments times the flow of the branch.
        turbulent: Increments times its square.
        head: Times the square of the flow: half the density over the area squared.
    """

    viscous: Array
    turbulent: Array
    head: Array


class Network:
    """The baseline.

    Attributes:
        name: For `pipeline.fast.find`.
        expansion: Loss coefficient of a lesion's jet.
    """

    name = "network"

    def __init__(self, expansion: float = EXPANSION) -> None:
        self.expansion = expansion

    def predict(self, vessel: Vessel) -> Prediction:
        """Pressures and FFR.

        Raises:
            ComputationError: No flow meets all outlets, or flows through outlets are given: it knows resistances only.
        """
        if vessel.conditions.outflow_mL_per_s:
            names = ", ".join(vessel.conditions.outflow_mL_per_s)
            raise ComputationError(
                f"{vessel.case}: the network knows no outlets of given flow ({names})"
            )
        began = time.perf_counter()
        losses = {name: self._losses(vessel, line) for name, line in vessel.lines.items()}
        flows = _flows(vessel, losses)
        curves = _pressures(vessel, losses, flows)
        Pa = (
            next(iter(curves.values()))[0]
            if vessel.conditions.Pa_mmHg is None
            else vessel.conditions.Pa_mmHg
        )
        s = {name: line.abscissa_mm for name, line in vessel.lines.items()}
        ffr = {
            name: float(np.interp(at, s[name], curves[name])) / Pa
            for name, at in vessel.ends_mm.items()
        }
        lesions = {}
        for lesion in vessel.lesions:
            window = lesion["distal_window"]
            at = np.linspace(window["start_mm"], window["stop_mm"], 21)
            outlet = lesion["outlet"]
            lesions[lesion["name"]] = float(np.interp(at, s[outlet], curves[outlet]).mean()) / Pa
        return Prediction(ffr, lesions, curves, time.perf_counter() - began)

    def _losses(self, vessel: Vessel, line: Line) -> _Losses:
        area, s = 1e-6 * line.whole_area_mm2, 1e-3 * line.abscissa_mm
        friction = 8 * np.pi * vessel.conditions.viscosity / area**2
        steps = np.diff(s, prepend=s[0])
        mean = 0.5 * (friction + np.concatenate([friction[:1], friction[:-1]]))
        turbulent = np.zeros(len(s))
        for number in range(len(vessel.lesions)):
            inside = np.flatnonzero(line.lesion == number)
            if len(inside) > 2:
                throat = inside[int(np.argmin(area[inside]))]
                behind = np.arange(throat + 1, inside[-1] + 1)
                if len(behind):
                    gap = max(1.0 / area[throat] - 1.0 / area[behind[-1]], 0.0)
                    turbulent[behind] += (
                        0.5 * self.expansion * vessel.conditions.density * gap**2 / len(behind)
                    )
        return _Losses(mean * steps, turbulent, 0.5 * vessel.conditions.density / area**2)


def _branch_flows(vessel: Vessel, flows: dict[str, float]) -> dict[int, float]:
    """Flow of every branch: of all outlets whose line passes it."""
    found: dict[int, float] = {}
    for name, line in vessel.lines.items():
        for branch in np.unique(line.branch):
            found[int(branch)] = found.get(int(branch), 0.0) + flows[name]
    return found


def _drops(vessel: Vessel, losses: dict[str, _Losses], flows: dict[str, float]) -> dict[str, Array]:
    """What the pressure has fallen by at every point of every line [Pa]."""
    through, found = _branch_flows(vessel, flows), {}
    for name, line in vessel.lines.items():
        Q = np.array([through[int(b)] for b in line.branch])
        told = losses[name]
        lost = np.cumsum(told.viscous * Q + told.turbulent * Q * np.abs(Q))
        head = told.head * Q**2
        change = np.diff(head, prepend=head[0])
        junction = np.diff(line.branch, prepend=line.branch[0]) != 0
        change[junction] = np.maximum(change[junction], 0.0)  # a slower daughter gets nothing back
        found[name] = lost + np.cumsum(change)
    return found


def _flows(vessel: Vessel, losses: dict[str, _Losses]) -> dict[str, float]:
    """Flow through each outlet [m^3/s]."""
    from scipy.optimize import root

    names = list(vessel.lines)
    R = np.array([vessel.conditions.resistance[name] for name in names]) * MMHG * 1e6
    pd = np.array([vessel.conditions.distal_mmHg[name] for name in names]) * MMHG
    given = vessel.conditions.Q_in_mL_per_s
    Pa = 100.0 * MMHG if vessel.conditions.Pa_mmHg is None else vessel.conditions.Pa_mmHg * MMHG
    scale = float(np.sum((Pa - pd) / np.maximum(R, 1e-6 * R.max() + 1.0))) / len(names)
    if given is not None:
        scale = 1e-6 * given / len(names)

    def residual(x: Array) -> Array:
        flows = dict(zip(names, scale * x[: len(names)], strict=True))
        source = Pa if given is None else Pa * x[-1]
        drops = _drops(vessel, losses, flows)
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


def _pressures(
    vessel: Vessel, losses: dict[str, _Losses], flows: dict[str, float]
) -> dict[str, Array]:
    drops = _drops(vessel, losses, flows)
    if vessel.conditions.Pa_mmHg is None:
        name = next(iter(vessel.lines))
        end = MMHG * (
            vessel.conditions.distal_mmHg[name]
            + vessel.conditions.resistance[name] * 1e6 * flows[name]
        )
        source = end + drops[name][-1]
    else:
        source = vessel.conditions.Pa_mmHg * MMHG
    return {name: (source - drop) / MMHG for name, drop in drops.items()}
