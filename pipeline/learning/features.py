r"""What a fitted model sees of a vessel: its lines at even steps of their own diameter, numbers without units.

Steps are even in $\tau = \int ds / D$, features are ratios (of areas, of velocities, Reynolds number, curvature times
radius), and losses are told in units of what the formulas of `pipeline.fast.network` say: vessels of another size with
the same Reynolds number look the same, as they do to the equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from pipeline.fast.hydraulics import Losses, branch_flows, head_changes
from pipeline.fast.network import formula
from pipeline.fast.vessel import Line, Vessel

Array = npt.NDArray[np.float64]
STEP = 0.2
"""Between points, in diameters."""
JET = 6.0
"""The fastest section within so many diameters upstream sets the scale of what a jet may lose."""
_ROUND = 1.0  # diameters over which a curvature is taken
_FAR = 40.0  # diameters; what is farther is far
NAMES = (
    "log Reynolds number",
    "widening, d log A / d tau",
    "log area over the largest within a jet's length",
    "log velocity over the fastest within a jet's length upstream",
    "curvature times radius",
    "log inscribed over mean diameter",
    "in a lesion",
    "log flow over that before the last bifurcation, fading",
    "diameters from the inlet",
    "diameters from the last bifurcation",
)


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """One line under given flows, ``(n,)`` arrays.

    Attributes:
        abscissa_mm: Of the points.
        features: ``(n, len(NAMES))``.
        viscous: What friction takes by the formula on each step to a point [Pa].
        turbulent: The same of a lesion's jet.
        local: Velocity head of the fastest section upstream times the step in diameters [Pa].
        head: What the velocity head takes on each step [Pa].
    """

    abscissa_mm: Array
    features: Array
    viscous: Array
    turbulent: Array
    local: Array
    head: Array


def sampled(vessel: Vessel, flows: Mapping[str, float]) -> dict[str, Sampled]:
    """Every line of a vessel.

    Args:
        vessel: The case.
        flows: Through each outlet [m^3/s].
    """
    through = branch_flows(vessel, flows)
    return {
        name: _sampled(vessel, line, np.array([through[int(b)] for b in line.branch]))
        for name, line in vessel.lines.items()
    }


def _sampled(vessel: Vessel, line: Line, Q: Array) -> Sampled:
    told, blood = formula(vessel, line), vessel.conditions
    area = 1e-6 * line.whole_area_mm2
    diameter = np.sqrt(4 * area / np.pi)
    s = 1e-3 * line.abscissa_mm
    tau = np.concatenate([[0.0], np.cumsum(np.diff(s) * 2 / (diameter[1:] + diameter[:-1]))])
    even = np.linspace(0.0, tau[-1], max(2, round(tau[-1] / STEP) + 1))

    def at(values: Array) -> Array:
        return np.asarray(np.interp(even, tau, values))

    def steps(values: Array) -> Array:
        return np.diff(at(np.cumsum(values)), prepend=0.0)

    A, U = at(area), at(Q / area)
    window = 2 * round(JET / STEP) + 1
    fastest = maximum_filter1d(np.abs(U), window // 2 + 1, origin=window // 4)
    fastest = np.maximum(fastest, 1e-12)
    log_A = gaussian_filter1d(np.log(A), 1.0)
    junction, before = _bifurcation(line.branch, tau, Q)
    since = even - at_step(even, tau, junction)
    features = np.column_stack(
        [
            np.log(np.maximum(blood.density * np.abs(U) * at(diameter) / blood.viscosity, 1.0)),
            np.gradient(log_A, even),
            np.log(A / maximum_filter1d(A, window)),
            np.log(np.maximum(np.abs(U), 1e-12) / fastest),
            _curvature(line.points_mm, line.abscissa_mm, at(line.abscissa_mm), even) * 500 * at(diameter),
            np.log(2e-3 * at(line.radius_mm) / at(diameter)),
            at((line.lesion >= 0).astype(float)),
            np.log(np.maximum(at_step(even, tau, Q / before), 1e-6)) * np.exp(-since / JET),
            np.minimum(even, _FAR) / _FAR,
            np.minimum(since, _FAR) / _FAR,
        ]
    )  # fmt: skip
    step = np.diff(even, prepend=0.0)
    return Sampled(
        at(line.abscissa_mm),
        features,
        steps(told.viscous * Q),
        steps(told.turbulent * Q * np.abs(Q)),
        0.5 * blood.density * fastest**2 * step,
        steps(head_changes(line, told.head * Q**2)),
    )


def at_step(even: Array, tau: Array, values: Array) -> Array:
    """Values that are constant between changes, of the last point before."""
    return np.asarray(values[np.maximum(np.searchsorted(tau, even, side="right") - 1, 0)])


def _bifurcation(branch: npt.NDArray[np.int64], tau: Array, Q: Array) -> tuple[Array, Array]:
    """Where the last bifurcation was, and the flow before it, at every point."""
    where, before = np.zeros(len(tau)), Q.copy()
    last, flow = 0.0, float(Q[0])
    for k in range(1, len(tau)):
        if branch[k] != branch[k - 1]:
            last, flow = float(tau[k]), float(Q[k - 1])
        where[k], before[k] = last, flow
    before[0] = Q[0]
    return where, np.where(before == 0.0, 1.0, before)


def _curvature(points: Array, s: Array, at: Array, even: Array) -> Array:
    """Of the line [1/mm], over about a diameter."""
    width = _ROUND / STEP
    x = np.column_stack([np.interp(at, s, points[:, k]) for k in range(3)])
    x = gaussian_filter1d(x, width, axis=0)
    length = np.maximum(np.gradient(at, even), 1e-9)[:, None]
    tangent = np.gradient(x, even, axis=0) / length
    return np.asarray(np.linalg.norm(np.gradient(tangent, even, axis=0) / length, axis=1))


def corrected(line: Line, told: Losses, one: Sampled, changes: Array, Q: Array) -> Losses:
    """Losses of a line as a model corrects them, at the line's own points.

    Args:
        line: The line.
        told: Its losses by the formulas.
        one: The same line as the model saw it.
        changes: Factors of the viscous and of the turbulent losses, and the local loss in velocity heads a diameter,
            ``(n, 3)``.
        Q: Flow at the line's points that the model saw, ``(s,)`` [m^3/s].
    """

    def steps(
        lost: Array,
    ) -> Array:  # as it was fitted: summed up on the even points, not on the line's own
        return np.diff(np.interp(line.abscissa_mm, one.abscissa_mm, np.cumsum(lost)), prepend=0.0)

    square = np.maximum(Q * np.abs(Q), 1e-18)
    viscous = steps(one.viscous * changes[:, 0]) / np.maximum(np.abs(Q), 1e-9)
    turbulent = steps(one.turbulent * changes[:, 1] + one.local * changes[:, 2]) / square
    return Losses(viscous, turbulent, told.head)
