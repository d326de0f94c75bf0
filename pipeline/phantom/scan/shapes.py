"""Implicit shapes: signed distances (negative inside, first order near the surface) of points ``(n, 3)`` [mm]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from pipeline.phantom.path import Array

Shape = Callable[[Array], Array]
_NEAR_MM = 8.0


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field: a sum of plane waves, the same at a point however often it is asked.

    Attributes:
        vectors: Wave vectors [rad/mm], ``(k, 3)``.
        phases: ``(k,)``.
        amplitude: Standard deviation of the field.
    """

    vectors: Array
    phases: Array
    amplitude: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, wavelength_mm: float, amplitude: float, count: int = 10
    ) -> Waves:
        """Waves of every direction, their lengths within a factor of 1.6 of the given one."""
        vectors = rng.normal(size=(count, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths = wavelength_mm * 1.6 ** rng.uniform(-1, 1, (count, 1))
        return cls(2 * np.pi * vectors / lengths, rng.uniform(0, 2 * np.pi, count), amplitude)

    def __call__(self, x: Array) -> Array:
        """The field at points ``(n, 3)``, ``(n,)``."""
        waves = sum(np.sin(x @ k + f) for k, f in zip(self.vectors, self.phases, strict=True))
        return np.asarray(self.amplitude * np.sqrt(2 / len(self.phases)) * waves)


def ellipsoid(centre: Array, axes: Array) -> Shape:
    """An ellipsoid with its axes along the frame's."""

    def distance(x: Array) -> Array:
        y = (x - centre) / axes
        level = np.linalg.norm(y, axis=1)
        return np.asarray((level - 1) * level / np.maximum(np.linalg.norm(y / axes, axis=1), 1e-9))

    return distance


@dataclass(frozen=True, eq=False)
class Hose:
    """A tube of varying radius along a poly-line, with round ends.

    Attributes:
        points: ``(k, 3)``, close to each other compared with the radius.
        radii: ``(k,)``.
    """

    points: Array
    radii: Array

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)

    def __call__(self, x: Array) -> Array:
        """Signed distance; farther than `_NEAR_MM` only that it is farther."""
        reach = _NEAR_MM + float(self.radii.max())
        low, high = self.points.min(0) - reach, self.points.max(0) + reach
        close = np.flatnonzero(((x > low) & (x < high)).all(axis=1))
        out = np.full(len(x), _NEAR_MM)
        asked = self._tree.query(x[close], distance_upper_bound=reach)
        distance, nearest = np.asarray(asked[0]), np.asarray(asked[1])
        found = nearest < len(self.points)
        out[close[found]] = np.minimum(distance[found] - self.radii[nearest[found]], _NEAR_MM)
        return out

    def joined(self, other: Hose) -> Hose:
        """Both hoses as one shape."""
        return Hose(
            np.concatenate([self.points, other.points]), np.concatenate([self.radii, other.radii])
        )


class Remembered:
    """A shape that keeps its last answer: several tissues ask for the same distance at the same points."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._asked: Array | None = None
        self._answer: Array | None = None

    def __call__(self, x: Array) -> Array:
        """Signed distance."""
        if self._answer is None or self._asked is not x:
            self._asked, self._answer = x, self._shape(x)
        return self._answer


def hose(points: Array, radii: Array | float, spacing: float = 0.5) -> Hose:
    """A `Hose` through control points, sampled finely."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(steps)])
    fine = np.linspace(0.0, knots[-1], max(int(knots[-1] / spacing), 2) + 1)
    line = np.column_stack([np.interp(fine, knots, points[:, k]) for k in range(3)])
    wide = np.broadcast_to(np.asarray(radii, dtype=np.float64), knots.shape)
    return Hose(line, np.interp(fine, knots, wide))


def beyond(normal: Array, offset: float) -> Shape:
    """The half space ``x . normal > offset``."""
    return lambda x: np.asarray(offset - x @ normal)


def both(*shapes: Shape) -> Shape:
    """Intersection."""
    return lambda x: np.asarray(np.max([shape(x) for shape in shapes], axis=0))


def either(*shapes: Shape) -> Shape:
    """Union."""
    return lambda x: np.asarray(np.min([shape(x) for shape in shapes], axis=0))


def grown(shape: Shape, by: float | Shape) -> Shape:
    """A shape with its surface moved outward by a distance (a number or a field) [mm]."""
    return lambda x: np.asarray(shape(x) - (by(x) if callable(by) else by))


def without(shape: Shape, hole: Shape) -> Shape:
    """Difference."""
    return lambda x: np.asarray(np.maximum(shape(x), -hole(x)))
