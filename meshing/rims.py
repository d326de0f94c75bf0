"""The smooth closed curve in which the wall meets a flat cap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshing.lumen import Cap
from meshing.topology import Floats, Ints, normalised

_SKIP = 0.15  # neighbours nearer than this share of the rim radius say nothing of the tangent


@dataclass(frozen=True, slots=True)
class Rim:
    """A closed plane curve of cubic Bezier arcs through the rim vertices of one cap.

    Attributes:
        cap: The cap.
        vertices: Surface vertex indices in order, ``(m,)``.
        points: The vertices in the cap plane [mm], ``(m, 3)``.
        tangents: Unit tangents in the direction of the order, in the plane, ``(m, 3)``.
        origin: A point of the cap plane.
        normal: Unit normal out of the lumen.
    """

    cap: Cap
    vertices: Ints
    points: Floats
    tangents: Floats
    origin: Floats
    normal: Floats

    def controls(self) -> Floats:
        """Bezier control points of the arcs from vertex i to i + 1, ``(m, 4, 3)``."""
        ends = np.roll(self.points, -1, axis=0)
        first = handle(self.points, ends, self.tangents)
        last = handle(ends, self.points, -np.roll(self.tangents, -1, axis=0))
        return np.stack([self.points, first, last, ends], axis=1)

    def project(self, points: Floats) -> Floats:
        """Points of the curve near ``points`` ``(k, 3)``; the nearest chord gives the parameter."""
        controls = self.controls()
        target = points - ((points - self.origin) @ self.normal)[:, None] * self.normal
        sought = target
        result = target
        for _ in range(3):
            arc, t = _nearest_chord(sought, controls)
            result, slope = evaluate_arcs(controls[arc], t)
            along = normalised(slope)
            sought = sought + np.sum((target - result) * along, axis=1)[:, None] * along
        return result

    def area(self) -> float:
        """Area enclosed by the curve [mm^2], exact for the cubic arcs."""
        nodes, weights = np.polynomial.legendre.leggauss(4)
        controls = self.controls()
        total = np.zeros(3)
        for node, weight in zip(nodes, weights, strict=True):
            at, slope = evaluate_arcs(controls, np.full(len(controls), 0.5 * (node + 1)))
            total += 0.25 * weight * np.cross(at - self.origin, slope).sum(axis=0)
        return abs(float(total @ self.normal))


def handle(start: Floats, end: Floats, direction: Floats) -> Floats:
    """Control point next to ``start`` of an arc to ``end`` that leaves along ``direction``.

    The length ``2 c / (3 (1 + cos a))``, with chord ``c`` and ``a`` the angle between chord and
    direction, is that of the cubic closest to a circular arc (error of sixth order in ``a``). The
    departure from the straight third of the chord is limited, so that noise cannot overshoot.
    All ``(k, 3)``.
    """
    chord = end - start
    length = np.linalg.norm(chord, axis=1)
    cosine = np.sum(chord * direction, axis=1) / np.where(length > 0, length, 1.0)
    reach = 2.0 * length / (3.0 * (1.0 + np.clip(cosine, 0.0, 1.0)))
    offset = direction * reach[:, None] - chord / 3.0
    size = np.linalg.norm(offset, axis=1)
    limit = 0.15 * length
    scale = np.where(size > limit, limit / np.where(size > 0, size, 1.0), 1.0)
    return start + chord / 3.0 + offset * scale[:, None]


def evaluate_arcs(controls: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Points and derivatives of cubic Bezier arcs ``(k, 4, 3)`` at ``t`` ``(k,)``."""
    s = 1.0 - t
    value = np.stack([s**3, 3 * s * s * t, 3 * s * t * t, t**3], axis=1)
    slope = np.stack([-3 * s * s, 3 * s * s - 6 * s * t, 6 * s * t - 3 * t * t, 3 * t * t], axis=1)
    return (
        np.einsum("ki,kid->kd", value, controls),
        np.einsum("ki,kid->kd", slope, controls),
    )


def make_rim(cap: Cap, vertices: Ints, points: Floats) -> Rim:
    """Fit plane and tangents to the ordered rim vertices of a cap (counter-clockwise from outside)."""
    centre = points.mean(axis=0)
    nxt = np.roll(points, -1, axis=0)
    normal = normalised(np.cross(points - centre, nxt - centre).sum(axis=0))
    flat = points - ((points - centre) @ normal)[:, None] * normal
    radius = float(np.mean(np.linalg.norm(flat - centre, axis=1)))
    before, after = _far_neighbours(flat, _SKIP * radius)
    return Rim(cap, vertices, flat, _circle_tangents(flat, before, after, normal), centre, normal)


def _far_neighbours(points: Floats, reach: float) -> tuple[Floats, Floats]:
    """First rim point on either side at least ``reach`` away (at most a sixth of the loop)."""
    sides = []
    for direction in (1, -1):
        chosen = np.roll(points, direction, axis=0)
        for step in range(2, max(2, len(points) // 6) + 1):
            near = np.linalg.norm(chosen - points, axis=1) < reach
            chosen = np.where(near[:, None], np.roll(points, direction * step, axis=0), chosen)
        sides.append(chosen)
    return sides[0], sides[1]


def _circle_tangents(points: Floats, before: Floats, after: Floats, normal: Floats) -> Floats:
    """Tangents at ``points`` of the circles through three points, in the plane of ``normal``."""
    back, ahead = points - before, after - points
    b2 = np.maximum(np.sum(back * back, axis=1), 1e-300)[:, None]
    a2 = np.maximum(np.sum(ahead * ahead, axis=1), 1e-300)[:, None]
    tangent = back / b2 + ahead / a2
    tangent -= (tangent @ normal)[:, None] * normal
    return normalised(tangent)


def _nearest_chord(points: Floats, controls: Floats) -> tuple[Ints, Floats]:
    start, chord = controls[:, 0], controls[:, 3] - controls[:, 0]
    square = np.maximum(np.sum(chord * chord, axis=1), 1e-300)
    t = np.clip(np.einsum("kmd,md->km", points[:, None] - start, chord) / square, 0.0, 1.0)
    gap = points[:, None] - start - t[:, :, None] * chord
    nearest = np.argmin(np.einsum("kmd,kmd->km", gap, gap), axis=1)
    return nearest.astype(np.int64), t[np.arange(len(points)), nearest]
