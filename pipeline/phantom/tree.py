"""A tree of swept tubes with smooth junctions: signed distance, ends, truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.phantom.path import Array, Path, swept

BLEND = 0.5  # blend width of a junction over the radius of the branch


@dataclass(frozen=True, slots=True)
class Segment:
    """A named stretch of a path.

    Attributes:
        name: E.g. ``"LAD"``.
        parent: Name of the segment it comes from; None at the inlet.
        path: Index into `Tree.paths`.
        start: Abscissa on the path where it begins [mm]: the inlet, the end of the segment before, or
            the ostium (where the curve leaves the lumen of the parent).
        end: Abscissa where it ends [mm].
    """

    name: str
    parent: str | None
    path: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class StenosisTruth:
    """One stenosis as built. Abscissae are along the segment's path, from its first point.

    Attributes:
        branch: Segment.
        throat_mm: Abscissa of the throat, which is exactly the minimum lumen.
        length_mm: Shoulder to shoulder.
        diameter_reduction: 1 - MLD / healthy diameter at the throat.
        reference_diameter_mm: Healthy diameter at the throat.
        minimum_lumen_diameter_mm: MLD.
        eccentricity: 0 concentric, 1 one wall untouched.
        direction: Unit vector to the side where the wall stays (eccentric) .
        centre_mm: Centre of the throat disc.
        normal: Unit normal of the throat disc.
    """

    branch: str
    throat_mm: float
    length_mm: float
    diameter_reduction: float
    reference_diameter_mm: float
    minimum_lumen_diameter_mm: float
    eccentricity: float
    direction: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    normal: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class TreeEnd:
    """A flat vessel end.

    Attributes:
        name: Segment name.
        role: Inlet or outlet.
        centre_mm: Centre of the disc.
        normal: Unit vector out of the vessel.
        radius_mm: Radius of the disc.
    """

    name: str
    role: Literal["inlet", "outlet"]
    centre_mm: tuple[float, float, float]
    normal: tuple[float, float, float]
    radius_mm: float


def smooth_minimum(a: Array, b: Array, width: Array | float) -> tuple[Array, Array]:
    """Cubic smooth minimum (C2) of two distances and the weight of ``b`` in its gradient.

    Equal to ``min(a, b)`` where ``|a - b| >= width``, lower by ``width / 6`` where they are equal.
    """
    h = np.maximum(width - np.abs(a - b), 0.0) / width
    weight = np.where(b < a, 1.0 - 0.5 * h**2, 0.5 * h**2)
    return np.minimum(a, b) - width * h**3 / 6.0, weight


@dataclass(frozen=True, eq=False)
class Tree:
    """A coronary tree.

    Attributes:
        paths: The tubes; the first carries the inlet, each other begins on an earlier one.
        segments: Named stretches, inlet first.
        stenoses: As built.
        meta: What else belongs into the truth (seed, exponents), JSON-able.
    """

    paths: tuple[Path, ...]
    segments: tuple[Segment, ...]
    stenoses: tuple[StenosisTruth, ...]
    meta: dict[str, Any]

    def blend_width(self, path: Path) -> float:
        """Width of the smooth junction where ``path`` leaves its parent [mm]."""
        return BLEND * float(path.healthy[0])

    def evaluate(self, points: Array, *, cut: bool = True) -> tuple[Array, Array]:
        """Signed distance (negative inside) and its unit gradient.

        Args:
            points: ``(n, 3)`` [mm].
            cut: Flat vessel ends; False: tubes go on a little behind their ends.

        Returns:
            Distance ``(n,)`` [mm], gradient ``(n, 3)``.
        """
        total, slope = _tube(self.paths[0], points, cut=cut)
        for path in self.paths[1:]:
            value, gradient = _tube(path, points, cut=cut)
            total, weight = smooth_minimum(total, value, self.blend_width(path))
            slope = slope + weight[:, None] * (gradient - slope)
        return total, slope

    def signed_distance(self, points_mm: Array, *, cut: bool = True) -> Array:
        """Signed distance [mm], negative inside, ``(n, 3)`` -> ``(n,)``.

        Zero exactly on the wall, a distance to first order near it, a positive lower bound far outside.
        """
        points = np.atleast_2d(np.asarray(points_mm, dtype=np.float64))
        out = np.empty(len(points))
        for i in range(0, len(points), 200_000):
            out[i : i + 200_000] = self.evaluate(points[i : i + 200_000], cut=cut)[0]
        return out

    def project(self, points: Array, *, steps: int = 8) -> Array:
        """Points moved onto the wall of the uncut tree along the gradient (Newton), ``(n, 3)``."""
        x = points.copy()
        for _ in range(steps):
            value, gradient = self.evaluate(x, cut=False)
            norm2 = np.maximum((gradient**2).sum(1), 0.05)
            x -= (value / norm2)[:, None] * gradient
            if len(x) == 0 or np.abs(value).max() < 1e-11:
                break
        return x

    @property
    def ends(self) -> tuple[TreeEnd, ...]:
        """The flat ends: the inlet, then the outlets in path order."""
        ends = []
        for index, path in enumerate(self.paths):
            names = [segment.name for segment in self.segments if segment.path == index]
            if path.open_start:
                ends.append(_end(path, path.start, names[0], "inlet"))
            ends.append(_end(path, path.end, names[-1], "outlet"))
        return _unique(ends)


def _unique(ends: list[TreeEnd]) -> tuple[TreeEnd, ...]:
    """A path of one segment that is open at both ends gives its name to the outlet."""
    names = [end.name for end in ends]
    return tuple(
        TreeEnd("inlet", end.role, end.centre_mm, end.normal, end.radius_mm)
        if end.role == "inlet" and names.count(end.name) > 1
        else end
        for end in ends
    )


def _end(path: Path, s: float, name: str, role: Literal["inlet", "outlet"]) -> TreeEnd:
    centre, tangent, radius = path.at(s)
    normal = tangent if role == "outlet" else -tangent
    return TreeEnd(name, role, _triple(centre), _triple(normal), radius)


def _triple(v: Array) -> tuple[float, float, float]:
    return (float(v[0]), float(v[1]), float(v[2]))


def _tube(path: Path, points: Array, *, cut: bool) -> tuple[Array, Array]:
    value, gradient, s = path.evaluate(points)
    if cut:
        plane, normal = path.cut(points, s)
        beyond = plane > value
        value = np.where(beyond, plane, value)
        gradient = np.where(beyond[:, None], normal, gradient)
    return value, gradient


def tube(points: Array, radii: Array, name: str = "tube") -> Tree:
    """A tree of one swept tube (`swept`), inlet at the first point."""
    path = swept(points, radii)
    return Tree((path,), (Segment(name, None, 0, path.start, path.end),), (), {})


def truth(tree: Tree) -> dict[str, Any]:
    """Centrelines, radii, stenoses and ends, JSON-able (``phantom.json``)."""
    segments = []
    for segment in tree.segments:
        path = tree.paths[segment.path]
        n = max(int((segment.end - segment.start) / 0.5), 2)
        s = np.linspace(segment.start, segment.end, n + 1)
        value = path.spline(s)
        segments.append(
            {
                "name": segment.name,
                "parent": segment.parent,
                "length_mm": segment.end - segment.start,
                "abscissa_mm": (s - segment.start).tolist(),
                "points_mm": (value[:, :3] + value[:, 3:6]).tolist(),
                "radius_mm": value[:, 6].tolist(),
                "healthy_radius_mm": path.healthy_radius(s).tolist(),
            }
        )
    return {
        "frame": "LPS",
        "unit": "mm",
        **tree.meta,
        "segments": segments,
        "stenoses": [asdict(stenosis) for stenosis in tree.stenoses],
        "ends": [asdict(end) for end in tree.ends],
    }
