"""A swept tube: discs of varying radius perpendicular to a smooth curve, as a signed distance.

The lumen is the union of discs ``{x : (x - c(s)) . c'(s) = 0, |x - c(s) - o(s)| <= r(s)}`` with the curve
``c``, the eccentric shift ``o`` (perpendicular to the curve) and the radius ``r``. For a point x with foot
point s (the closest point of the curve) the function ``F(x) = |x - c(s) - o(s)| - r(s)`` is zero exactly
on the wall, so every cross-section perpendicular to the curve is exactly a disc of radius r(s). The signed
distance is taken as ``F / |grad F|``: exact on the wall, first order accurate near it, negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

Array = npt.NDArray[np.float64]

KNOT_SPACING = 0.1  # mm; the spline through knots this close is exact to 1e-7 mm on coronary curves
_NEWTON_STEPS = 4


@dataclass(frozen=True, eq=False)
class Path:
    """One swept tube.

    Attributes:
        knots: Abscissa (arc length of the curve) [mm], ``(n,)``, increasing.
        centre: The curve c at the knots [mm], ``(n, 3)``.
        offset: Shift o of the disc centre, perpendicular to the curve [mm], ``(n, 3)``.
        radius: Disc radius r [mm], ``(n,)``.
        healthy: Radius without lesions [mm], ``(n,)``.
        start: Abscissa of the first disc; the knots begin before it where the tube is cut flat there.
        end: Abscissa of the last disc, where the tube is cut flat; the knots go on behind it.
        open_start: True for a flat cut at `start` (vessel inlet); False for a tube that begins inside
            its parent (closed there by half a ball).
    """

    knots: Array
    centre: Array
    offset: Array
    radius: Array
    healthy: Array
    start: float
    end: float
    open_start: bool

    @cached_property
    def spline(self) -> CubicSpline:
        """Cubic spline of (c, o, r), seven components."""
        return CubicSpline(self.knots, np.column_stack([self.centre, self.offset, self.radius]))

    @cached_property
    def _kdtree(self) -> cKDTree:
        return cKDTree(self.centre)

    @cached_property
    def max_radius(self) -> float:
        """Largest distance of the wall from the curve [mm]."""
        return float((self.radius + np.linalg.norm(self.offset, axis=1)).max())

    def nearest(self, points: Array, within: float = np.inf) -> tuple[Array, npt.NDArray[np.int64]]:
        """Distance of points ``(n, 3)`` to the wall [mm], to about 0.01 mm, and the nearest knot.

        Points whose curve is not ``within`` that distance [mm] are infinitely far, their knot is the last one.
        """
        distance, nearest = self._kdtree.query(points, distance_upper_bound=within)
        nearest = np.minimum(nearest, len(self.knots) - 1)
        width = self.radius + np.linalg.norm(self.offset, axis=1)
        return np.asarray(distance - width[nearest]), np.asarray(nearest)

    def clearance(self, points: Array) -> Array:
        """Distance of points ``(n, 3)`` to the wall [mm], at any distance (`nearest`)."""
        return self.nearest(points)[0]

    def at(self, s: float) -> tuple[Array, Array, float]:
        """Disc centre ``(3,)``, unit tangent ``(3,)`` and radius at abscissa ``s``."""
        value, slope = self.spline(s), self.spline(s, 1)[:3]
        return value[:3] + value[3:6], slope / np.linalg.norm(slope), float(value[6])

    def healthy_radius(self, s: float | Array) -> Array:
        """Radius without lesions [mm] at abscissa ``s``."""
        return np.asarray(np.interp(s, self.knots, self.healthy))

    def _foot(self, points: Array, s: Array) -> Array:
        """Abscissa of the closest point of the curve ``(n,)``: Newton's method from the closest knot."""
        for _ in range(_NEWTON_STEPS):
            c0, c1, c2 = (self.spline(s, k)[:, :3] for k in range(3))
            gap = points - c0
            slope = (c1 * c1).sum(1) - (gap * c2).sum(1)
            step = (gap * c1).sum(1) / np.maximum(slope, 0.2)
            s = np.clip(
                s + np.clip(step, -2 * KNOT_SPACING, 2 * KNOT_SPACING),
                self.knots[0],
                self.knots[-1],
            )
            if np.abs(step).max(initial=0.0) < 1e-7:
                break
        return s

    def evaluate(self, points: Array) -> tuple[Array, Array, Array]:
        """Signed distance of the uncut tube, its gradient, and the foot abscissa.

        Farther than half a radius and 1 mm from the wall, the distance is that lower bound, its gradient zero.

        Args:
            points: ``(n, 3)`` [mm].

        Returns:
            Distance ``(n,)`` [mm], unit gradient ``(n, 3)``, abscissa ``(n,)`` [mm].
        """
        reach = 1.5 * self.max_radius + 1.0
        nearest = np.asarray(self._kdtree.query(points, distance_upper_bound=reach)[1])
        near = np.flatnonzero(nearest < len(self.knots))
        s = np.full(len(points), 0.5 * (self.start + self.end))
        value, gradient = np.full(len(points), reach - self.max_radius), np.zeros((len(points), 3))
        if len(near):
            s[near] = self._foot(points[near], self.knots[nearest[near]])
            value[near], gradient[near] = self._precise(points[near], s[near])
        return value, gradient, s

    def _precise(self, points: Array, s: Array) -> tuple[Array, Array]:
        value, d1, d2 = (self.spline(s, k) for k in range(3))
        c1, c2 = d1[:, :3], d2[:, :3]
        arm = points - value[:, :3] - value[:, 3:6]
        length = np.linalg.norm(arm, axis=1)
        u = arm / np.maximum(length, 1e-12)[:, None]
        denominator = (c1 * c1).sum(1) - ((points - value[:, :3]) * c2).sum(1)
        inside = (s > self.knots[0]) & (s < self.knots[-1]) & (denominator > 0.05)
        ds = np.where(inside, 1.0 / np.maximum(denominator, 0.05), 0.0)[:, None] * c1
        rate = (u * (c1 + d1[:, 3:6])).sum(1) + d1[:, 6]
        gradient = u - rate[:, None] * ds
        norm = np.maximum(np.linalg.norm(gradient, axis=1), 1.0)  # below 1 on the axis only
        return (length - value[:, 6]) / norm, gradient / norm[:, None]

    def cut(self, points: Array, s: Array) -> tuple[Array, Array]:
        """Signed distance to the end planes (positive beyond them) and its gradient.

        Args:
            points: ``(n, 3)`` [mm].
            s: Their foot abscissae ``(n,)``.
        """
        value = np.full(len(points), -np.inf)
        gradient = np.zeros_like(points)
        ends = [(self.end, 1.0)] + ([(self.start, -1.0)] if self.open_start else [])
        for where, sign in ends:
            centre, tangent, radius = self.at(where)
            distance = sign * ((points - centre) @ tangent)
            here = (sign * (s - where) > -2.5 * radius) & (distance > value)
            value[here], gradient[here] = distance[here], sign * tangent
        return value, gradient


def arc_length(points: Array) -> Array:
    """Cumulative length of a poly-line ``(n, 3)`` -> ``(n,)``."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def smooth_curve(control: Array, spacing: float = KNOT_SPACING) -> tuple[Array, Array]:
    """Cubic spline through control points, sampled evenly by its arc length.

    Args:
        control: Points ``(k, 3)``, k >= 3, distinct [mm].
        spacing: Knot distance [mm].

    Returns:
        Abscissa ``(n,)`` from 0 and points ``(n, 3)``.
    """
    chord = CubicSpline(arc_length(control), control)
    fine = np.linspace(0.0, chord.x[-1], max(int(chord.x[-1] / spacing) * 8, 64) + 1)
    dense = chord(fine)
    for _ in range(3):  # the arc length of the sampled poly-line converges at once
        length = arc_length(dense)
        n = max(int(np.ceil(length[-1] / spacing)), 8)
        knots = np.linspace(0.0, length[-1], n + 1)
        points = CubicSpline(length, dense)(knots)
        dense = CubicSpline(knots, points)(np.linspace(0.0, knots[-1], 8 * n + 1))
    return knots, points


def swept(points: Array, radii: Array) -> Path:
    """A tube along a poly-line, cut flat at its two ends.

    Args:
        points: ``(k, 3)`` [mm], k >= 3.
        radii: ``(k,)`` [mm].

    Raises:
        ValueError: The tube would fold: somewhere the curve bends tighter than its radius.
    """
    margin = 2.0 * float(radii.max())
    head, tail = points[0] - points[1], points[-1] - points[-2]
    control = np.vstack(
        [
            points[0] + margin * head / np.linalg.norm(head),
            points,
            points[-1] + margin * tail / np.linalg.norm(tail),
        ]
    )
    knots, centre = smooth_curve(control)
    still, one = np.zeros_like(centre), np.ones(len(knots))
    line = Path(knots, centre, still, one, one, 0.0, float(knots[-1]), True)
    at = line._foot(control, knots[cKDTree(centre).query(control)[1]])
    radius = np.interp(knots, at, np.concatenate([radii[:1], radii, radii[-1:]]))
    end = float(at[-2] - at[1])
    path = Path(knots - at[1], centre, still, radius, radius, 0.0, end, True)
    tightest = bend_ratio(path)
    if tightest > 0.9:
        raise ValueError(
            f"radius over radius of curvature reaches {tightest:.2f}; it must stay below 0.9"
        )
    return path


def bend_ratio(path: Path) -> float:
    """Largest product of curvature and wall distance; the sweep folds at 1."""
    c1, c2 = path.spline(path.knots, 1)[:, :3], path.spline(path.knots, 2)[:, :3]
    curvature = np.linalg.norm(np.cross(c1, c2), axis=1) / np.linalg.norm(c1, axis=1) ** 3
    return float((curvature * (path.radius + np.linalg.norm(path.offset, axis=1))).max())
