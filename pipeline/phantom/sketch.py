"""The vessels of one draw: courses on the heart, Murray-consistent radii, taper, ends."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from pipeline.case import PhantomInput
from pipeline.phantom.layout import Heart, course, to_patient, turned, unit
from pipeline.phantom.path import Array, Path, smooth_curve
from pipeline.phantom.tree import Segment

# Diameters of normal human coronaries (left main, right proximal): Dodge et al., Circulation 1992;86:232-246,
# doi 10.1161/01.CIR.86.1.232 (4.5 +- 0.5 mm and 3.9 +- 0.6 mm); drawn about one standard deviation around.
LEFT_MAIN_MM = (4.0, 5.0)
RIGHT_MM = (3.4, 4.4)
# At a bifurcation D_parent^k = sum D_child^k. k = 7/3: Huo & Kassab, Biophys J 2009;96:347-353,
# doi 10.1016/j.bpj.2008.09.039; Huo et al., J Biomech 2012;45:1273, doi 10.1016/j.jbiomech.2012.01.033.
# k = 3: Murray, PNAS 1926;12:207, doi 10.1073/pnas.12.3.207.
TAPER_PER_MM = (0.0010, 0.0022)  # linear loss of diameter over the diameter at the vessel's start
_MIN_LENGTH_DIAMETERS = 5.0  # a vessel goes on at least so far behind its last junction
_ROOM = 1.06  # a branch starts at least this much wider than it may end


class Redraw(Exception):  # noqa: N818 - control flow inside the phantom generator
    """This draw cannot be built; take the next."""


class Sketch:
    """Draws the vessels of one tree, parents before children.

    Attributes:
        paths: The tubes so far.
        segments: The named stretches so far.
    """

    def __init__(self, spec: PhantomInput, rng: np.random.Generator) -> None:
        self._spec, self._rng = spec, rng
        self._heart = Heart.draw(rng)
        self.paths: list[Path] = []
        self.segments: list[Segment] = []
        self._courses: list[CubicSpline] = []  # in the heart frame
        self._ostium = 0.0

    def left(self) -> None:
        """LM - LAD with diagonals; LCx with marginals."""
        heart, rng, n = self._heart, self._rng, self._spec.side_branches
        fork = heart.point(rng.uniform(2, 10), rng.uniform(26, 32))
        towards = unit(0.45 * heart.normal(fork) + 0.7 * heart.east(fork) + 0.35 * heart.down(fork))
        goal = heart.point(rng.uniform(-6, 6), rng.uniform(-66, -58))
        onward = unit(heart.down(fork) + 0.3 * heart.east(fork))
        lad = course(heart, (fork, onward), (goal, heart.down(goal)), rng)
        length = rng.uniform(7.0, 12.0)
        stem = fork - np.array([[length + 12.0], [length + 6.0], [length], [5.0]]) * towards
        knots, centre = smooth_curve(
            np.vstack([stem, lad[2:]])
        )  # the corner at the fork is rounded
        zero, at = (_nearest(knots, centre, p) for p in (fork - length * towards, fork))
        fractions = _fractions(n - n // 2, rng)
        stations = [at, *(at + f * (knots[-1] - at) for f in fractions)]
        ratios = [rng.uniform(0.82, 0.95), *self._ratios(fractions, 0.62, 0.8)]
        diameter = self._spec.inlet_diameter_mm or rng.uniform(*LEFT_MAIN_MM)
        radii = self._vessel(
            (knots - zero, centre, True), diameter / 2, [s - zero for s in stations], ratios
        )
        self._name(["LM", "LAD"], [at - zero], None)
        self._circumflex(at - zero, radii[0], n // 2)
        for i, (s, r) in enumerate(zip(stations[1:], radii[1:], strict=True)):
            drop = rng.uniform(38, 55)
            self._branch(f"D{i + 1}", 0, (s - zero, r), (rng.uniform(24, 36), -drop))

    def right(self) -> None:
        """RCA - posterolateral branch; posterior descending artery; acute marginals."""
        heart, rng = self._heart, self._rng
        longitude = np.linspace(-58.0, -216.0, 16)
        sway = rng.uniform(1.0, 4.0) * np.sin(np.linspace(0, 2 * np.pi * rng.uniform(0.8, 1.6), 16))
        latitude = np.linspace(26.0, -2.0, 16) + sway
        groove = np.array([heart.point(*a) for a in zip(longitude, latitude, strict=True)])
        first = groove[0]
        towards = unit(0.9 * heart.normal(first) - 0.35 * heart.east(first))
        rise = first + 4.0 * heart.east(first) - 5.0 * towards
        stem = rise - np.array([[22.0], [14.0], [7.0]]) * towards
        knots, centre = smooth_curve(np.vstack([stem, rise, groove]))
        zero = _nearest(knots, centre, rise - rng.uniform(3.0, 7.0) * towards)
        crux = _nearest(knots, centre, groove[11])
        fractions = _fractions(self._spec.side_branches, rng)
        stations = [zero + f * (crux - zero) for f in fractions] + [crux]
        ratios = [*self._ratios(fractions, 0.5, 0.62), rng.uniform(0.85, 1.0)]
        diameter = self._spec.inlet_diameter_mm or rng.uniform(*RIGHT_MM)
        radii = self._vessel(
            (knots - zero, centre, True), diameter / 2, [s - zero for s in stations], ratios
        )
        self._name(["RCA", "PLV"], [crux - zero], None)
        self._branch("PDA", 0, (crux - zero, radii[-1]), (rng.uniform(-6, 4), -rng.uniform(58, 70)))
        for i, (s, r) in enumerate(zip(stations[:-1], radii[:-1], strict=True)):
            self._branch(
                f"AM{i + 1}", 0, (s - zero, r), (rng.uniform(-16, -4), -rng.uniform(40, 58))
            )

    def _circumflex(self, station: float, radius: float, marginals: int) -> None:
        heart, rng = self._heart, self._rng
        value, tangent = self._parent_frame(0, station)
        goal = heart.point(rng.uniform(108, 128), rng.uniform(2, 12))
        onward = unit(0.7 * tangent + 1.3 * heart.east(value))
        end = unit(heart.east(goal) + 0.3 * heart.down(goal))
        knots, centre = smooth_curve(course(heart, (value, onward), (goal, end), rng))
        fractions = _fractions(marginals, rng)
        stations = [0.08 * knots[-1] + f * knots[-1] for f in fractions]
        ratios = self._ratios(fractions, 0.62, 0.8)
        radii = self._vessel((knots, centre, False), radius, stations, ratios, parent=0)
        self._name(["LCx"], [], "LM")
        number = len(self.paths) - 1
        for i, (s, r) in enumerate(zip(stations, radii, strict=True)):
            self._branch(f"OM{i + 1}", number, (s, r), (rng.uniform(4, 14), -rng.uniform(42, 60)))

    def _branch(
        self, name: str, parent: int, origin: tuple[float, float], shift: tuple[float, float]
    ) -> None:
        """A side branch from (abscissa, radius) towards a point shifted by (longitude, latitude) [degrees]."""
        heart, rng = self._heart, self._rng
        value, tangent = self._parent_frame(parent, origin[0])
        longitude, latitude = heart.angles(value)
        goal = heart.point(longitude + shift[0], max(latitude + shift[1], -75.0))
        normal = heart.normal(value)
        side = np.sign(np.dot(np.cross(tangent, goal - value), normal))
        onward = turned(tangent, normal, float(side * rng.uniform(45.0, 65.0)))
        end = unit(heart.down(goal) + 0.1 * shift[0] / 10.0 * heart.east(goal))
        knots, centre = smooth_curve(course(heart, (value, onward), (goal, end), rng))
        self._vessel((knots, centre, False), origin[1], [], [], parent=parent)
        owner = [s for s in self.segments if s.path == parent]
        above = next((s.name for s in owner if s.end >= origin[0] - 1e-9), owner[-1].name)
        self._name([name], [], above)

    def _ratios(self, fractions: list[float], low: float, high: float) -> list[float]:
        """Diameters side / continuing; the more side branches, the thinner."""
        thinner = 1.0 - 0.1 * max(len(fractions) - 1, 0)
        return [float(q) for q in self._rng.uniform(low * thinner, high * thinner, len(fractions))]

    def _parent_frame(self, parent: int, station: float) -> tuple[Array, Array]:
        """Point and tangent of a path, back in the heart frame."""
        curve = self._courses[parent]
        return np.asarray(curve(station)), unit(curve(station, 1))

    def _name(self, names: list[str], breaks: list[float], parent: str | None) -> None:
        path = self.paths[-1]
        bounds = [self._ostium, *breaks, path.end]
        for name, start, end in zip(names, bounds[:-1], bounds[1:], strict=True):
            self.segments.append(Segment(name, parent, len(self.paths) - 1, start, end))
            parent = name

    def _vessel(
        self,
        curve: tuple[Array, Array, bool],
        radius: float,
        stations: list[float],
        ratios: list[float],
        parent: int | None = None,
    ) -> list[float]:
        """Add a path; returns the radii at which its side branches begin.

        Args:
            curve: Knots [mm] (0 at the first section), points ``(n, 3)``, and whether it starts with a
                flat inlet.
            radius: At knot 0 [mm].
            stations: Where side branches leave, in order.
            ratios: Diameter of each side branch over that of the continuing vessel; raised where the
                side branch would be too thin.
            parent: Path it begins on.
        """
        knots, centre, inlet = curve
        thinnest, k = self._spec.min_diameter_mm / 2, self._spec.murray_exponent
        taper = self._rng.uniform(*TAPER_PER_MM)
        healthy, children = radius * (1.0 - taper * knots), []
        for station, ratio in zip(stations, ratios, strict=True):
            before = float(np.interp(station, knots, healthy))
            ratio = max(ratio, _least_ratio(_ROOM * thinnest / before, k))
            shrink = float((1.0 + ratio**k) ** (-1.0 / k))
            children.append(ratio * shrink * before)
            healthy = healthy * (1.0 - (1.0 - shrink) * _step((knots - station) / before))
        end = _end_of(knots, healthy, thinnest)
        last = max(stations, default=0.0)
        if end - last < _MIN_LENGTH_DIAMETERS * 2 * float(np.interp(last, knots, healthy)):
            raise Redraw(f"a vessel of {2 * radius:.2f} mm reaches its smallest diameter too early")
        keep = knots <= end + 3.0 * float(np.interp(end, knots, healthy))
        if inlet:
            keep &= knots >= -3.0 * radius
        knots, centre, healthy = knots[keep], centre[keep], healthy[keep]
        world = to_patient(centre)
        self.paths.append(
            Path(knots, world, np.zeros_like(world), healthy, healthy, 0.0, end, inlet)
        )
        self._courses.append(CubicSpline(knots, centre))
        self._ostium = 0.0 if parent is None else self._leaves(self.paths[-1], self.paths[parent])
        return children

    def _leaves(self, path: Path, parent: Path) -> float:
        """Abscissa where a curve leaves the lumen of its parent."""
        inside = np.flatnonzero(parent.evaluate(path.centre)[0] < 0.0)
        return float(path.knots[inside[-1]]) if len(inside) else 0.0


def _end_of(knots: Array, healthy: Array, thinnest: float) -> float:
    """Where the radius falls to the thinnest one, or short of the last knot."""
    room = float(knots[-1]) - 3.2 * float(healthy[-1])
    thin = np.flatnonzero((healthy < thinnest) & (knots > 0.0))
    return min(room, float(knots[thin[0]])) if len(thin) else room


def _least_ratio(thinnest: float, k: float) -> float:
    """Smallest ratio side / continuing for a side branch of ``thinnest`` times its parent's radius."""
    if thinnest**k >= 0.5:
        raise Redraw("a parent is too thin to feed a branch of the smallest diameter")
    return float((thinnest**k / (1.0 - thinnest**k)) ** (1.0 / k))


def _step(x: Array) -> Array:
    """Quintic step from 0 at -1 to 1 at 1 (C2)."""
    t = np.clip((x + 1.0) / 2.0, 0.0, 1.0)
    return np.asarray(t**3 * (10.0 - 15.0 * t + 6.0 * t**2))


def _fractions(n: int, rng: np.random.Generator) -> list[float]:
    """Places of ``n`` side branches along a vessel, evenly spread and jittered."""
    spread = 0.18 + 0.5 * (np.arange(n) + 0.5 + rng.uniform(-0.2, 0.2, n)) / max(n, 1)
    return [float(f) for f in spread]


def _nearest(knots: Array, centre: Array, point: Array) -> float:
    return float(knots[cKDTree(centre).query(point)[1]])
