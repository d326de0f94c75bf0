"""Mending what goes wrong in exported surfaces, place by place; each repair is reported, each refusal located."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshing.errors import InputError
from pipeline.surface.crossing import crossing_triangles
from pipeline.surface.loops import SMALL_HOLE_EDGES, Loop, filled, find_loops
from pipeline.surface.mesh import Floats, TriangleMesh
from pipeline.surface.topology import (
    Edges,
    Flags,
    bodies,
    merged,
    oriented,
    split_pinches,
    without_doubles,
)
from pipeline.surface.voxels import COMPARABLE

_LOCAL = 0.02  # part of the triangles that a local repair may replace
_PART = 0.2  # of the way to its neighbours, by which a point leaves another sheet
_MAX_FILL = 80  # edges of a loop closed after a local repair


@dataclass
class Record:
    """What was done to a surface.

    Attributes:
        source: The file, for errors.
        repair: Whether repairs are allowed; otherwise the first fault is refused.
        repairs: A line for each repair.
        dropped: A line for each body left out.
    """

    source: Path
    repair: bool = True
    repairs: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def note(self, line: str, count: int = 1) -> None:
        """Record a repair, or refuse it where repairs are switched off."""
        if count == 0:
            return
        if not self.repair:
            raise self.refusal(
                "a clean surface", f"one that needs repair: {line}", "set surface.repair: true"
            )
        self.repairs.append(line)

    def refusal(self, wanted: str, got: str, remedy: str) -> InputError:
        """The error that names the file."""
        return InputError(file=self.source, wanted=wanted, got=got, remedy=remedy)


def at(points: Floats, limit: int = 3) -> str:
    """Coordinates for a message."""
    shown = ", ".join(f"({x:.2f}, {y:.2f}, {z:.2f})" for x, y, z in points[:limit])
    return f"{shown}{', ...' if len(points) > limit else ''} mm"


def weld(mesh: TriangleMesh, record: Record) -> TriangleMesh:
    """Merge duplicate points; drop collapsed, repeated and zero-area triangles."""
    size = float(np.linalg.norm(np.ptp(mesh.points, axis=0)))
    mesh, collapsed, repeated = without_doubles(merged(mesh, 1e-6 * size))
    record.note(f"dropped {collapsed} triangles without area", collapsed)
    record.note(f"dropped {repeated} repeated triangles", repeated)
    mesh, flipped = _without_needles(mesh.compact())
    record.note(f"removed {flipped} flat triangles by turning edges", flipped)
    return mesh


def _without_needles(mesh: TriangleMesh) -> tuple[TriangleMesh, int]:
    """Turn the longest edge of triangles whose corners lie on a line; how many."""
    triangles, done = mesh.triangles.copy(), 0
    for _ in range(5):
        corners = mesh.points[triangles]
        sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        area = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        flat = np.flatnonzero(area < 1e-6 * sides.max(axis=1) ** 2)
        if len(flat) == 0:
            break
        edges = Edges.of(triangles)
        touched = np.zeros(len(triangles), np.bool_)
        for cell in flat.tolist():
            k = int(np.argmax(sides[cell]))
            others = np.argwhere(edges.of_cell == edges.of_cell[cell, k])
            if len(others) != 2 or touched[others[:, 0]].any():
                continue
            other, j = next((int(c), int(s)) for c, s in others if c != cell)
            a, b, tip = (int(triangles[cell, (k + i) % 3]) for i in range(3))
            far = int(triangles[other, (j + 2) % 3])
            triangles[cell], triangles[other] = (a, far, tip), (far, b, tip)
            touched[[cell, other]] = True
            done += 1
        if not touched.any():
            break
    return TriangleMesh(mesh.points, triangles, mesh.cap), done


def manifold(mesh: TriangleMesh, record: Record) -> TriangleMesh:
    """Make every edge have at most two triangles, every point one fan, and neighbours agree.

    Raises:
        InputError: More than a local fault, or a one-sided surface.
    """
    mesh = _without_flaps(mesh, record)
    edges = Edges.of(mesh.triangles)
    if (edges.count > 2).any():
        mesh = _without_knots(mesh, edges, record)
    mesh = _without_contacts(mesh, record)
    mesh, turned, one_sided = oriented(mesh)
    if one_sided.any():
        place = at(mesh.corners[one_sided].mean(axis=1))
        raise record.refusal(
            "a surface with an inside", f"a one-sided surface near {place}", "remodel it there"
        )
    everything_inward = turned == len(mesh.triangles)
    line = (
        "turned the whole surface inside out"
        if everything_inward
        else f"turned {turned} triangles round"
    )
    record.note(line, turned)
    return mesh


def _without_contacts(mesh: TriangleMesh, record: Record) -> TriangleMesh:
    """Part sheets that share a point: each gets its own, drawn a little towards its own neighbours."""
    apart, copies = split_pinches(mesh)
    if copies == 0:
        return mesh
    _, which, count = np.unique(apart.points, axis=0, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(count[which.ravel()] > 1)
    points = apart.points.copy()
    for vertex in shared:
        around = np.unique(apart.triangles[(apart.triangles == vertex).any(axis=1)])
        way = apart.points[around[around != vertex]].mean(axis=0) - apart.points[vertex]
        points[vertex] += _PART * way
    record.note(f"parted sheets that touched in {copies} points near {at(apart.points[shared])}")
    return TriangleMesh(points, apart.triangles, apart.cap)


def _without_flaps(mesh: TriangleMesh, record: Record) -> TriangleMesh:
    """Drop triangles that hang on an edge of three or more and end in the open."""
    dropped = 0
    while True:
        edges = Edges.of(mesh.triangles)
        count = edges.count[edges.of_cell]
        loose = (count > 2).any(axis=1) & (count == 1).any(axis=1)
        if not loose.any():
            break
        dropped += int(loose.sum())
        mesh = mesh.keep(~loose)
    record.note(f"dropped {dropped} triangles that hung on an edge of others", dropped)
    return mesh


def _without_knots(mesh: TriangleMesh, edges: Edges, record: Record) -> TriangleMesh:
    """Cut out the triangles on edges of three or more and close the gap."""
    bad = (edges.count[edges.of_cell] > 2).any(axis=1)
    place = at(mesh.corners[bad].mean(axis=1))
    out = _refilled(mesh, bad) if bad.sum() <= max(_LOCAL * len(bad), 12) else None
    if out is None:
        raise record.refusal(
            "edges of two triangles each (a manifold)",
            f"{int((edges.count > 2).sum())} non-manifold edges near {place}",
            "remove inner walls and doubled parts there",
        )
    record.note(f"rebuilt {int(bad.sum())} triangles around non-manifold edges near {place}")
    return out


def _refilled(mesh: TriangleMesh, bad: Flags) -> TriangleMesh | None:
    """The surface with triangles cut out and the new gaps closed; None where that leaves a fault."""
    open_before = _rim_points(mesh)
    rest, _ = split_pinches(mesh.keep(~bad))
    rest = _without_crumbs(rest, mesh.points[mesh.triangles[bad]])
    rest, _, one_sided = oriented(rest)
    if one_sided.any():
        return None
    for loop in _new_loops(rest, open_before):
        if len(loop.vertices) > _MAX_FILL:
            return None
        rest = filled(rest, loop.vertices)
    rest, _, _ = without_doubles(rest)
    whole = (Edges.of(rest.triangles).count <= 2).all() and not _new_loops(rest, open_before)
    return rest.compact() if whole else None


def _without_crumbs(rest: TriangleMesh, cut: Floats) -> TriangleMesh:
    """Drop what is left in the middle of a cut: bodies all of whose points were ``(n, 3, 3)`` corners of it."""
    gone = {tuple(p) for p in cut.reshape(-1, 3).tolist()}
    inner = np.array([tuple(p) in gone for p in rest.points.tolist()])[rest.triangles].all(axis=1)
    body = bodies(rest)
    lost = np.bincount(body, ~inner, minlength=int(body.max(initial=-1)) + 1) == 0
    return rest.keep(~lost[body])


def _new_loops(mesh: TriangleMesh, open_before: set[tuple[float, ...]]) -> list[Loop]:
    loops = find_loops(mesh)
    return [
        loop
        for loop in loops
        if not {tuple(p) for p in mesh.points[loop.vertices].tolist()} <= open_before
    ]


def _rim_points(mesh: TriangleMesh) -> set[tuple[float, ...]]:
    edges = Edges.of(mesh.triangles)
    return {tuple(p) for p in mesh.points[np.unique(edges.ends[edges.count == 1])].tolist()}


def one_body(mesh: TriangleMesh, keep: str, record: Record) -> TriangleMesh:
    """Keep the largest body; small ones are dropped and reported.

    Raises:
        InputError: Bodies of comparable size (they may cross: then that is said), or any second body
            where ``keep`` is ``"error"``.
    """
    body = bodies(mesh)
    count = int(body.max()) + 1
    if count == 1:
        return mesh
    size = np.array([abs(mesh.keep(body == k).volume) for k in range(count)])
    area = np.bincount(body, mesh.areas, minlength=count)
    order = np.lexsort((-area, -size))
    lines = [_body_line(mesh, body == k, float(size[k])) for k in order[:6]]
    limit = 0.0 if keep == "error" else COMPARABLE
    alike = (size[order] >= limit * size[order[0]]) & (area[order] >= limit * area[order[0]])
    if int(alike.sum()) > 1:
        kept = mesh.keep(np.isin(body, order[alike]))
        _refuse_crossing(kept, record, "separate bodies that")
        raise record.refusal(
            "one connected lumen",
            f"{int(alike.sum())} bodies: {'; '.join(lines[: min(int(alike.sum()), 4)])}",
            "give one coronary tree a run; join its parts or remove the others",
        )
    record.dropped += lines[1:] + ([f"and {count - 6} smaller ones"] if count > 6 else [])
    return mesh.keep(body == order[0])


def _body_line(mesh: TriangleMesh, cells: Flags, volume: float) -> str:
    centre = mesh.corners[cells].mean(axis=(0, 1))
    return f"{volume:.4g} mm3 ({int(cells.sum())} triangles) near {at(centre[None])}"


def close_holes(mesh: TriangleMesh, record: Record) -> tuple[TriangleMesh, list[Loop]]:
    """Fill small holes in the wall; the vessel ends stay open.

    Returns:
        The surface and its open vessel ends.

    Raises:
        InputError: A hole in the wall that is neither a vessel end nor small.
    """
    loops = find_loops(mesh)
    holes = [loop for loop in loops if not loop.is_end]
    large = [loop for loop in holes if len(loop.vertices) > SMALL_HOLE_EDGES]
    if large:
        raise record.refusal(
            "a wall without holes (flat vessel ends may be open)",
            f"{len(large)} hole{'s' if len(large) > 1 else ''} in the wall: {'; '.join(map(str, large[:3]))}",
            "close it in the program that made the surface, or cut the vessel end flat across",
        )
    for loop in holes:
        record.note(f"filled a hole in the wall: {loop}")
        mesh = filled(mesh, loop.vertices)
    return mesh, [loop for loop in find_loops(mesh) if loop.is_end]


def uncross(mesh: TriangleMesh, record: Record) -> TriangleMesh:
    """Rebuild the wall where it passes through itself in a small place.

    Raises:
        InputError: The crossing is large or stays.
    """
    pairs, points = crossing_triangles(mesh)
    for rings in range(1, 4):
        if len(pairs) == 0:
            return mesh
        bad = _grown(mesh, np.unique(pairs), rings)
        if bad.sum() > max(_LOCAL * len(bad), 60) or not record.repair:
            break
        out = _refilled(mesh, bad)
        if out is None:
            continue
        if len(crossing_triangles(out)[0]) == 0 and abs(out.volume - mesh.volume) < 0.01 * abs(
            mesh.volume
        ):
            record.note(
                f"rebuilt {int(bad.sum())} triangles where the wall crossed itself near {at(points)}"
            )
            return out
    _refuse_crossing(mesh, record, "a wall that")
    return mesh


def _grown(
    mesh: TriangleMesh, cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]], rings: int
) -> Flags:
    bad = np.zeros(len(mesh.triangles), np.bool_)
    bad[cells] = True
    for _ in range(rings):
        touched = np.zeros(len(mesh.points), np.bool_)
        touched[mesh.triangles[bad].ravel()] = True
        bad = touched[mesh.triangles].any(axis=1)
    return bad


def _refuse_crossing(mesh: TriangleMesh, record: Record, what: str) -> None:
    pairs, points = crossing_triangles(mesh)
    if len(pairs):
        raise record.refusal(
            "a surface that does not intersect itself",
            f"{what} intersect{'s' if what.endswith('wall that') else ''} near {at(points)} "
            f"({len(pairs)} pairs of triangles)",
            "separate or join the walls there in the program that made the surface",
        )
