"""The exact surface: triangles whose vertices lie on the wall of the signed distance, flat caps, sharp rims.

The wall is sampled with a spacing proportional to the local radius (golden-angle spirals along each tube,
moved onto the smooth junctions by Newton's method), rims and caps likewise. The surface is the restricted
Delaunay triangulation of the samples: the faces between Delaunay tetrahedra whose circumcentres lie inside
and outside the signed distance. It is closed by construction and approximates a surface sampled densely
enough. A rim is a sharp edge, where no density is enough: a tetrahedron in its corner is in or out as its
centroid is. Reference: Amenta & Bern, Discrete Comput Geom 1999;22:481-504, doi 10.1007/PL00009475; refinement
by surface centres: Boissonnat & Oudot, Graph Models 2005;67:405-451, doi 10.1016/j.gmod.2005.01.004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay, cKDTree

from meshing.errors import ComputationError
from pipeline.phantom.path import Array, Path
from pipeline.phantom.tree import Tree
from pipeline.surface.mesh import Ints, TriangleMesh

GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
_ROUNDS = 25
_SAG_ROUNDS = 2  # refine where a triangle is far from the wall; then only where it is no manifold
_CLOSEST = 0.6  # samples closer than this times the spacing are thinned out
_SAG = 0.06  # a triangle whose middle is farther from the wall, over the spacing, is refined


@dataclass(frozen=True, slots=True)
class _Samples:
    """Points on the surface.

    Attributes:
        points: ``(n, 3)`` [mm].
        spacing: Wanted distance to the next [mm], ``(n,)``.
        cap: ``(n,)``: 0 wall, -i on the rim of the i-th cap, i inside it.
    """

    points: Array
    spacing: Array
    cap: npt.NDArray[np.int64]

    def __add__(self, other: _Samples) -> _Samples:
        return _Samples(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.spacing, other.spacing]),
            np.concatenate([self.cap, other.cap]),
        )

    def take(self, which: npt.NDArray[np.bool_]) -> _Samples:
        """Some of them."""
        return _Samples(self.points[which], self.spacing[which], self.cap[which])


def exact_surface(tree: Tree, *, facets_around: int = 24) -> TriangleMesh:
    """Triangulate the surface of a tree; caps numbered as `Tree.ends`, from 1.

    Args:
        tree: The tree.
        facets_around: Triangle edges around every lumen, narrow or wide.

    Returns:
        A closed manifold of genus 0, normals outward; vertices on the wall to 1e-9 mm, caps exactly plane.

    Raises:
        ComputationError: The refinement did not reach a manifold, or the corner of a rim was cut off.
    """
    samples = _thinned(_caps(tree, facets_around) + _wall(tree, facets_around))
    delaunay = Delaunay(samples.points, incremental=True)
    for attempt in range(_ROUNDS):
        triangles = _restricted(tree, samples, delaunay)
        new = _refinement(tree, samples, triangles, _SAG if attempt < _SAG_ROUNDS else np.inf)
        if len(new.points) == 0:
            return _finished(tree, samples, triangles, facets_around)
        samples = samples + new
        delaunay.add_points(new.points)
    raise ComputationError(
        f"the phantom's surface is not a manifold after {_ROUNDS} refinements near "
        f"{np.round(new.points[:3], 2).tolist()} mm; try another seed or more facets_around"
    )


def _spacing(radius: Array | float, facets_around: int) -> Array:
    return np.asarray(2.0 * np.pi * np.asarray(radius) / facets_around)


def _frames(path: Path, s: Array) -> tuple[Array, Array, Array]:
    """Tangent and two perpendicular unit vectors at abscissae, turning as little as possible."""
    knots = path.knots
    t = path.spline(knots, 1)[:, :3]
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    e = np.empty_like(t)
    e[0] = np.cross(t[0], np.eye(3)[int(np.argmin(np.abs(t[0])))])
    for i in range(len(t) - 1):
        e[i + 1] = e[i] - (e[i] @ t[i + 1]) * t[i + 1]
        e[i + 1] /= np.linalg.norm(e[i + 1])
    tangent = path.spline(s, 1)[:, :3]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    e1 = np.column_stack([np.interp(s, knots, e[:, k]) for k in range(3)])
    e1 -= (e1 * tangent).sum(1, keepdims=True) * tangent
    e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
    return tangent, e1, np.cross(tangent, e1)


def _wall(tree: Tree, facets_around: int) -> _Samples:
    points, spacing = [], []
    for path in tree.paths:
        value = path.spline(path.knots)
        knots, radius = path.knots, value[:, 6]
        h = _spacing(radius, facets_around)
        slope = np.hypot(1.0, np.gradient(radius, knots))
        density = 2 * np.pi * radius * slope / (np.sqrt(0.75) * h**2)
        count = np.concatenate(
            [[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(knots))]
        )
        number = np.arange(int(count[-1]))
        s = np.interp(number + 0.5, count, knots)
        room = 0.75 * np.interp(s, knots, h)
        s = s[
            (s < path.end - room)
            & ((not path.open_start) | (s > path.start + room))
            & (s > knots[0] + 1e-9)
        ]
        number = np.round(np.interp(s, knots, count) - 0.5)
        _, e1, e2 = _frames(path, s)
        angle = (number * GOLDEN_ANGLE)[:, None]
        value = path.spline(s)
        disc = np.cos(angle) * e1 + np.sin(angle) * e2
        points.append(value[:, :3] + value[:, 3:6] + value[:, 6:] * disc)
        spacing.append(_spacing(value[:, 6], facets_around))
    x, h = np.concatenate(points), np.concatenate(spacing)
    deepest = max(tree.blend_width(path) for path in tree.paths) / 6.0
    on_wall = tree.signed_distance(x, cut=False) > -1.01 * deepest
    x, h = x[on_wall], h[on_wall]
    moved = tree.project(x)
    true = np.abs(tree.signed_distance(moved)) < 1e-7
    return _Samples(moved[true], h[true], np.zeros(int(true.sum()), np.int64))


def _caps(tree: Tree, facets_around: int) -> _Samples:
    points, spacing, cap = [], [], []
    for number, end in enumerate(tree.ends, start=1):
        centre, normal, r = np.array(end.centre_mm), np.array(end.normal), end.radius_mm
        e1 = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
        e1 /= np.linalg.norm(e1)
        e2 = np.cross(normal, e1)
        h = float(_spacing(r, facets_around))
        around = 2 * np.pi * np.arange(facets_around) / facets_around
        inside = np.arange(int(np.pi * (r - 0.35 * h) ** 2 / (np.sqrt(0.75) * h**2)))
        radial = np.sqrt((inside + 0.5) * np.sqrt(0.75) * h**2 / np.pi)
        inside, radial = inside[radial < r - 0.6 * h], radial[radial < r - 0.6 * h]
        rho = np.concatenate([np.full(facets_around, r), radial])[:, None]
        phi = np.concatenate([around, inside * GOLDEN_ANGLE])[:, None]
        points.append(centre + rho * (np.cos(phi) * e1 + np.sin(phi) * e2))
        spacing.append(np.full(len(rho), h))
        cap.append(np.where(np.arange(len(rho)) < facets_around, -number, number))
    return _Samples(np.concatenate(points), np.concatenate(spacing), np.concatenate(cap))


def _thinned(samples: _Samples) -> _Samples:
    """Drop later samples too close to earlier ones, in order (caps come first)."""
    keep = np.ones(len(samples.points), np.bool_)
    near = cKDTree(samples.points)
    reach = _CLOSEST * float(samples.spacing.max())
    pairs = near.query_pairs(reach, output_type="ndarray")
    gap = np.linalg.norm(samples.points[pairs[:, 0]] - samples.points[pairs[:, 1]], axis=1)
    close = gap < _CLOSEST * np.minimum(samples.spacing[pairs[:, 0]], samples.spacing[pairs[:, 1]])
    close &= samples.cap[pairs].min(axis=1) >= 0  # rims stay whole
    pairs = pairs[close]
    pairs = np.sort(pairs[samples.cap[pairs].max(axis=1) <= 0], axis=1)
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
        if keep[first]:
            keep[second] = False
    return samples.take(keep)


def _restricted(tree: Tree, samples: _Samples, mesh: Delaunay) -> Ints:
    """Faces between inside and outside tetrahedra, oriented outward, ``(m, 3)``."""
    points, tets, neighbours = samples.points, mesh.simplices.astype(np.int64), mesh.neighbors
    inside = _inside(tree, points, tets)
    doubtful = _in_a_corner(samples.cap[tets])
    inside[doubtful] = tree.signed_distance(points[tets[doubtful]].mean(axis=1)) < 0.0
    other = np.where(neighbours >= 0, inside[neighbours], False)
    cell, corner = np.nonzero(inside[:, None] & ~other)
    faces = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])[corner]
    triangles = tets[cell[:, None], faces]
    a, b, c = (points[triangles[:, k]] for k in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), points[tets[cell, corner]] - a) > 0.0
    triangles[inward] = triangles[inward][:, [0, 2, 1]]
    return np.asarray(triangles)


def _in_a_corner(cap: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tetrahedra that join the inside of a cap, its rim and the wall, from the marks of their vertices ``(m, 4)``.

    Where samples are closer on the wall than on the cap, their circumcentres lie outside, beyond the rim.
    """
    number = np.abs(cap).max(axis=1)
    mixed = (cap > 0).any(axis=1) & (cap < 0).any(axis=1)
    own = (np.abs(cap) == number[:, None]) | (cap == 0)
    return np.asarray(mixed & (cap == 0).any(axis=1) & own.all(axis=1))


def _inside(tree: Tree, points: Array, tets: Ints) -> npt.NDArray[np.bool_]:
    """Whether the circumcentre of each tetrahedron lies in the lumen."""
    a = points[tets[:, 0]]
    edges = points[tets[:, 1:]] - a[:, None]
    volume = np.linalg.det(edges)
    square = (edges**2).sum(-1)
    scale = square.max(axis=1) ** 1.5
    flat = np.abs(volume) < 1e-12 * scale  # no circumcentre: decided by its own depth below
    rhs = (
        square[:, :1] * np.cross(edges[:, 1], edges[:, 2])
        + square[:, 1:2] * np.cross(edges[:, 2], edges[:, 0])
        + square[:, 2:] * np.cross(edges[:, 0], edges[:, 1])
    )
    centre = a + rhs / (2.0 * np.where(flat, 1.0, volume))[:, None]
    centre = np.where(flat[:, None], points[tets].mean(axis=1), centre)
    low, high = points.min(axis=0), points.max(axis=0)
    near = ((centre > low) & (centre < high)).all(axis=1)
    inside = np.zeros(len(tets), np.bool_)
    depth = np.where(flat, 0.1 * np.sqrt(square.min(axis=1)), 0.0)
    inside[near] = tree.signed_distance(centre[near]) < -depth[near]
    return inside


def _refinement(tree: Tree, samples: _Samples, triangles: Ints, sag: float) -> _Samples:
    """New samples where the surface is no manifold or too far from the wall."""
    bad = bad_vertices(triangles, len(samples.points))
    wall = (samples.cap[triangles] <= 0).all(axis=1) & (samples.cap[triangles].max(axis=1) == 0)
    middle = samples.points[triangles].mean(axis=1)
    h = samples.spacing[triangles].min(axis=1)
    far = wall & (np.abs(tree.signed_distance(middle)) > sag * h)
    far |= wall & bad[triangles].any(axis=1)
    if not far.any():
        if bad.any():
            raise ComputationError(
                "a cap of the phantom does not close; this is a fault of the generator"
            )
        return samples.take(np.zeros(len(samples.points), np.bool_))
    x, h = tree.project(middle[far]), 0.75 * h[far]
    fresh = _Samples(x, h, np.zeros(len(x), np.int64))
    on_wall = np.abs(tree.signed_distance(x)) < 1e-7
    apart = cKDTree(samples.points).query(x)[0] > 0.25 * h
    return _thinned(fresh.take(on_wall & apart))


def bad_vertices(triangles: Ints, n: int) -> npt.NDArray[np.bool_]:
    """Vertices on an edge with other than two triangles, or where several fans of triangles meet, ``(n,)``."""
    bad = np.zeros(n, np.bool_)
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    bad[unique[count != 2].ravel()] = True
    valence = np.bincount(triangles.ravel(), minlength=n)
    order = np.argsort(triangles.ravel(), kind="stable")
    first = np.concatenate([[0], np.cumsum(valence)])
    # one fan: following the opposite edges around the vertex comes back after `valence` steps
    following = np.concatenate([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]])
    starts = following.reshape(3, -1, 2).transpose(1, 0, 2).reshape(-1, 2)[order]
    for v in np.flatnonzero((valence > 5) & ~bad):
        ring = dict(starts[first[v] : first[v + 1]].tolist())
        here = start = next(iter(ring))
        steps = 0
        while steps <= len(ring):
            here, steps = ring.get(here, start), steps + 1
            if here == start:
                break
        bad[v] = steps != valence[v]
    return bad


def _finished(tree: Tree, samples: _Samples, triangles: Ints, facets_around: int) -> TriangleMesh:
    corner = samples.cap[triangles]
    number = np.abs(corner).max(axis=1)
    flat = (corner != 0).all(axis=1) & (np.abs(corner) == number[:, None]).all(axis=1)
    mesh = TriangleMesh.of(samples.points, triangles, np.where(flat, number, 0).astype(np.int32))
    polygon = facets_around / 2 * np.sin(2 * np.pi / facets_around)  # of radius one
    for patch, end in enumerate(tree.ends, start=1):
        lost = 1.0 - mesh.areas[mesh.cap == patch].sum() / (polygon * end.radius_mm**2)
        if abs(lost) > 1e-9:
            raise ComputationError(
                f"the flat end {end.name!r} of the phantom at {np.round(end.centre_mm, 2).tolist()} mm lacks "
                f"{lost:.1%} of its area; try more facets_around or a lesion farther from the end"
            )
    return mesh.compact()
