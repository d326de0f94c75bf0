"""How triangles hang together: edges, bodies, boundary loops, orientation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.surface.mesh import Floats, Ints, TriangleMesh

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Edges:
    """The undirected edges of a mesh.

    Attributes:
        ends: Vertices, smaller first, ``(e, 2)``.
        of_cell: Edge of each triangle side (01, 12, 20), ``(m, 3)``.
        count: Number of triangles on each, ``(e,)``.
    """

    ends: Ints
    of_cell: Ints
    count: Ints

    @classmethod
    def of(cls, triangles: Ints) -> Edges:
        """Number the edges."""
        sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
        ends, which, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
        return cls(ends, which.reshape(-1, 3), count)

    def pairs(self) -> Ints:
        """The two sides that meet on each edge of exactly two triangles, ``(p, 2)``; side = 3 cell + k."""
        order = np.argsort(self.of_cell.ravel(), kind="stable")
        first = np.searchsorted(self.of_cell.ravel()[order], np.flatnonzero(self.count == 2))
        return np.column_stack([order[first], order[first + 1]])


def merged(mesh: TriangleMesh, tolerance: float) -> TriangleMesh:
    """Points closer than a tolerance become one (the first of them)."""
    exact, first, inverse = np.unique(mesh.points, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    points, triangles = exact[order], rank[inverse.ravel()][mesh.triangles]
    pairs = cKDTree(points).query_pairs(tolerance, output_type="ndarray")
    if len(pairs):
        n = len(points)
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        label = connected_components(graph, directed=False)[1]
        leader = np.full(label.max() + 1, n)
        np.minimum.at(leader, label, np.arange(n))
        triangles = leader[label][triangles]
    return TriangleMesh(points, triangles, mesh.cap)


def without_doubles(mesh: TriangleMesh) -> tuple[TriangleMesh, int, int]:
    """Without triangles that name a point twice, and without repeated ones; how many of each."""
    t = np.sort(mesh.triangles, axis=1)
    collapsed = (t[:, 0] == t[:, 1]) | (t[:, 1] == t[:, 2])
    keep = np.zeros(len(t), np.bool_)
    keep[np.unique(t, axis=0, return_index=True)[1]] = True
    repeated = int((~keep & ~collapsed).sum())
    return mesh.keep(keep & ~collapsed), int(collapsed.sum()), repeated


def bodies(mesh: TriangleMesh) -> Ints:
    """Number of the connected part (through shared points) of each triangle, ``(m,)``."""
    n, t = len(mesh.points), mesh.triangles
    graph = coo_matrix(
        (
            np.ones(2 * len(t)),
            (np.concatenate([t[:, 0], t[:, 1]]), np.concatenate([t[:, 1], t[:, 2]])),
        ),
        shape=(n, n),
    )
    label = connected_components(graph, directed=False)[1]
    return np.asarray(label[t[:, 0]], dtype=np.int64)


def boundary_loops(mesh: TriangleMesh) -> list[Ints]:
    """Closed loops of boundary edges, each running along its triangles' direction.

    Where several loops meet in a point, they are split there.
    """
    edges = Edges.of(mesh.triangles)
    on_rim = edges.count[edges.of_cell] == 1
    sides = mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]][on_rim]
    following: dict[int, list[int]] = defaultdict(list)
    for a, b in sides[np.lexsort((sides[:, 1], sides[:, 0]))].tolist():
        following[a].append(b)
    loops = []
    for start in sorted(following):
        while following[start]:
            loops += _walk(following, start)
    return [np.array(loop, dtype=np.int64) for loop in loops]


def _walk(following: dict[int, list[int]], start: int) -> list[list[int]]:
    """Follow edges from a point until it comes back; a point met twice closes a loop of its own."""
    path, done = [start], []
    while following[path[-1]]:
        nxt = following[path[-1]].pop(0)
        if nxt in path:
            at = path.index(nxt)
            done.append(path[at:])
            path = path[: at + 1]
            if not path or (len(path) == 1 and not following[path[0]]):
                break
        else:
            path.append(nxt)
    return done


def oriented(mesh: TriangleMesh) -> tuple[TriangleMesh, int, Flags]:
    """Turn triangles so that neighbours agree and bodies have their normals outward.

    Returns:
        The mesh, how many triangles were turned, and the triangles of one-sided bodies (Moebius strips),
        which cannot be oriented.
    """
    t, m = mesh.triangles, len(mesh.triangles)
    sides = Edges.of(t).pairs()
    forward = (t < np.roll(t, -1, axis=1)).ravel()
    clash = forward[sides[:, 0]] == forward[sides[:, 1]]
    a, b = (sides // 3).T
    # Double cover: node c is triangle c as it stands, node m + c the turned one.
    ends = np.concatenate([b + m * clash, b + m * ~clash])
    graph = coo_matrix(
        (np.ones(2 * len(a)), (np.concatenate([a, a + m]), ends)), shape=(2 * m, 2 * m)
    )
    label = connected_components(graph, directed=False)[1]
    body = np.minimum(label[:m], label[m:])
    flip = label[:m] != body
    turned = TriangleMesh(mesh.points, np.where(flip[:, None], t[:, ::-1], t), mesh.cap)
    inward = _signed_volumes(turned, body) < 0.0
    flip ^= inward[body]
    done = TriangleMesh(mesh.points, np.where(flip[:, None], t[:, ::-1], t), mesh.cap)
    return done, int(flip.sum()), label[:m] == label[m:]


def _signed_volumes(mesh: TriangleMesh, body: Ints) -> Floats:
    """Volume of each body, positive with normals outward; open loops closed by fans, ``(max + 1,)``."""
    owner = np.zeros(len(mesh.points), np.int64)
    owner[mesh.triangles.ravel()] = np.repeat(body, 3)
    corners, of = [mesh.corners], [body]
    for loop in boundary_loops(mesh):
        a, b = mesh.points[np.roll(loop, -1)], mesh.points[loop]
        corners.append(np.stack([a, b, np.broadcast_to(b.mean(axis=0), b.shape)], axis=1))
        of.append(np.full(len(loop), owner[loop[0]]))
    c, number = np.concatenate(corners) - mesh.points.mean(axis=0), np.concatenate(of)
    six = np.einsum("ij,ij->i", c[:, 0], np.cross(c[:, 1], c[:, 2]))
    return np.bincount(number, six / 6.0, minlength=int(body.max()) + 1)


def split_pinches(mesh: TriangleMesh) -> tuple[TriangleMesh, int]:
    """Give each fan of triangles at a point its own copy of it; how many copies were made.

    A point where two sheets touch is no manifold; the copies let each sheet be one.
    """
    m = len(mesh.triangles)
    edges = Edges.of(mesh.triangles)
    sides = edges.pairs()
    cell = sides // 3
    corner, n = np.arange(3 * m).reshape(-1, 3), 3 * m
    links = []
    for end in (0, 1):  # the corners of two neighbours at each end of their edge belong together
        vertex = edges.ends[edges.of_cell.ravel()[sides[:, 0]], end]
        links.append(
            np.column_stack(
                [
                    corner[
                        cell[:, j], np.argmax(mesh.triangles[cell[:, j]] == vertex[:, None], axis=1)
                    ]
                    for j in (0, 1)
                ]
            )
        )
    joined = np.concatenate(links)
    graph = coo_matrix((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(n, n))
    count, fan = connected_components(graph, directed=False)
    point = np.zeros(count, np.int64)
    point[fan] = mesh.triangles.ravel()
    copies = count - len(np.unique(mesh.triangles))
    if copies == 0:
        return mesh, 0
    out = TriangleMesh(mesh.points[point], fan.reshape(-1, 3).astype(np.int64), mesh.cap)
    return out, int(copies)
