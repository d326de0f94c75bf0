r"""Sections along the vessel as a coarse space: for the long pressure wave, which incomplete factors do not carry.

The vessel is cut into sections, about three cells long, by distance from the inlet, each branch by itself. Smoothed
indicators $\chi_k$ of the sections (they add up to one) make two coarse unknowns each: a pressure $\chi_k$ and a flow
$\chi_k u_0$, with $u_0$ a velocity that vanishes at the walls and runs along the vessel. With the Galerkin operator
$Z^T A Z$ that is a network of one-dimensional vessels, joined where the lumen is. It serves linear elements whose
factors would be too large; quadratic ones have the linear ones (`solver.coarse`). Why: docs/decisions/
0016-incomplete-factors.md.

Reference:
    Nicolaides (1987), SIAM J. Numer. Anal. 24, 355-365, https://doi.org/10.1137/0724027 (deflation by subdomains);
    Vanek, Mandel & Brezina (1996), Computing 56, 179-196, https://doi.org/10.1007/BF02238511 (smoothed aggregates).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.sparse.csgraph import connected_components, dijkstra

from solver.engine import MPI
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
LENGTH, SMOOTHING = 2.75, 2
"""Of a section, in mean edges; how many times its indicator is averaged over neighbours, to fall over half of that."""
KEPT = 4
"""Sections a node belongs to, at most."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a mesh, the same on every rank.

    Attributes:
        index: Sections of each node (global number), ``(n, KEPT)``.
        weight: How much the node belongs to each, rows sum to one, ``(n, KEPT)``.
        near: The section of each colour whose unknowns a section sees; -1 where there is none, ``(K, C)``.
        colour: Of each section: those of one colour are seen by no section in common, ``(K,)``.
    """

    index: Indices
    weight: Array
    near: Indices
    colour: Indices


def cut(system: FlowSystem) -> Sections:
    """Cut the vessel of a system of linear elements into sections (collective)."""
    space, comm = system.space, system.comm
    numbers = space.V.dofmap.index_map
    everyone = np.arange(numbers.size_local + numbers.num_ghosts, dtype=np.int32)
    to_global = np.asarray(numbers.local_to_global(everyone))
    owned_cells = system.mesh.mesh.topology.index_map(3).size_local
    inlet = space.nodes_on(system.mesh.facets(system.inlet))
    mine = (
        to_global[space.V.dofmap.list[:owned_cells]],
        space.V.tabulate_dof_coordinates()[: numbers.size_local],
        to_global[inlet],
    )
    pieces, made = comm.gather(mine, root=0), None
    if pieces is not None:
        cells, points, start = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        made = _cut(cells, points, np.unique(start))
    result: Sections = comm.bcast(made, root=0)
    return result


def _cut(cells: Indices, points: Array, start: Indices) -> Sections:
    n = len(points)
    low, high = np.sort([cells[:, [a, b]] for a in range(4) for b in range(a)], axis=2).T
    ends = np.ones(low.size, dtype=bool), (low.ravel(), high.ravel())
    met = coo_array(ends, shape=(n, n)).tocsr()  # each edge once
    pairs = np.stack(met.nonzero(), axis=1).astype(np.int64)
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    edges = coo_array((length, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    away = dijkstra(edges, directed=False, indices=start, min_only=True)
    away[~np.isfinite(away)] = 0.0
    level = np.floor(away / (LENGTH * length.mean())).astype(np.int64)
    inside = level[pairs[:, 0]] == level[pairs[:, 1]]
    links = coo_array((np.ones(inside.sum()), (pairs[inside, 0], pairs[inside, 1])), shape=(n, n))
    count, found = connected_components(links, directed=False)
    section = np.asarray(found, dtype=np.int64)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    graph = csr_array(graph + graph.T + eye_array(n))
    index, weight = _smoothed(graph, section, count)
    rows = np.repeat(np.arange(n), KEPT)
    W = coo_array((weight.ravel(), (rows, index.ravel())), shape=(n, count)).tocsr()
    W.eliminate_zeros()
    pattern = W.astype(bool)
    seen = csr_array(pattern.T @ (graph.astype(bool) @ pattern)).astype(bool)
    colour = _coloured(csr_array(seen @ seen))
    near = np.full((count, int(colour.max()) + 1), -1)
    row, column = seen.nonzero()
    near[row, colour[column]] = column
    return Sections(index, weight, near, colour)


def _smoothed(graph: csr_array, section: Indices, count: int) -> tuple[Indices, Array]:
    """Indicators of the sections, averaged over neighbours."""
    n = len(section)
    mean = csr_array(graph.multiply(1.0 / graph.sum(axis=1)[:, None]))
    W = coo_array((np.ones(n), (np.arange(n), section)), shape=(n, count)).tocsr()
    for _ in range(SMOOTHING):
        W = csr_array(mean @ W)
    index, weight = np.zeros((n, KEPT), dtype=np.int64), np.zeros((n, KEPT))
    rows = np.repeat(np.arange(n), np.diff(W.indptr))
    order = np.lexsort((-W.data, rows))
    place = np.arange(W.nnz) - np.repeat(W.indptr[:-1], np.diff(W.indptr))
    keep = place < KEPT
    index[rows[keep], place[keep]] = W.indices[order][keep]
    weight[rows[keep], place[keep]] = W.data[order][keep]
    return index, weight / weight.sum(axis=1, keepdims=True)


def _coloured(conflicts: csr_array) -> Indices:
    """Greedy colours: two that conflict have different ones."""
    colour = np.full(conflicts.shape[0], -1)
    for k in range(conflicts.shape[0]):
        taken = set(colour[conflicts.indices[conflicts.indptr[k] : conflicts.indptr[k + 1]]])
        colour[k] = next(c for c in range(conflicts.shape[0]) if c not in taken)
    return colour


class SectionLevel:
    """The correction ``y = Z (Z^T A Z)^-1 Z^T x`` of a system of linear elements by its sections."""

    def __init__(self, system: FlowSystem, sections: Sections | None = None) -> None:
        """Cut the vessel (collective), if that has not been done."""
        self.system, self.sections = system, sections or cut(system)
        self.ready = self.regular = False  # a flow to follow; factors
        self.z, self.Az = system.A.createVecs()

    def follow(self, state: Array) -> None:
        """Take the velocity of a state (owned unknowns) as the flow along the vessel (collective)."""
        system, sections = self.system, self.sections
        space, count = system.space, len(sections.colour)
        numbers = space.V.dofmap.index_map
        own = np.arange(numbers.size_local, dtype=np.int32)
        index = sections.index[numbers.local_to_global(own)]
        weight = sections.weight[numbers.local_to_global(own)]
        flow = state[space.velocity[own]]
        largest = system.comm.allreduce(float(np.abs(flow).max(initial=0.0)), op=MPI.MAX)
        places, columns, values = [], [], []
        for k in range(KEPT):
            places.append(space.pressure[own])
            columns.append(index[:, k])
            values.append(weight[:, k])
            for c in range(3):
                places.append(space.velocity[own, c])
                columns.append(count + index[:, k])
                values.append(weight[:, k] * flow[:, c] / max(largest, 1e-300))
        data = np.concatenate(values), (np.concatenate(places), np.concatenate(columns))
        free = np.ones(space.owned)
        free[system.held] = 0.0
        Z = coo_array(data, shape=(space.owned, 2 * count)).tocsr()
        self.Z = csr_array(Z.multiply(free[:, None]))
        self.Z.eliminate_zeros()
        self.ZT = csr_array(self.Z.T)
        there = system.comm.allreduce(np.asarray(abs(self.ZT).sum(axis=1)))
        self.active = np.flatnonzero(there > 0.0)
        self.ready = True

    def factor(self) -> None:
        """The coarse operator of the system's present matrix, and its factors (collective)."""
        if not self.ready:
            return
        near, colour = self.sections.near, self.sections.colour
        count, told = len(colour), []
        for field in range(2):
            for c in range(near.shape[1]):
                unit = np.zeros(2 * count)
                unit[field * count : (field + 1) * count][colour == c] = 1.0
                self.z.array[:] = self.Z @ unit
                self.system.A.mult(self.z, self.Az)
                told.append(self.ZT @ self.Az.array_r)
        columns = self.system.comm.allreduce(np.array(told)).reshape(2, near.shape[1], 2, count)
        E = np.zeros((2 * count, 2 * count))
        for c in range(near.shape[1]):
            row = np.flatnonzero(near[:, c] >= 0)
            for field in range(2):
                column = field * count + near[row, c]
                E[row, column] = columns[field, c, 0, row]
                E[count + row, column] = columns[field, c, 1, row]
        self.operator = E
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)
            self.factors = lu_factor(E[np.ix_(self.active, self.active)], check_finite=False)
        self.regular = bool(np.isfinite(self.factors[0]).all() and np.diag(self.factors[0]).all())

    def correct(self, x: Any, y: Any, *, transposed: bool = False) -> None:  # noqa: ANN401
        """Put the correction of a residual ``x`` (or its transpose's) into ``y`` (PETSc vectors)."""
        if not self.regular:
            y.set(0.0)
            return
        b = self.system.comm.allreduce(self.ZT @ x.array_r)
        part = np.zeros_like(b)
        turned: Literal[0, 1] = 1 if transposed else 0
        part[self.active] = lu_solve(self.factors, b[self.active], trans=turned)
        y.array[:] = self.Z @ part

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        self.z.destroy()
        self.Az.destroy()
