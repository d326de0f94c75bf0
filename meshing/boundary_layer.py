"""Layers of thin tetrahedra along the wall: prisms between offset copies of it, cut in three.

The surface mesh is shrunk along the inward wall normals (in the cap plane at rims); Gmsh fills the
shrunk core, prisms join it to the wall. Thickness is limited by the local radius and reduced
wherever a prism or the core surface would be invalid, so layers thin out instead of failing.
A prism is cut by the global rule that each quadrilateral is split from its lower-numbered column
on the wall side, so neighbours agree (Dompierre et al. 1999, "How to subdivide pyramids, prisms
and hexahedra into tetrahedra").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from meshing.crossing import crossing_triangles
from meshing.faults import at_point
from meshing.smooth_wall import SmoothWall
from meshing.surface_mesh import SurfaceMesh
from meshing.tetra import TetraMesh
from meshing.topology import (
    TRIANGLE_EDGES,
    Floats,
    Ints,
    edge_keys,
    normalised,
    scatter,
    triangle_areas,
    unique_edges,
)
from meshing.worker import StepFailedError

_LAST = 0.6  # thickness of the innermost layer over the local edge length
_RADIUS = 0.35  # all layers together over the local inscribed radius, at most
_ROUNDS = 25
_SHRINK = 0.75
_THINNEST = 0.1  # share of the wanted thickness below which the layers give up
_COLLAPSE = 0.3  # smallest area of a core triangle over that of its wall triangle
_SAFE = 0.3  # smallest prism corner volume over that of a straight prism on its wall triangle


@dataclass(frozen=True, slots=True)
class Layers:
    """Offset copies of the wall vertices.

    Attributes:
        vertices: Wall vertices of the surface mesh, sorted, ``(w,)``.
        levels: Their copies from the wall (0) to the core (L), ``(L + 1, w, 3)``.
        core: The surface mesh shrunk by all layers.
        share: Thickness over wanted thickness at each wall vertex, ``(w,)``.
    """

    vertices: Ints
    levels: Floats
    core: SurfaceMesh
    share: Floats

    @property
    def count(self) -> int:
        """Number of layers."""
        return len(self.levels) - 1


@dataclass(frozen=True, slots=True)
class LayeredMesh:
    """Core and layers as one mesh.

    Attributes:
        mesh: All tetrahedra.
        surface: All boundary triangles, numbered as `mesh`.
        copies: Wall edges and their copies: for each wall edge the two ends at levels 0..L,
            ``(e, L + 1, 2)``, the lower-numbered column first.
    """

    mesh: TetraMesh
    surface: SurfaceMesh
    copies: Ints


def make_layers(
    surface: SurfaceMesh, wall: SmoothWall, radius: Floats, count: int, growth: float
) -> Layers:
    """Offset the wall of a surface mesh inwards.

    Args:
        surface: The remeshed surface.
        wall: Its smooth wall (for normals) and rims.
        radius: Local inscribed radius at the surface vertices [mm], ``(n,)``.
        count: Number of layers.
        growth: Thickness of a layer over that of the next one towards the wall.

    Raises:
        StepFailedError: There is no room for layers somewhere; the message names the place.
    """
    vertices = surface.vertices_of(0)
    inward = inward_directions(surface, wall, vertices)
    steps = growth ** np.arange(count)
    depth = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    wanted = np.minimum(
        _LAST * _edge_lengths(surface)[vertices] * steps.sum() / steps[-1],
        _RADIUS * radius[vertices],
    )
    neighbours = _Neighbours(surface, vertices)
    share = np.ones(len(vertices))
    for _ in range(_ROUNDS):
        thickness = share * wanted
        levels = surface.points[vertices] + depth[:, None, None] * thickness[None, :, None] * inward
        core = shrunk(surface, wall, vertices, levels[-1])
        bad = _bad_vertices(surface, core, vertices)
        if not len(bad):
            return Layers(vertices, levels, core, share)
        share[bad] *= _SHRINK
        share = neighbours.limited(share)
        if share.min() < _THINNEST:
            break
    place = at_point(surface.points[vertices[np.argmin(share)]], surface.points, surface.triangles)
    raise StepFailedError(
        f"no room for boundary layers at {place}", place, "lower mesh.boundary_layers (0: none)"
    )


def inward_directions(surface: SurfaceMesh, wall: SmoothWall, vertices: Ints) -> Floats:
    """Directions of unit inward speed of the wall at its vertices, in the cap plane at rims."""
    _, facet = triangle_areas(surface.points, surface.triangles)
    on_wall = surface.patch == 0
    corner = surface.triangles[on_wall]
    number = np.searchsorted(vertices, corner.ravel())
    facet = np.repeat(facet[on_wall], 3, axis=0)
    summed = normalised(scatter(number, facet, len(vertices)))
    inward = -_visible(normalised(summed + wall.normal_at(surface.points[vertices])), number, facet)
    for rim in wall.rims:
        on_rim = np.isin(vertices, surface.vertices_of(rim.cap.patch))
        flat = inward[on_rim] - (inward[on_rim] @ rim.normal)[:, None] * rim.normal
        length = np.linalg.norm(flat, axis=1)[:, None]
        inward[on_rim] = flat / np.maximum(length, 0.5) ** 2
    return inward


def _visible(normals: Floats, vertex: Ints, facet: Floats) -> Floats:
    """Turn normals that see a facet around them at a grazing angle towards that facet.

    Args:
        normals: First guess, ``(w, 3)``.
        vertex: Vertex of each facet corner, ``(k,)``.
        facet: Unit normal of the facet of each corner, ``(k, 3)``.
    """
    result = normals.copy()
    for step in np.linspace(0.5, 0.02, 40):
        cosine = np.sum(result[vertex] * facet, axis=1)
        worst = np.full(len(result), 2.0)
        np.minimum.at(worst, vertex, cosine)
        guilty = (cosine == worst[vertex]) & (cosine < 0.7)
        result = normalised(result + step * scatter(vertex[guilty], facet[guilty], len(result)))
    return result


def shrunk(surface: SurfaceMesh, wall: SmoothWall, vertices: Ints, inner: Floats) -> SurfaceMesh:
    """The surface with its wall vertices at ``inner``; caps follow harmonically in their planes."""
    points = surface.points.copy()
    points[vertices] = inner
    for rim in wall.rims:
        _follow(points, surface, surface.triangles[surface.patch == rim.cap.patch], vertices)
    return SurfaceMesh(points, surface.triangles, surface.patch)


def _follow(points: Floats, surface: SurfaceMesh, triangles: Ints, fixed: Ints) -> None:
    used = np.unique(triangles)
    held = np.isin(used, fixed)
    free = np.flatnonzero(~held)
    if not len(free):
        return
    edges, _ = unique_edges(np.searchsorted(used, triangles), TRIANGLE_EDGES)
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    matrix = coo_matrix((np.ones(len(a)), (a, b)), shape=(len(used), len(used))).tocsr()
    laplace = (diags(np.asarray(matrix.sum(axis=1)).ravel()) - matrix).tocsr()
    move = points[used] - surface.points[used]
    right = -laplace[free][:, np.flatnonzero(held)] @ move[held]
    solved = spsolve(laplace[free][:, free].tocsc(), right)
    points[used[free]] = surface.points[used[free]] + solved.reshape(len(free), 3)


def _edge_lengths(surface: SurfaceMesh) -> Floats:
    """Mean length of the edges at each vertex."""
    edges, _ = unique_edges(surface.triangles, TRIANGLE_EDGES)
    length = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
    size = len(surface.points)
    total = scatter(edges.ravel(), np.repeat(length, 2), size)
    return np.asarray(total / np.maximum(np.bincount(edges.ravel(), minlength=size), 1))


def _bad_vertices(surface: SurfaceMesh, core: SurfaceMesh, vertices: Ints) -> Ints:
    """Positions in ``vertices`` of those at an invalid prism or at a bad place of the core."""
    triangles = surface.triangles
    area, before = triangle_areas(surface.points, triangles)
    shrunk_area, after = triangle_areas(core.points, triangles)
    bad = (np.sum(before * after, axis=1) < 0.5) | (shrunk_area < _COLLAPSE * area)
    outer, inner = surface.points[triangles], core.points[triangles]
    depth = np.linalg.norm(outer - inner, axis=2)
    for k in range(3):
        for base, apex in ((outer, inner[:, k]), (inner, outer[:, k])):
            e1, e2 = base[:, 1] - base[:, 0], base[:, 2] - base[:, 0]
            sign = 1.0 if base is inner else -1.0
            volume = sign * np.einsum("kd,kd->k", np.cross(e1, e2), apex - base[:, 0])
            flat = np.linalg.norm(np.cross(e1, e2), axis=1) * depth[:, k]
            bad |= (surface.patch == 0) & (volume < _SAFE * flat)
    bad[np.unique(crossing_triangles(core.points, triangles))] = True
    touched = np.unique(triangles[bad])
    return np.flatnonzero(np.isin(vertices, touched))


class _Neighbours:
    """Keeps the thickness from changing abruptly between neighbouring wall vertices."""

    def __init__(self, surface: SurfaceMesh, vertices: Ints) -> None:
        edges, _ = unique_edges(surface.triangles[surface.patch == 0], TRIANGLE_EDGES)
        self._a, self._b = np.searchsorted(vertices, edges).T

    def limited(self, share: Floats) -> Floats:
        result = share.copy()
        for _ in range(3):
            before = result.copy()
            np.minimum.at(result, self._a, before[self._b] / _SHRINK)
            np.minimum.at(result, self._b, before[self._a] / _SHRINK)
        return result


def join(surface: SurfaceMesh, layers: Layers, core: TetraMesh) -> LayeredMesh:
    """Put layers and filled core together."""
    number = np.full(len(surface.points), -1, dtype=np.int64)
    number[layers.vertices] = np.arange(len(layers.vertices))
    start, width = len(core.points), len(layers.vertices)
    columns = np.stack(
        [start + k * width + np.arange(width) for k in range(layers.count)] + [layers.vertices]
    )
    points = np.concatenate([core.points, layers.levels[:-1].reshape(-1, 3)])
    wall = number[surface.triangles[surface.patch == 0]]
    cut = [cut_prisms(wall, columns[k], columns[k + 1]) for k in range(layers.count)]
    cells = np.concatenate([core.tetrahedra, *cut])
    rings, tags = _rings(surface, number, columns)
    on_cap = surface.patch != 0
    triangles = np.concatenate([columns[0][wall], surface.triangles[on_cap], rings])
    patch = np.concatenate([np.zeros(len(wall), dtype=np.int64), surface.patch[on_cap], tags])
    edges, _ = unique_edges(wall, TRIANGLE_EDGES)
    copies = np.stack([columns[:, edges[:, 0]].T, columns[:, edges[:, 1]].T], axis=2)
    return LayeredMesh(TetraMesh(points, cells), SurfaceMesh(points, triangles, patch), copies)


def cut_prisms(triangles: Ints, outer: Ints, inner: Ints) -> Ints:
    """Three tetrahedra a prism, positively oriented, ``(3 m, 4)``.

    Args:
        triangles: Columns of each prism, seen from outside counter-clockwise, ``(m, 3)``.
        outer: Vertex of each column on the wall side.
        inner: Vertex of each column on the core side.
    """
    order = np.argsort(triangles, axis=1)
    i, j, k = np.take_along_axis(triangles, order, axis=1).T
    even = np.isin(order @ np.array([9, 3, 1]), [5, 15, 19])  # 012, 120, 201
    cells = np.stack(
        [
            np.stack([outer[i], outer[j], outer[k], inner[k]], axis=1),
            np.stack([outer[i], outer[j], inner[k], inner[j]], axis=1),
            np.stack([outer[i], inner[j], inner[k], inner[i]], axis=1),
        ],
        axis=1,
    )
    # in an even order the apex lies behind (i, j, k): swap two
    cells[even] = cells[even][:, :, [1, 0, 2, 3]]
    return cells.reshape(-1, 4)


def _rings(surface: SurfaceMesh, number: Ints, columns: Ints) -> tuple[Ints, Ints]:
    """Triangles of the layers on the caps, oriented outward, and their patches."""
    directed = surface.triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    patch = np.repeat(surface.patch, 3)
    wall_keys = edge_keys(directed[patch == 0])
    rim = (patch != 0) & np.isin(edge_keys(directed), wall_keys)
    a, b = number[directed[rim]].T  # runs as the cap triangle does, the wall on its right
    triangles, tags = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for k in range(len(columns) - 1):
        oa, ob, ia, ib = columns[k][a], columns[k][b], columns[k + 1][a], columns[k + 1][b]
        from_a = (a < b)[:, None]  # the diagonal runs from the lower column on the wall side
        one = np.where(from_a, np.stack([oa, ob, ib], 1), np.stack([oa, ob, ia], 1))
        two = np.where(from_a, np.stack([oa, ib, ia], 1), np.stack([ob, ib, ia], 1))
        triangles += [one, two]
        tags += [patch[rim], patch[rim]]
    return np.concatenate(triangles), np.concatenate(tags)


def layer_report(layers: Layers, surface: SurfaceMesh) -> dict[str, float | int]:
    """JSON-able: number, thickness of the first layer and of all, and how much of the wall they cover in full."""
    wall = surface.triangles[surface.patch == 0]
    area, _ = triangle_areas(surface.points, wall)
    full = (layers.share[np.searchsorted(layers.vertices, wall)] >= 1.0).all(axis=1)
    total = np.linalg.norm(layers.levels[-1] - layers.levels[0], axis=1)
    first = np.linalg.norm(layers.levels[1] - layers.levels[0], axis=1)
    return {
        "layers": layers.count,
        "first_thickness_mm_min": float(first.min()),
        "first_thickness_mm_median": float(np.median(first)),
        "total_thickness_mm_median": float(np.median(total)),
        "full_thickness_share_of_wall_area": float(area[full].sum() / area.sum()),
        "thinned_share": float(np.mean(layers.share < 1.0)),
        "thinnest_share": float(layers.share.min()),
    }
