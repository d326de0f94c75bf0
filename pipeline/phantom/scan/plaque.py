"""Vessel walls, plaque and calcium of a tree.

The outer wall is the healthy lumen and a wall around it; where a lesion narrows the lumen, what lies between is
plaque: soft, fibrous, with calcium in it or calcium from end to end. Calcium also comes without a narrowing, on the
outside of the lumen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.phantom.lesions import across
from pipeline.phantom.path import Array, Path
from pipeline.phantom.scan.shapes import Waves
from pipeline.phantom.scan.stent import Stent, draw_stents
from pipeline.phantom.tree import Segment, Tree

WALL_MM = (0.25, 0.45)  # thickness of a healthy coronary wall
_WALLS_MM = (
    0.2,
    0.7,
)  # all that a network should know: half of a thick wall's blur counts as blood at half height
# A plaque pushes the outer wall out before it narrows the lumen: Glagov et al., N Engl J Med 1987;316:1371-1375,
# doi 10.1056/NEJM198705283162204. Part of the radius, at most.
_REMODELLED = 0.4
_CRUSTED = 0.45  # of the lesions
_CRUST_LEVELS = (
    -1.0,
    -0.3,
    0.4,
    1.1,
)  # of a grain of unit variance: 84, 62, 34, 14 per cent of the plaque are calcium
_GRAIN_MM = (1.5, 5.0)
_EDGE = 0.3  # of the grain: from plaque to calcium, about a third of a millimetre


@dataclass(frozen=True, slots=True)
class Calcium:
    """A calcified ellipsoid beside the lumen.

    Attributes:
        centre: ``(3,)`` [mm], LPS.
        frame: Rows: unit vectors along the vessel, outward, and around it, ``(3, 3)``.
        axes: Semi-axes in that order [mm], ``(3,)``.
        hu: Attenuation [HU].
    """

    centre: Array
    frame: Array
    axes: Array
    hu: float

    def distance(self, x: Array) -> Array:
        """Signed distance, first order near the surface, ``(n, 3)`` -> ``(n,)`` [mm]."""
        y = (x - self.centre) @ self.frame.T / self.axes
        level = np.linalg.norm(y, axis=1)
        return np.asarray(
            (level - 1) * level / np.maximum(np.linalg.norm(y / self.axes, axis=1), 1e-9)
        )


@dataclass(frozen=True, eq=False)
class Crust:
    """Plaques that are calcium from end to end, with gaps where a grain is low.

    Attributes:
        grain: Unit variance.
        levels: Of the grain, from which on there is calcium, at the knots of each path, ``(knots,)`` each; infinite
            where there is none.
        hu: Attenuation [HU].
    """

    grain: Waves
    levels: tuple[Array, ...]
    hu: float

    def share(self, x: Array, level: Array) -> Array:
        """Part of a place's plaque that is calcium.

        Args:
            x: Places, ``(n, 3)`` [mm].
            level: At the knots next to them, ``(n,)``.
        """
        out, near = np.zeros(len(x)), np.isfinite(level)
        out[near] = np.clip(0.5 + (self.grain(x[near]) - level[near]) / _EDGE, 0.0, 1.0)
        return out


@dataclass(frozen=True, eq=False)
class Diseased:
    """A tree with its walls.

    Attributes:
        lumen: The tree.
        outer: The same tubes at their outer wall.
        plaque_hu: Attenuation of wall and plaque, at the knots of each path, ``(knots,)`` each.
        calcium: Calcified bodies.
        stents: Stents.
        crust: Plaques that are calcium all through.
    """

    lumen: Tree
    outer: Tree
    plaque_hu: tuple[Array, ...]
    calcium: tuple[Calcium, ...]
    stents: tuple[Stent, ...] = ()
    crust: Crust | None = None


def diseased(tree: Tree, rng: np.random.Generator, *, irregular: bool = False) -> Diseased:
    """Draw walls, plaques, calcium and stents.

    Args:
        tree: The lumen.
        rng: Draws.
        irregular: Walls thin to thick, pushed out at half of the lesions; some plaques are calcium from end to end.
    """
    wall = float(rng.uniform(*(_WALLS_MM if irregular else WALL_MM)))
    paths = tuple(
        replace(p, offset=np.zeros_like(p.offset), radius=p.healthy + wall) for p in tree.paths
    )
    plaque = [np.full(len(path.knots), float(rng.uniform(30, 70))) for path in tree.paths]
    calcium: list[Calcium] = []
    index = {segment.name: segment for segment in tree.segments}
    for lesion in tree.stenoses:
        segment = index[lesion.branch]
        path, s0 = tree.paths[segment.path], segment.start + lesion.throat_mm
        near = np.abs(path.knots - s0) < lesion.length_mm / 2
        plaque[segment.path][near] = rng.choice([rng.uniform(10, 60), rng.uniform(70, 140)])
        if rng.uniform() < 0.6:
            count = int(rng.integers(1, 5))
            for _ in range(count):
                s = s0 + 0.4 * lesion.length_mm * float(rng.uniform(-1, 1))
                calcium.append(_body(path, s, wall, rng))
    if irregular:
        paths = tuple(
            _pushed_out(path, number, tree, index, rng) for number, path in enumerate(paths)
        )
    for segment in tree.segments:
        spots = rng.poisson(0.35) if rng.uniform() < 0.5 else 0
        for _ in range(spots):
            s = float(rng.uniform(segment.start + 1.0, max(segment.end - 1.0, segment.start + 1.1)))
            calcium.append(_body(tree.paths[segment.path], s, wall, rng))
    outer = replace(tree, paths=paths)
    metal, hard = rng.spawn(2)
    stents, crust = draw_stents(tree, metal), _crust(tree, index, hard) if irregular else None
    return Diseased(tree, outer, tuple(plaque), tuple(calcium), stents, crust)


def _crust(tree: Tree, index: dict[str, Segment], rng: np.random.Generator) -> Crust | None:
    """Calcium all through some of the lesions, a little longer or shorter than they are."""
    levels = [np.full(len(path.knots), np.inf) for path in tree.paths]
    for lesion in tree.stenoses:
        if rng.uniform() > _CRUSTED:
            continue
        segment = index[lesion.branch]
        off = np.abs(tree.paths[segment.path].knots - segment.start - lesion.throat_mm)
        near = off < 0.5 * lesion.length_mm * rng.uniform(0.7, 1.3)
        levels[segment.path][near] = rng.choice(_CRUST_LEVELS)
    if not any(np.isfinite(level).any() for level in levels):
        return None
    grain = Waves.draw(rng, float(rng.uniform(*_GRAIN_MM)), 1.0)
    return Crust(grain, tuple(levels), float(rng.uniform(600, 1500)))


def _pushed_out(
    path: Path, number: int, tree: Tree, index: dict[str, Segment], rng: np.random.Generator
) -> Path:
    """An outer wall, wider at half of the lesions on its path."""
    radius = path.radius.copy()
    for lesion in tree.stenoses:
        segment = index[lesion.branch]
        if segment.path != number or rng.uniform() < 0.5:
            continue
        off = (path.knots - segment.start - lesion.throat_mm) / (0.4 * lesion.length_mm)
        radius += rng.uniform(0, _REMODELLED) * path.healthy * np.exp(-(off**2))
    return replace(path, radius=radius)


def _body(path: Path, s: float, wall: float, rng: np.random.Generator) -> Calcium:
    """A body between lumen and outer wall at an abscissa, on a drawn side."""
    value, slope = path.spline(s), path.spline(s, 1)[:3]
    centre, offset, radius = value[:3], value[3:6], float(value[6])
    along = slope / np.linalg.norm(slope)
    out = across(along, float(rng.uniform(0, 2 * np.pi)))
    if np.linalg.norm(offset) > 0.2 and rng.uniform() < 0.7:  # on the side of the plaque
        out = -offset / np.linalg.norm(offset)
    around = np.cross(along, out)
    shift = float(offset @ out)
    inner = shift + np.sqrt(max(radius**2 - float(offset @ offset) + shift**2, 0.0))
    outer = float(path.healthy_radius(s)) + wall
    half = max(0.5 * (outer - inner) * float(rng.uniform(0.7, 1.2)), 0.25)
    axes = np.array(
        [rng.uniform(0.5, 3.0), half, min(rng.uniform(0.4, 1.8), 0.9 * outer)], dtype=np.float64
    )
    middle = centre + out * (0.5 * (inner + outer) + float(rng.uniform(0.0, 0.2)))
    return Calcium(middle, np.array([along, out, around]), axes, float(rng.uniform(500, 1600)))
