"""From raw centrelines to smooth ones, sampled by the local radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.anatomy.surface import Floats
from pipeline.anatomy.trace import RawLine

FINE = 0.1  # step of smooth lines, in radii
_HALF_WINDOW = 1.5  # of the smoothing, in radii


@dataclass(frozen=True, slots=True)
class Line:
    """A poly-line with the inscribed radius.

    Attributes:
        points: ``(n, 3)`` [mm].
        radius: ``(n,)`` [mm].
    """

    points: Floats
    radius: Floats

    @property
    def abscissa(self) -> Floats:
        """Arc length from the first point [mm], ``(n,)``."""
        return arc_length(self.points)

    @property
    def tangent(self) -> Floats:
        """Unit tangents ``(n, 3)``."""
        along = np.gradient(self.points, self.abscissa, axis=0)
        return np.asarray(along / np.linalg.norm(along, axis=1, keepdims=True))

    def at(self, abscissa: float) -> Floats:
        """Point at an abscissa, ``(3,)``."""
        s = self.abscissa
        return np.array([np.interp(abscissa, s, self.points[:, k]) for k in range(3)])

    def part(self, start: int, stop: int) -> Line:
        """Points `start` to `stop` (exclusive)."""
        return Line(self.points[start:stop], self.radius[start:stop])


def arc_length(points: Floats) -> Floats:
    """Arc length from the first point, ``(n,)``."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def resample(line: Line, step: float) -> Line:
    """Points `step` radii apart, both ends kept."""
    s = line.abscissa
    middle = 0.5 * (line.radius[1:] + line.radius[:-1])
    count = np.concatenate([[0.0], np.cumsum(np.diff(s) / middle)])  # arc length in radii
    wanted = np.linspace(0.0, count[-1], max(2, round(count[-1] / step) + 1))
    place = np.interp(wanted, count, s)
    points = np.stack([np.interp(place, s, line.points[:, k]) for k in range(3)], axis=1)
    return Line(points, np.interp(place, s, line.radius))


def smooth(raw: RawLine) -> Line:
    """Smooth a raw line by local cubics over three radii, which leave its curvature alone.

    Reference: Savitzky, Golay, Anal Chem 36:1627 (1964), doi 10.1021/ac60214a047.
    """
    keep = np.concatenate([[True], np.linalg.norm(np.diff(raw.points, axis=0), axis=1) > 1e-9])
    points, radius = raw.points[keep], raw.radius[keep]
    floor = 0.02 * float(radius.max())
    line = Line(points, np.maximum(radius, floor))
    line = resample(line, FINE)
    line = Line(line.points, np.maximum(gaussian_filter1d(line.radius, 3, mode="nearest"), floor))
    line = resample(line, FINE)
    window = 2 * round(_HALF_WINDOW / FINE) + 1
    if len(line.points) <= window:
        return line
    from scipy.signal import savgol_filter  # half a second, which not every stage should wait

    points = line.points
    for _ in range(2):
        points = savgol_filter(points, window, 3, axis=0)
    points[[0, -1]] = line.points[[0, -1]]
    return Line(points, line.radius)


def plane_crossing(line: Line, origin: Floats, normal: Floats, reach: float) -> float | None:
    """Abscissa where a line crosses a plane nearest to `origin`; None if not within `reach` of it."""
    height = (line.points - origin) @ normal
    change = np.flatnonzero((height[1:] > 0) != (height[:-1] > 0))
    if len(change) == 0:
        return None
    t = height[change] / (height[change] - height[change + 1])
    places = line.points[change] + t[:, None] * (line.points[change + 1] - line.points[change])
    distance = np.linalg.norm(places - origin, axis=1)
    nearest = int(np.argmin(distance))
    if distance[nearest] > reach:
        return None
    s, k = line.abscissa, int(change[nearest])
    return float(s[k] + t[nearest] * (s[k + 1] - s[k]))


def between(line: Line, start: float, stop: float) -> Line:
    """The line from one abscissa to another, both end points inserted."""
    s = line.abscissa
    inner = s[(s > start + 1e-9) & (s < stop - 1e-9)]
    place = np.concatenate([[start], inner, [stop]])
    points = np.stack([np.interp(place, s, line.points[:, k]) for k in range(3)], axis=1)
    return Line(points, np.interp(place, s, line.radius))
