"""Coronary trees and a heart for test scans, built another way than `pipeline.phantom`.

There a vessel is a round tube about a smooth path, laid out by named templates. Here arteries are walks over an
ellipsoid, spheres swept along them with rough radii, the whole space bent by a field of noise, so that no section is
round; narrowings have a flat or a torn floor; calcium is where noise inside the plaque exceeds a level. All lengths in
mm, LPS, the heart's middle at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
STEP = 0.25  # between the spheres of a walk
_LEFT_MM, _ROOM_MM = 8.0, 0.8  # so far on, a side branch keeps so far from the walls of all others
_DRAWS = 20  # of a side branch, until it does


@dataclass(frozen=True, slots=True)
class Lesion:
    """A narrowing.

    Attributes:
        middle: Where, LPS [mm].
        reduction: Of the diameter.
        reference: Diameter without it [mm].
        calcified: Share of its plaque that is calcium, about.
    """

    middle: tuple[float, float, float]
    reduction: float
    reference: float
    calcified: float


@dataclass(slots=True)
class Walk:
    """One vessel.

    Attributes:
        name: LM, LAD, LCx, RCA or a side branch's.
        points: Middles of the lumen's spheres, ``(n, 3)``.
        radius: Of the lumen, ``(n,)``.
        outer: Of the vessel, plaque and wall included, ``(n,)``.
        middle: Middles of the outer spheres.
        calcified: Level of the noise above which plaque is calcium, ``(n,)``; 9: none.
    """

    name: str
    points: Array
    radius: Array
    outer: Array = field(default_factory=lambda: np.empty(0))
    middle: Array = field(default_factory=lambda: np.empty(0))
    calcified: Array = field(default_factory=lambda: np.empty(0))


class Noise:
    """A smooth random field, unit variance, periodic."""

    def __init__(self, rng: np.random.Generator, wavelength: float, size: int = 48) -> None:
        values = gaussian_filter(rng.standard_normal((size,) * 3), 1.5, mode="wrap")
        self._values, self._scale = values / values.std(), 6.0 / wavelength

    def __call__(self, points: Array) -> Array:
        """Values at points ``(n, 3)``."""
        return np.asarray(
            map_coordinates(self._values, points.T * self._scale, order=1, mode="grid-wrap")
        )


@dataclass(frozen=True, slots=True)
class Heart:
    """Where things are.

    Attributes:
        axes: Of the epicardium's ellipsoid, ``(3,)``.
        turn: Its axes to LPS, ``(3, 3)``; the last one points from the apex to the base.
        root: Middle of the aortic root.
        up: Direction of the ascending aorta.
        aorta: Its radius.
    """

    axes: Array
    turn: Array
    root: Array
    up: Array
    aorta: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """An adult's: long axis of 90 to 115 mm, root of 28 to 36 mm."""
        axes = np.array([rng.uniform(38, 46), rng.uniform(34, 42), rng.uniform(45, 57)])
        base = Rotation.from_euler(
            "yx", np.array([-50.0, -35.0]) + rng.normal(0, 7, 2), degrees=True
        )
        turn = base.as_matrix()
        up = np.array([-0.15, 0.1, 1.0]) + rng.normal(0, 0.07, 3)
        root = turn @ (axes * [0.05, -0.2, 0.62])
        return cls(axes, turn, root, up / np.linalg.norm(up), float(rng.uniform(14, 18)))

    def on_surface(self, point: Array, lift: float) -> Array:
        """The point of the ellipsoid, lifted by a length, in the direction of a point."""
        local = self.turn.T @ point
        return np.asarray(self.turn @ (local / np.linalg.norm(local / (self.axes + lift))))

    def normal(self, point: Array) -> Array:
        """Outward normal of the ellipsoid through a point."""
        out = self.turn @ ((self.turn.T @ point) / self.axes**2)
        return np.asarray(out / np.linalg.norm(out))


class Scanned(Protocol):
    """What is known of what was scanned, however it was made; LPS [mm]."""

    @property
    def arteries(self) -> dict[str, list[Walk]]:
        """By side; the first walk of each leaves the aorta."""

    def bent(self, points: Array) -> Array:
        """Where points lie among the walks, ``(n, 3)``."""

    def lumen_distance(self, points: Array, side: str) -> Array:
        """Signed distance to a side's lumen, negative inside, ``(n,)``."""

    def aorta_distance(self, points: Array) -> Array:
        """Signed distance to the aortic blood, negative inside, ``(n,)``."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A heart with its coronaries.

    Attributes:
        heart: The heart.
        arteries: By side.
        veins: Walks beside them; contrast has come back in part.
        lesions: By side, in no order.
        bend: Fields that displace space [mm], three.
        grain: What decides where plaque is calcium.
    """

    heart: Heart
    arteries: dict[str, list[Walk]]
    veins: list[Walk]
    lesions: dict[str, list[Lesion]]
    bend: tuple[Noise, Noise, Noise]
    grain: Noise

    def bent(self, points: Array) -> Array:
        """Points where space has been displaced."""
        return points + 0.22 * np.column_stack([noise(points) for noise in self.bend])

    def aorta_distance(self, points: Array) -> Array:
        """Signed distance [mm] to the aortic blood, negative inside, ``(n,)``."""
        return distance_to_aorta(self.heart, points)

    def lumen_distance(self, points: Array, side: str) -> Array:
        """Signed distance [mm] to a side's lumen, negative inside, roughly right within 3 mm."""
        walks = self.arteries[side]
        return swept(
            self.bent(points),
            np.concatenate([walk.points for walk in walks]),
            np.concatenate([walk.radius for walk in walks]),
        )


def swept(points: Array, middles: Array, radii: Array) -> Array:
    """Distance to a union of spheres: the least over the eight nearest middles."""
    gaps, which = cKDTree(middles).query(points, k=8)
    return np.asarray((gaps - radii[which]).min(axis=1))


def distance_to_aorta(heart: Heart, points: Array) -> Array:
    """Signed distance [mm] to the aortic blood, negative inside, ``(n,)``."""
    away = points - heart.root
    along = away @ heart.up
    bulge = 1.5 * np.exp(-(((along - 7) / 6) ** 2))
    gap = np.linalg.norm(away - along[:, None] * heart.up, axis=1) - heart.aorta - bulge
    return np.asarray(np.maximum(gap, -along - 8))


def reference_radius(walk: Walk) -> Array:
    """Radius of a vessel without its disease [mm], ``(n,)``: from its outer wall."""
    return np.asarray((walk.outer - 0.35) / 1.1)


def draw_anatomy(seed: int) -> Anatomy:
    """A heart with diseased coronaries from a seed."""
    rng = np.random.default_rng([seed, 20_261_126])
    heart, arteries = _clear(rng)
    left_first = bool(rng.uniform() < 0.7)
    lesions: dict[str, list[Lesion]] = {}
    for side, walks in arteries.items():
        many = (side == "left") == left_first
        lesions[side] = _diseased(
            walks, rng, int(rng.integers(1, 4) if many else rng.integers(0, 2))
        )
    veins = [_vein(heart, rng) for _ in range(int(rng.integers(4, 9)))]
    bend = (Noise(rng, 5.0), Noise(rng, 5.0), Noise(rng, 5.0))
    return Anatomy(heart, arteries, veins, lesions, bend, Noise(rng, 1.8))


def _clear(rng: np.random.Generator) -> tuple[Heart, dict[str, list[Walk]]]:
    """A heart whose arteries keep away from the aorta once they have left it, and from each other's side."""
    while True:
        heart = Heart.draw(rng)
        arteries = {"left": _left(heart, rng), "right": _right(heart, rng)}
        away = [
            distance_to_aorta(heart, walk.points[int(12 / STEP) if number == 0 else 0 :]).min()
            for walks in arteries.values()
            for number, walk in enumerate(walks)
        ]
        left, right = (np.concatenate([w.points for w in walks]) for walks in arteries.values())
        if min(away) > 3.0 and cKDTree(left).query(right)[0].min() > 6.0:
            return heart, arteries


def _vein(heart: Heart, rng: np.random.Generator) -> Walk:
    start, lift = heart.on_surface(rng.normal(size=3), 2.0), float(rng.uniform(1, 4))
    radii = float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.8, 2.0))
    return _walk(
        heart, rng, Way("vein", start, rng.normal(size=3), rng.uniform(25, 70), radii, lift)
    )


def _left(heart: Heart, rng: np.random.Generator) -> list[Walk]:
    local = np.array([[0.75, -0.55, 0.45]]) + rng.normal(0, 0.06, 3)
    fork = heart.on_surface(heart.turn @ (heart.axes * local[0]), 3.0)
    size = rng.uniform(1.7, 2.4)
    trunk = _from_aorta(heart, rng, "LM", fork, size)
    daughters = size * np.array([rng.uniform(0.76, 0.88), rng.uniform(0.62, 0.85)])
    apex = heart.turn @ np.array([-0.1, -0.3, -1.0])
    lad = _walk(heart, rng, Way("LAD", fork, apex, rng.uniform(75, 105), (daughters[0], 0.55)))
    lcx = _walk(heart, rng, Way("LCx", fork, 1, rng.uniform(40, 75), (daughters[1], 0.6)))
    diagonals = _sides(heart, rng, lad, "D", [trunk, lcx])
    return [
        trunk,
        lad,
        lcx,
        *diagonals,
        *_sides(heart, rng, lcx, "OM", [trunk, lad, *diagonals]),
    ]


def _right(heart: Heart, rng: np.random.Generator) -> list[Walk]:
    local = np.array([-0.75, -0.6, 0.4]) + rng.normal(0, 0.06, 3)
    begin = heart.on_surface(heart.turn @ (heart.axes * local), 3.0)
    size = rng.uniform(1.4, 2.1)
    trunk = _from_aorta(heart, rng, "RCA", begin, size)
    rest = _walk(heart, rng, Way("RCA", begin, -1, rng.uniform(65, 100), (size, 0.75)))
    whole = Walk(
        "RCA",
        np.concatenate([trunk.points, rest.points[1:]]),
        np.concatenate([trunk.radius, rest.radius[1:]]),
    )
    return [whole, *_sides(heart, rng, rest, "AM", [trunk])]


def _from_aorta(
    heart: Heart, rng: np.random.Generator, name: str, goal: Array, size: float
) -> Walk:
    """From the aorta's wall to a place on the heart, in a bow."""
    out = goal - heart.root
    out -= (out @ heart.up) * heart.up
    out /= np.linalg.norm(out)
    start = heart.root + heart.up * rng.uniform(6, 11) + out * (heart.aorta - 2.0)
    control = start + out * rng.uniform(4, 7)
    t = np.linspace(0, 1, 200)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * goal
    points = _even(curve)
    return Walk(name, points, np.full(len(points), size) * _rough(len(points), rng))


def _even(curve: Array) -> Array:
    """Points every `STEP` along a curve."""
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, way[-1], max(int(way[-1] / STEP), 4))
    return np.column_stack([np.interp(at, way, curve[:, k]) for k in range(3)])


def _rough(n: int, rng: np.random.Generator) -> Array:
    """Radii's changes along a vessel: 3 % over some millimetres."""
    noise = gaussian_filter1d(rng.standard_normal(n + 80), 10)[40:-40]
    return 1.0 + 0.03 * noise / max(float(noise.std()), 1e-9)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a walk goes.

    Attributes:
        name: The vessel's.
        start: Its first point.
        towards: A direction it is drawn to; or 1 or -1: around the heart's long axis.
        length: How far [mm].
        radii: At its start and its end.
        lift: Above the heart's surface.
    """

    name: str
    start: Array
    towards: Array | int
    length: float
    radii: tuple[float, float]
    lift: float = 3.0


def _walk(heart: Heart, rng: np.random.Generator, way: Way) -> Walk:
    """A walk over the heart's surface, wavering."""
    points, heading = [way.start], np.zeros(3)
    waver = gaussian_filter1d(rng.standard_normal(int(way.length) + 60), 7)
    waver *= 0.05 / waver.std()
    for k in range(int(way.length)):
        out, goal = heart.normal(points[-1]), way.towards
        if isinstance(goal, int):
            goal = goal * np.cross(heart.turn[:, 2], points[-1])
        goal = goal / np.linalg.norm(goal)
        heading = goal if k == 0 else heading + 0.09 * (goal - (goal @ out) * out)
        heading -= (heading @ out) * out
        heading = Rotation.from_rotvec(waver[k] * out).apply(heading / np.linalg.norm(heading))
        points.append(heart.on_surface(points[-1] + heading, way.lift))
    even = _even(gaussian_filter1d(np.array(points), 1.0, axis=0, mode="nearest"))
    along = np.linspace(0, 1, len(even))
    first, last = way.radii
    radius = first + (last - first) * along ** rng.uniform(0.8, 1.3)
    return Walk(way.name, even, radius * _rough(len(even), rng))


def _sides(
    heart: Heart, rng: np.random.Generator, parent: Walk, name: str, others: list[Walk]
) -> list[Walk]:
    """One to three branches of a vessel that keep off it, off each other and off the others."""
    found: list[Walk] = []
    for number in range(int(rng.integers(1, 4))):
        for _ in range(_DRAWS):
            k, branch = _branch(heart, rng, parent, name, number)
            if all(_apart(branch, other) for other in (parent, *found, *others)):
                found.append(branch)
                size = branch.radius[0]
                parent.radius[k:] *= (1 - min(size / parent.radius[k], 0.8) ** 2.5 * 0.6) ** 0.4
                break
    return found


def _branch(
    heart: Heart, rng: np.random.Generator, parent: Walk, name: str, number: int
) -> tuple[int, Walk]:
    """Where on its parent a branch leaves, and the branch."""
    n = len(parent.points)
    k = int(n * rng.uniform(0.12 + 0.2 * number, 0.3 + 0.2 * number))
    along = parent.points[min(k + 4, n - 1)] - parent.points[k]
    out = heart.normal(parent.points[k])
    turn = Rotation.from_rotvec(out * np.radians(rng.uniform(30, 65)) * (1 if name != "D" else -1))
    size = parent.radius[k] * rng.uniform(0.5, 0.8)
    way = Way(
        f"{name}{number + 1}",
        parent.points[k],
        turn.apply(along),
        rng.uniform(20, 50),
        (size, min(0.5, size)),
    )
    return k, _walk(heart, rng, way)


def _apart(branch: Walk, other: Walk) -> bool:
    """Whether a branch, once it has left its parent, comes near no wall of another vessel."""
    rest = slice(int(_LEFT_MM / STEP), None)
    gap, nearest = cKDTree(other.points).query(branch.points[rest])
    return bool((gap - other.radius[nearest] - branch.radius[rest]).min() > _ROOM_MM)


def _diseased(walks: list[Walk], rng: np.random.Generator, count: int) -> list[Lesion]:
    """Give every vessel a wall, and some of them narrowings, the later the rarer."""
    for walk in walks:
        walk.outer = walk.radius * 1.1 + 0.35
        walk.middle = walk.points.copy()
        walk.calcified = np.full(len(walk.radius), 9.0)
    lesions = []
    large = [walk for walk in walks if walk.radius.max() > 1.0 and len(walk.radius) > 80]
    for _ in range(count):
        walk = large[min(int(rng.exponential(1.2)), len(large) - 1)]
        wide = np.flatnonzero(walk.radius > 0.95)
        wide = wide[(wide > 30) & (wide < len(walk.radius) - 30)]
        if len(wide) == 0 or (walk.calcified < 9).any():
            continue
        lesions.append(_narrow(walk, int(rng.choice(wide)), rng))
    return lesions


def _narrow(walk: Walk, middle: int, rng: np.random.Generator) -> Lesion:
    half = rng.uniform(2.5, 8.0) / STEP
    s = np.arange(len(walk.radius)) - middle
    s = s / np.where(s < 0, half * rng.uniform(0.5, 1.0), half)
    reduction, sharp = float(rng.uniform(0.25, 0.82)), rng.uniform(2.0, 6.0)
    shape = np.exp(-(np.abs(s) ** sharp)) * (1 + 0.08 * (_rough(len(s), rng) - 1) / 0.03)
    shape = np.clip(shape, 0, 1) / max(shape.max(), 1e-9)
    reference = walk.radius.copy()
    walk.radius = np.maximum(reference * (1 - reduction * np.clip(shape, 0, 1)), 0.25)
    walk.outer = walk.outer + rng.uniform(0.0, 0.35) * reference * np.exp(-(np.abs(s) ** 2))
    tangent = np.gradient(walk.points, axis=0)
    side = np.cross(tangent, rng.normal(size=3))
    side /= np.linalg.norm(side, axis=1)[:, None]
    room = (reference - walk.radius) * rng.uniform(0, 0.95)
    walk.points = walk.points + side * room[:, None]
    share = float(rng.choice([0.0, 0.1, 0.3, 0.6]))
    if share > 0:
        level = {0.1: 1.3, 0.3: 0.5, 0.6: -0.25}[share]
        walk.calcified = np.where(np.abs(s) < 1.4, level, walk.calcified)
    throat = int(np.argmin(walk.radius / reference))
    x, y, z = (float(v) for v in walk.points[throat])
    diameter = 2 * float(reference[throat])
    return Lesion((x, y, z), 1 - float(walk.radius[throat] / reference[throat]), diameter, share)
