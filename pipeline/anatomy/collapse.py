"""Collapse the short edges that a cut leaves along its rim, topology and orientation kept."""

from __future__ import annotations

import numpy as np

from pipeline.anatomy.surface import Flags, Floats, Ints

_THIN = 0.02  # least height of a new triangle over its longest edge
_FLIP = 0.2  # least cosine between a triangle's normal before and after


class RimTidier:
    """Edge collapses of the triangles that touch one open rim."""

    def __init__(self, points: Floats, triangles: Ints, rim: Ints) -> None:
        """Index the triangles by vertex.

        Args:
            points: ``(n, 3)``; moved in place.
            triangles: ``(m, 3)``; changed in place.
            rim: Vertices of the open loop, in order.
        """
        self.points, self.triangles = points, triangles
        self.alive: Flags = np.ones(len(triangles), np.bool_)
        self.ring = rim.tolist()
        self._near: dict[int, set[int]] = {}
        ours = np.unique(triangles[np.isin(triangles, rim).any(axis=1)])
        self._ours = set(ours.tolist())  # vertices of which every triangle is indexed
        touched = np.isin(triangles, ours).any(axis=1)
        for cell in np.flatnonzero(touched).tolist():
            for vertex in triangles[cell].tolist():
                self._near.setdefault(vertex, set()).add(cell)

    def run(self, shortest: float) -> None:
        """Collapse edges at the rim that are shorter than `shortest` [mm], shortest first."""
        for _ in range(10 * len(self.ring)):
            edges = [edge for edge in self._rim_edges() if edge[0] < shortest]
            if not any(self._collapse(keep, gone) for _, keep, gone in sorted(edges)):
                return

    def _rim_edges(self) -> list[tuple[float, int, int]]:
        """Length, vertex to keep, vertex to remove of every edge with an end on the rim."""
        on_rim = set(self.ring)
        following = dict(zip(self.ring, [*self.ring[1:], self.ring[0]], strict=True))
        edges = []
        for a in self.ring:
            for b in self._around(a):
                if b not in on_rim or following[a] == b:
                    length = float(np.linalg.norm(self.points[a] - self.points[b]))
                    edges.append((length, a, b))
        return edges

    def _around(self, vertex: int) -> set[int]:
        cells = list(self._near[vertex])
        return set(self.triangles[cells].ravel().tolist()) - {vertex}

    def _collapse(self, keep: int, gone: int) -> bool:
        """Merge `gone` into `keep` unless that would fold the surface or change its topology."""
        if gone not in self._ours or keep not in self._near or gone not in self._near:
            return False
        shared = self._near[keep] & self._near[gone]
        if len(self._around(keep) & self._around(gone)) != len(shared) or len(self.ring) <= 6:
            return False
        both_on_rim = gone in self.ring
        place = self.points[keep].copy()
        if both_on_rim:
            place = 0.5 * (place + self.points[gone])
        if not self._sound(keep, gone, place, shared):
            return False
        self.points[keep] = place
        self._rename(keep, gone, shared)
        if both_on_rim:
            self.ring.remove(gone)
        return True

    def _rename(self, keep: int, gone: int, shared: set[int]) -> None:
        """Give the triangles of `gone` to `keep`; those that have both end."""
        moved = self._near.pop(gone)
        for cell in moved:
            if cell in shared:
                self.alive[cell] = False
                for vertex in self.triangles[cell].tolist():
                    self._near.get(vertex, set()).discard(cell)
            else:
                corners = self.triangles[cell]
                corners[corners == gone] = keep
                self._near[keep].add(cell)

    def _sound(self, keep: int, gone: int, place: Floats, shared: set[int]) -> bool:
        cells = np.array(sorted((self._near[keep] | self._near[gone]) - shared), dtype=np.int64)
        if len(cells) == 0:
            return False
        before = self.points[self.triangles[cells]]
        after = before.copy()
        after[(self.triangles[cells] == keep) | (self.triangles[cells] == gone)] = place
        old, new = _normals(before), _normals(after)
        sizes = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        # a triangle with no area of its own has no say
        flat = np.linalg.norm(old, axis=1) < 1e-3 * np.linalg.norm(old, axis=1).max()
        turned = (np.einsum("ij,ij->i", old, new) < _FLIP * sizes) & ~flat
        old_shape, new_shape = _slenderness(before), _slenderness(after)
        thin = (new_shape < _THIN) & (new_shape < 0.7 * old_shape)
        return not bool((turned | thin).any())


def _slenderness(corners: Floats) -> Floats:
    """Height over longest edge of triangles, ``(m,)``."""
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).max(axis=1)
    twice = np.linalg.norm(_normals(corners), axis=1)
    return np.asarray(twice / np.maximum(longest, 1e-300) ** 2)


def _normals(corners: Floats) -> Floats:
    return np.asarray(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
