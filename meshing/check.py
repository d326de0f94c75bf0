"""Refuses lumen surfaces that cannot be meshed, with the place."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meshing.errors import InputError
from meshing.locator import FacetLocator
from meshing.lumen import LumenSurface
from meshing.topology import TRIANGLE_EDGES, Floats, Ints, edge_keys, loops

_FIT = 1.7  # largest median ratio of wall distance and inscribed radius, either way
_FLAT = 0.05  # a cap vertex may lie off its plane by this share of the cap's radius


def check_surface(surface: LumenSurface) -> None:
    """Check that a lumen surface is closed, oriented outward and has flat, named caps.

    Raises:
        InputError: With the fault, its place in millimetres and the remedy.
    """
    _check_numbers(surface)
    _check_closed(surface.points, surface.triangles)
    _check_one_body(surface.points, surface.triangles)
    _check_caps(surface)
    _check_fit(surface)


def _refuse(wanted: str, got: str, remedy: str) -> InputError:
    return InputError(field="lumen surface", wanted=wanted, got=got, remedy=remedy)


def _check_numbers(surface: LumenSurface) -> None:
    if not np.isfinite(surface.points).all():
        raise _refuse("finite coordinates", "NaN or infinity", "repair the surface")
    radius = surface.radius
    if len(radius) == 0 or len(radius) != len(surface.centerline) or not np.all(radius > 0):
        raise _refuse(
            "a positive inscribed radius at every centreline point",
            f"{len(surface.centerline)} points, {np.sum(radius > 0)} positive radii",
            "compute the centrelines again",
        )
    before = surface.upstream
    if len(before) != len(radius) or not np.all(before < np.arange(len(radius))):
        raise _refuse(
            "centreline points from the inlet outwards, each with an earlier one upstream",
            f"{len(before)} links for {len(radius)} points",
            "compute the centrelines again",
        )


def _check_closed(points: Floats, triangles: Ints) -> None:
    directed = triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    keys, counts = np.unique(edge_keys(directed), return_counts=True)
    odd = keys[counts != 2]
    if len(odd):
        place = points[[int(odd[0]) >> 32, int(odd[0]) & 0xFFFFFFFF]].mean(axis=0)
        raise _refuse(
            "a closed surface, two triangles at every edge",
            f"{len(odd)} open or branching edges, one at {_mm(place)}",
            "close holes and remove inner or double triangles (surface repair)",
        )
    one_way, times = np.unique((directed[:, 0] << 32) | directed[:, 1], return_counts=True)
    if np.any(times > 1):
        place = points[int(one_way[times > 1][0]) >> 32]
        raise _refuse(
            "triangles oriented alike", f"flipped triangles near {_mm(place)}", "orient the normals"
        )
    a, b, c = (points[triangles[:, k]] for k in range(3))
    volume = float(np.einsum("kd,kd->", a, np.cross(b, c))) / 6
    if volume <= 0:
        raise _refuse("normals outward", f"volume {volume:.4g} mm^3", "flip all triangles")


def _check_one_body(points: Floats, triangles: Ints) -> None:
    """One body, and no two parts that touch in a single vertex only."""
    _, body = _connected(triangles[:, [0, 1]], triangles[:, [1, 2]], len(points))
    used = np.unique(triangles)
    bodies = np.unique(body[used])
    if len(bodies) > 1:
        sizes = [int(np.sum(body[triangles[:, 0]] == value)) for value in bodies]
        place = points[used[body[used] == bodies[int(np.argmin(sizes))]][0]]
        raise _refuse(
            "one body",
            f"{len(bodies)} bodies of {sizes} triangles, the smallest at {_mm(place)}",
            "keep one body and remove closed surfaces inside it",
        )
    corner = np.arange(triangles.size).reshape(-1, 3)
    ends = np.concatenate([triangles[:, [i, j]] for i, j in TRIANGLE_EDGES])
    own = np.concatenate([corner[:, [i, j]] for i, j in TRIANGLE_EDGES])
    swap = ends[:, 0] > ends[:, 1]
    own[swap] = own[swap][:, ::-1]
    order = np.argsort(edge_keys(ends), kind="stable").reshape(-1, 2)
    count, fan = _connected(own[order[:, 0]], own[order[:, 1]], triangles.size)
    if count > len(used):
        fans = np.unique(np.stack([triangles.ravel(), fan], axis=1), axis=0)[:, 0]
        place = points[int(fans[1:][fans[1:] == fans[:-1]][0])]
        raise _refuse(
            "a surface that nowhere touches itself in a point",
            f"{count - len(used)} such points, one at {_mm(place)}",
            "separate the parts there (surface repair)",
        )


def _connected(one: Ints, two: Ints, size: int) -> tuple[int, Ints]:
    """Components of the graph that joins ``one`` to ``two`` (any equal shapes)."""
    a, b = one.ravel(), two.ravel()
    graph = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    return int(count), np.asarray(label, dtype=np.int64)


def _check_fit(surface: LumenSurface) -> None:
    """The inscribed radii must be about the distances of the centreline points from the wall."""
    chosen = np.linspace(0, len(surface.radius) - 1, min(len(surface.radius), 400)).astype(int)
    wall = surface.triangles[surface.patch == 0]
    at = surface.centerline[chosen]
    triangle, weights = FacetLocator(surface.points, wall).closest(at)
    nearest = np.einsum("ki,kid->kd", weights, surface.points[wall[triangle]])
    ratio = float(np.median(np.linalg.norm(nearest - at, axis=1) / surface.radius[chosen]))
    if not 1 / _FIT < ratio < _FIT:
        raise _refuse(
            "centreline radii like the distances from the wall",
            f"distances {ratio:.2g} times the radii (median)",
            "use centrelines of this surface, in millimetres",
        )


def _check_caps(surface: LumenSurface) -> None:
    known = {0, *(cap.patch for cap in surface.caps)}
    found = set(np.unique(surface.patch).tolist())
    roles = [cap.role for cap in surface.caps]
    if found != known or roles.count("inlet") != 1 or "outlet" not in roles:
        raise _refuse(
            "a wall (0), one inlet and at least one outlet, each with triangles",
            f"patches {sorted(found)} for caps {sorted(known)} with roles {roles}",
            "name the vessel ends again",
        )
    directed = surface.triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    patch = np.repeat(surface.patch, 3)
    wall_keys = edge_keys(directed[patch == 0])
    for cap in surface.caps:
        own = directed[patch == cap.patch]
        _check_rim(surface.points, cap.name, own, own[np.isin(edge_keys(own), wall_keys)])


def _check_rim(points: Floats, name: str, own: Ints, rim: Ints) -> None:
    place = points[np.unique(own)].mean(axis=0)
    try:
        count = len(loops(rim))
    except ValueError:
        count = 0
    if count != 1 or len(rim) < 3:
        raise _refuse(
            f"cap {name!r} bounded by one closed rim",
            f"{count or 'a branching'} rim near {_mm(place)}",
            "cut this end again",
        )
    border = points[rim[:, 0]]
    centre = border.mean(axis=0)
    a, b = points[rim[:, 0]] - centre, points[rim[:, 1]] - centre
    normal = np.cross(a, b).sum(axis=0)
    normal = normal / max(float(np.linalg.norm(normal)), 1e-300)
    off = float(np.abs((points[np.unique(own)] - centre) @ normal).max())
    radius = float(np.linalg.norm(a, axis=1).mean())
    if off > _FLAT * radius:
        raise _refuse(
            f"cap {name!r} flat",
            f"vertices {off:.3g} mm off its plane (radius {radius:.3g} mm) near {_mm(place)}",
            "cut this end by a plane",
        )


def _mm(point: Floats) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in point) + ") mm"
