"""Target edge length on the lumen surface: elements a diameter, throats and their jets, curvature, gradation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from meshing.background import Background
from meshing.lumen import LumenSurface
from meshing.options import MeshOptions
from meshing.smooth_wall import SmoothWall
from meshing.topology import TRIANGLE_EDGES, Floats, Ints, unique_edges

_TURN = 0.6  # largest turn of the wall along one edge [rad]
_SCALE = 0.15  # curvature is averaged over this share of the size from the radius
_REACH = 1.4  # wall nearer to a throat's centre than so many of its radii has the throat's size
_CURVATURE_FLOOR = 0.4  # curvature refines to this share of the size from the radius at most
_PROMINENCE = 0.20  # a narrowing is deeper than this share of its own radius on both sides
_CELL = 1.45  # mean edge of the cells over the target edge of the surface, in a throat
_LEAST_ACROSS = 3.0  # elements a diameter, whatever a background says
_AROUND = 1.2  # the throat is where the radius stays below this multiple of its minimum


@dataclass(frozen=True, slots=True)
class Throat:
    """The minimum of one narrowing: place [mm], ``(3,)``, and inscribed radius [mm]."""

    centre: tuple[float, float, float]
    radius: float


@dataclass(frozen=True, slots=True)
class Finer:
    """Factors of the target sizes, 1 or less.

    Attributes:
        everywhere: Of all sizes.
        throats: Of the size in each throat; all 1 if empty.
        jets: Of the growth behind those throats that are made finer.
    """

    everywhere: float = 1.0
    throats: tuple[float, ...] = ()
    jets: float = 1.0


@dataclass(frozen=True, slots=True)
class SizeField:
    """Target edge length at the surface vertices, and what it came from.

    Attributes:
        size: Target edge length [mm], ``(n,)``.
        radius: Local inscribed radius [mm], ``(n,)``.
        throats: The narrowings found along the centrelines.
    """

    size: Floats
    radius: Floats
    throats: tuple[Throat, ...]

    def scaled(self, factor: float) -> SizeField:
        """All sizes times a factor: a self-similar field."""
        return SizeField(self.size * factor, self.radius, self.throats)

    def at(self, vertices: Floats, points: Floats) -> Floats:
        """Size at other points, of the nearest surface vertex ``vertices`` ``(n, 3)``."""
        return self.size[nearest_vertices(vertices, points)]


def size_field(
    surface: LumenSurface,
    wall: SmoothWall,
    options: MeshOptions,
    finer: Finer,
    background: Background | None = None,
) -> SizeField:
    """Compute the target edge lengths on the vertices of a surface.

    Args:
        surface: The lumen.
        wall: Its smooth wall (for curvature).
        options: Elements a diameter and across throats, gradation.
        finer: What makes it finer than the options say.
        background: Sizes that take the place of those by elements a diameter, and behind throats.
    """
    throats = find_throats(surface.centerline, surface.radius, surface.upstream)
    nearest = nearest_ball(surface.centerline, surface.radius, surface.points)
    if background is None:
        wanted = centerline_sizes(surface, throats, options, finer)
        growth = options.jet_growth * _jet_factors(surface, throats, finer)
        wanted = limit_growth(surface.centerline, surface.upstream, wanted, growth)
        size = wanted[nearest]
    else:
        size = background.size[nearest_vertices(background.points, surface.points)]
        size = np.minimum(size, 2 * surface.radius[nearest] / _LEAST_ACROSS)
    curvature = wall.curvature(_SCALE * size)
    curved = _TURN / np.where(curvature > 0, curvature, _TURN / size)
    size = np.minimum(size, np.maximum(curved, _CURVATURE_FLOOR * size)) * finer.everywhere
    for throat, limit in zip(throats, _throat_sizes(throats, options, finer), strict=True):
        away = np.linalg.norm(surface.points - np.array(throat.centre), axis=1)
        size[away < _REACH * throat.radius] = np.minimum(size[away < _REACH * throat.radius], limit)
    edges, _ = unique_edges(surface.triangles, TRIANGLE_EDGES)
    size = limit_gradation(surface.points, edges, size, options.gradation)
    return SizeField(size, surface.radius[nearest], throats)


def centerline_sizes(
    surface: LumenSurface, throats: tuple[Throat, ...], options: MeshOptions, finer: Finer
) -> Floats:
    """Target edge length at every centreline point [mm]."""
    size = 2 * surface.radius / options.elements_per_diameter
    for throat, wanted in zip(throats, _throat_sizes(throats, options, finer), strict=True):
        away = np.linalg.norm(surface.centerline - np.array(throat.centre), axis=1)
        inside = _narrow(surface, throat, away) | (away < 0.5 * throat.radius)
        size[inside] = np.minimum(size[inside], wanted)
    return size


def _narrow(surface: LumenSurface, throat: Throat, away: Floats) -> npt.NDArray[np.bool_]:
    """The whole stretch about as narrow as its throat: a long lesion is one throat from end to end.

    It ends where the radius has risen above `_AROUND` times the throat's, on all ways up- and downstream.
    """
    narrow = surface.radius < _AROUND * throat.radius
    both = np.flatnonzero(narrow & (surface.upstream >= 0))
    both = both[narrow[surface.upstream[both]]]
    n = len(narrow)
    graph = coo_matrix((np.ones(len(both)), (both, surface.upstream[both])), shape=(n, n))
    _, piece = connected_components(graph, directed=False)
    here = narrow & (away < 0.5 * throat.radius)
    return np.asarray(narrow & np.isin(piece, piece[here]))


def _throat_sizes(throats: tuple[Throat, ...], options: MeshOptions, finer: Finer) -> list[float]:
    shares = finer.throats or (1.0,) * len(throats)
    across = _CELL * options.elements_across_throat
    return [share * 2 * t.radius / across for t, share in zip(throats, shares, strict=True)]


def _jet_factors(surface: LumenSurface, throats: tuple[Throat, ...], finer: Finer) -> Floats:
    """Factor of the growth at every centreline point: that of jets downstream of the throats made finer."""
    factors = np.ones(len(surface.centerline))
    for throat, share in zip(throats, finer.throats, strict=False):
        if share < 1.0:
            away = np.linalg.norm(surface.centerline - np.array(throat.centre), axis=1)
            factors[away < throat.radius] = finer.jets
    for k, before in enumerate(surface.upstream):
        if before >= 0:
            factors[k] = min(factors[k], factors[before])
    return factors


def limit_growth(points: Floats, upstream: Ints, size: Floats, growth: Floats) -> Floats:
    """Lower ``size`` until, on the way downstream, it grows by at most ``growth`` (at each point) times the way.

    Behind a throat a jet of the throat's width goes on for several diameters of the vessel; with cells of
    the vessel's own size there, the discrete jet has no steady state or loses too much pressure.
    """
    limited = size.copy()
    way = np.linalg.norm(points - points[upstream], axis=1)
    for k in range(1, len(points)):
        if upstream[k] >= 0:
            limited[k] = min(limited[k], limited[upstream[k]] + growth[k] * way[k])
    return limited


def find_throats(points: Floats, radius: Floats, upstream: Ints) -> tuple[Throat, ...]:
    """Local minima of the inscribed radius along each centreline, shared ones once.

    A minimum counts when the radius rises above it by a fifth of itself on both sides.
    """
    from scipy.signal import find_peaks  # half a second, which not every run should wait

    found: list[Throat] = []
    for line in lines_to_ends(upstream):
        r = radius[line]
        peaks, _ = find_peaks(-np.log(r), prominence=np.log1p(_PROMINENCE))
        for k in line[peaks]:
            same = [
                np.linalg.norm(points[k] - np.array(t.centre)) < t.radius + radius[k] for t in found
            ]
            if not any(same):
                x, y, z = (float(value) for value in points[k])
                found.append(Throat((x, y, z), float(radius[k])))
    return tuple(found)


def nearest_vertices(vertices: Floats, points: Floats) -> Ints:
    """Index of the vertex ``(n, 3)`` nearest to each point ``(k, 3)``."""
    return np.asarray(cKDTree(vertices).query(points)[1])


def lines_to_ends(upstream: Ints) -> list[Ints]:
    """The centreline points from the inlet to each end, as indices."""
    ends = np.setdiff1d(np.arange(len(upstream)), upstream)
    lines = []
    for end in ends:
        line = [int(end)]
        while upstream[line[-1]] >= 0:
            line.append(int(upstream[line[-1]]))
        lines.append(np.array(line[::-1]))
    return lines


def nearest_ball(centres: Floats, radius: Floats, points: Floats) -> Ints:
    """Index of the inscribed ball with the smallest power distance ``|x - c|^2 - r^2``, ``(k,)``."""
    lift = np.sqrt(np.max(radius) ** 2 - radius**2)
    tree = cKDTree(np.column_stack([centres, lift]))
    return np.asarray(tree.query(np.column_stack([points, np.zeros(len(points))]))[1])


def limit_gradation(points: Floats, edges: Ints, size: Floats, gradation: float) -> Floats:
    """Lower ``size`` until it grows by at most ``gradation`` times the length of any edge."""
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) * gradation
    a, b = edges.T
    limited = size.copy()
    while True:
        before = limited.copy()
        np.minimum.at(limited, a, before[b] + length)
        np.minimum.at(limited, b, before[a] + length)
        if np.all(limited >= before * (1 - 1e-9)):
            return limited
