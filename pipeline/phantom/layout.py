"""Where the vessels run: curves on a heart-shaped ellipsoid, drawn from a random generator.

Heart frame: origin in the middle, apex at -z, anterior interventricular groove at longitude 0, the free wall
of the left ventricle at increasing longitude. `to_patient` turns it into the patient's axes (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.phantom.path import Array

SEMI_AXES_MM = (37.0, 37.0, 54.0)  # epicardium of an adult heart, short axes and long axis
APEX = (0.58, -0.55, -0.60)
"""Where the long axis points in the patient (LPS): to the left, forward and down, about 45 degrees from each of the
body planes' normals."""
GROOVE = (0.50, -0.50, 0.70)
"""Where the anterior interventricular groove faces: forward, to the left and up; the left ventricle's free wall then
faces left and back, the right ventricle's forward and to the right, the diaphragmatic wall down."""


def _axes() -> Array:
    """Rotation from the heart's frame into the patient's, ``(3, 3)``."""
    base = -np.array(APEX) / np.linalg.norm(APEX)
    groove = np.array(GROOVE) - (np.array(GROOVE) @ base) * base
    groove /= np.linalg.norm(groove)
    return np.column_stack([groove, np.cross(base, groove), base])


_TO_PATIENT = _axes()


@dataclass(frozen=True, slots=True)
class Heart:
    """The epicardial ellipsoid.

    Attributes:
        axes: Semi-axes [mm], ``(3,)``.
    """

    axes: Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """An adult heart, each axis within 6 % of the mean."""
        return cls(np.array(SEMI_AXES_MM) * rng.uniform(0.94, 1.06, 3))

    def point(self, longitude: float, latitude: float) -> Array:
        """Surface point ``(3,)`` at the angles [degrees]."""
        phi, v = np.radians(longitude), np.radians(latitude)
        return np.asarray(self.axes * [np.cos(v) * np.cos(phi), np.cos(v) * np.sin(phi), np.sin(v)])

    def angles(self, x: Array) -> tuple[float, float]:
        """Longitude and latitude [degrees] of a point."""
        u = x / self.axes
        return (
            float(np.degrees(np.arctan2(u[1], u[0]))),
            float(np.degrees(np.arctan2(u[2], np.hypot(u[0], u[1])))),
        )

    def level(self, x: Array) -> Array:
        """1 on the surface, below inside; ``(n, 3)`` -> ``(n,)``."""
        return np.asarray(np.linalg.norm(x / self.axes, axis=-1))

    def normal(self, x: Array) -> Array:
        """Outward unit normal ``(n, 3)``."""
        n = x / self.axes**2
        return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True))

    def east(self, x: Array) -> Array:
        """Unit tangent of growing longitude at ``(3,)``."""
        return unit(np.array([-x[1], x[0], 0.0]))

    def down(self, x: Array) -> Array:
        """Unit tangent towards the apex at ``(3,)``."""
        return unit(np.cross(self.normal(x), -self.east(x)))


def unit(v: Array) -> Array:
    """Vector ``(3,)`` of length 1 along ``v``."""
    return np.asarray(v / np.linalg.norm(v))


def turned(direction: Array, axis: Array, degrees: float) -> Array:
    """Direction turned about an axis."""
    return np.asarray(Rotation.from_rotvec(np.radians(degrees) * unit(axis)).apply(direction))


def to_patient(points: Array) -> Array:
    """Heart frame -> LPS [mm], ``(n, 3)``."""
    return np.asarray(points @ _TO_PATIENT.T)


def course(
    heart: Heart, start: tuple[Array, Array], goal: tuple[Array, Array], rng: np.random.Generator
) -> Array:
    """A curve on the heart from a point and direction to a point and direction.

    A cubic Bezier curve laid onto the ellipsoid, swayed sideways by two sine waves of drawn amplitude
    (tortuosity) that vanish at its start.

    Args:
        heart: The ellipsoid.
        start: First point ``(3,)`` and unit direction there.
        goal: Last point and unit direction there.
        rng: Draws amplitudes and phases.

    Returns:
        Control points about 5 mm apart, ``(k, 3)``.
    """
    p0, p3 = start[0], goal[0]
    reach = 0.38 * float(np.linalg.norm(p3 - p0))
    p1, p2 = p0 + reach * start[1], p3 - reach * goal[1]
    t = np.linspace(0.0, 1.0, max(int(3.3 * reach / 5.0), 5) + 1)[:, None]
    x = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    settle = np.clip(t[:, 0] / 0.3, 0.0, 1.0)
    level = heart.level(p0) + (1.0 - heart.level(p0)) * settle**2 * (3 - 2 * settle)
    x *= (level / heart.level(x))[:, None]
    side = np.cross(heart.normal(x), np.gradient(x, axis=0))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    amplitude = rng.uniform(0.3, 1.1, 2) * min(1.0, reach / 15.0)
    phase, waves = rng.uniform(0.0, 2 * np.pi, 2), rng.uniform([1.2, 2.2], [2.0, 3.6])
    sway = sum(
        a * np.sin(2 * np.pi * w * t[:, 0] + f)
        for a, w, f in zip(amplitude, waves, phase, strict=True)
    )
    x += (sway * settle**2)[:, None] * side
    return np.asarray(x)
