"""Stents: rings of zigzag struts against the wall, joined by links; metal far thinner than a voxel.

Strut widths of 60 to 140 micrometres, crowns and ring spacings are those of coronary stents in use (e.g. Garg & Serruys
2010, J. Am. Coll. Cardiol. 56, S1-S42, https://doi.org/10.1016/j.jacc.2010.06.007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.lesions import across
from pipeline.phantom.path import Array, Path
from pipeline.phantom.tree import Tree

_STEP_MM = 0.04  # between the points of a strut
_SHELL_MM = 0.15  # between the points of the cylinder the struts lie on
_RARE = 0.12  # of the trees have one
_LEAST_MM = 2.2  # diameter


@dataclass(frozen=True, eq=False)
class Stent:
    """A stent.

    Attributes:
        struts: Points along the metal, LPS [mm], ``(n, 3)``.
        volume_mm3: Of metal, at each of them.
        shell: Points of the cylinder the struts lie on, ``(m, 3)``.
        hu: Attenuation of solid metal, as far as a scanner tells it.
    """

    struts: Array
    volume_mm3: float
    shell: Array
    hu: float


def draw_stents(tree: Tree, rng: np.random.Generator) -> tuple[Stent, ...]:
    """None in most trees; else one of 8 to 28 mm somewhere a vessel is wide enough."""
    if rng.uniform() > _RARE:
        return ()
    wide = [
        (segment, tree.paths[segment.path])
        for segment in tree.segments
        if segment.end - segment.start > 12
        and 2 * tree.paths[segment.path].healthy_radius(segment.start + 6) > _LEAST_MM
    ]
    if not wide:
        return ()
    segment, path = wide[int(rng.integers(len(wide)))]
    length = float(rng.uniform(8, min(28, segment.end - segment.start - 3)))
    first = float(rng.uniform(segment.start + 1, segment.end - length - 1))
    return (stent_on(path, first, length, rng),)


def stent_on(path: Path, first: float, length: float, rng: np.random.Generator) -> Stent:
    """A stent on a stretch of a path, as wide as its healthy lumen.

    Args:
        path: The vessel.
        first: Abscissa where it begins [mm].
        length: How long it is [mm].
        rng: Draws crowns, spacing, strut width and metal.
    """
    crowns, spacing = int(rng.integers(6, 9)), float(rng.uniform(0.9, 1.4))
    width, turn = float(rng.uniform(0.06, 0.14)), float(rng.uniform(0, 2 * np.pi))
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    zigzag = 2 * np.abs(((crowns * angle / (2 * np.pi)) % 1.0) - 0.5) - 0.5
    rings = []
    for s in np.arange(first, first + length, spacing):
        here = s + 0.8 * spacing * zigzag
        rings.append(_on_wall(path, here, angle + turn))
        if s + spacing < first + length:  # three links to the next ring
            along = np.linspace(s + 0.4 * spacing, s + 0.6 * spacing, 20)
            rings += [
                _on_wall(path, along, np.full(20, turn + k * 2 * np.pi / 3)) for k in range(3)
            ]
    struts = np.concatenate([_even(ring) for ring in rings])
    grid = np.meshgrid(
        np.arange(first - 0.4 * spacing, first + length, _SHELL_MM), np.linspace(0, 2 * np.pi, 80)
    )
    shell = _on_wall(path, grid[0].ravel(), grid[1].ravel())
    volume = np.pi / 4 * width**2 * _STEP_MM
    return Stent(struts, volume, shell, float(rng.uniform(10_000, 28_000)))


def _on_wall(path: Path, s: Array, angle: Array) -> Array:
    """Points on the healthy wall at abscissae and angles, ``(n, 3)``."""
    values, slopes = path.spline(s)[:, :3], path.spline(s, 1)[:, :3]
    middle = path.spline(float(s.mean()), 1)[:3]
    first = across(middle / np.linalg.norm(middle), 0.0)
    slopes = slopes / np.linalg.norm(slopes, axis=1)[:, None]
    u = first - (slopes @ first)[:, None] * slopes
    u /= np.linalg.norm(u, axis=1)[:, None]
    v = np.cross(slopes, u)
    radius = path.healthy_radius(s)[:, None]
    return np.asarray(values + radius * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v))


def _even(points: Array) -> Array:
    """Points every `_STEP_MM` along a line."""
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0, way[-1], _STEP_MM)
    return np.column_stack([np.interp(at, way, points[:, k]) for k in range(3)])
