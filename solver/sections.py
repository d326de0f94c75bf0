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

from solver.engine import MPI
from solver.graph import Graph
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
LENGTH, SMOOTHING = 2.75, 2
"""Of a section, in mean edges; how many times its indicator is averaged over neighbours, to fall over half of that."""
KEPT = 4
"""Sections a node belongs to, at most."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a mesh.

    Attributes:
        index: Sections of each vertex of this rank, ``(m, KEPT)``.
        weight: How much the vertex belongs to each, rows sum to one, ``(m, KEPT)``.
        near: The section of each colour whose unknowns a section sees; -1 where there is none, ``(K, C)``; the same on
            every rank.
        colour: Of each section: those of one colour are seen by no section in common, ``(K,)``; likewise.
    """

    index: Indices
    weight: Array
    near: Indices
    colour: Indices


def cut(system: FlowSystem) -> Sections:
    """Cut the vessel of a system of linear elements into sections (collective)."""
    graph, start = _graph(system)
    away = graph.distances(start)
    away[~np.isfinite(away)] = 0.0
    level = np.floor(away / (LENGTH * graph.mean_length())).astype(np.int64)
    count, section = graph.components(level)
    index, weight = _smoothed(graph, section)
    seen = _seen(graph, index, weight, count)
    colour = _coloured(csr_array(seen @ seen))
    near = np.full((count, int(colour.max()) + 1), -1)
    row, column = seen.nonzero()
    near[row, colour[column]] = column
    return Sections(index, weight, near, colour)


def _graph(system: FlowSystem) -> tuple[Graph, npt.NDArray[np.bool_]]:
    """Edges of the mesh; which of this rank's vertices are on the inlet."""
    space, comm = system.space, system.comm
    numbers, cells = space.V.dofmap.index_map, space.V.dofmap.list
    everyone = np.arange(numbers.size_local + numbers.num_ghosts, dtype=np.int32)
    to_global = np.asarray(numbers.local_to_global(everyone), dtype=np.int64)
    low, high = np.sort([cells[:, [a, b]] for a in range(4) for b in range(a)], axis=2).T
    size = len(everyone)
    met = coo_array((np.ones(low.size, bool), (low.ravel(), high.ravel())), shape=(size, size))
    ends = np.stack(met.tocsr().nonzero(), axis=1).astype(np.int64)  # each edge once
    points = space.V.tabulate_dof_coordinates()
    lengths = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    first = np.array([*comm.allgather(numbers.local_range[0]), numbers.size_global])
    inlet = space.nodes_on(system.mesh.facets(system.inlet))
    start = np.zeros(numbers.size_local, dtype=bool)
    start[inlet[inlet < numbers.size_local]] = True
    return Graph.of(comm, first, to_global[ends], lengths), start


def _smoothed(graph: Graph, section: Indices) -> tuple[Indices, Array]:
    """Indicators of the sections, averaged over neighbours: the largest `KEPT` of each of this rank's vertices."""
    index, weight = section[:, None], np.ones((len(section), 1))
    m, n = graph.lengths.shape
    around = csr_array(graph.lengths.astype(bool).astype(float) + eye_array(m, n))
    mean = csr_array(around.multiply(1.0 / around.sum(axis=1)[:, None]))
    count = graph.comm.allreduce(int(section.max(initial=0)), op=MPI.MAX) + 1
    for _ in range(SMOOTHING):
        W = _table(index, weight, count)
        W = csr_array(mean @ W)
        width = graph.comm.allreduce(int(np.diff(W.indptr).max(initial=1)), op=MPI.MAX)
        index, weight = _largest(W, width)
        index, weight = graph.with_neighbours(index), graph.with_neighbours(weight)
    index, weight = _largest(_table(index[:m], weight[:m], count), KEPT)
    return index, weight / weight.sum(axis=1, keepdims=True)


def _table(index: Indices, weight: Array, count: int) -> csr_array:
    """Weights of the vertices' sections as a matrix, ``(n, count)``."""
    row = np.repeat(np.arange(len(index)), index.shape[1])
    W = csr_array(coo_array((weight.ravel(), (row, index.ravel())), shape=(len(index), count)))
    W.eliminate_zeros()
    return W


def _largest(W: csr_array, width: int) -> tuple[Indices, Array]:
    """The largest weights of each row, at most ``width``, and their sections; filled up with zeros."""
    n = W.shape[0]
    index, weight = np.zeros((n, width), dtype=np.int64), np.zeros((n, width))
    rows = np.repeat(np.arange(n), np.diff(W.indptr))
    order = np.lexsort((-W.data, rows))
    place = np.arange(W.nnz) - np.repeat(W.indptr[:-1], np.diff(W.indptr))
    keep = place < width
    index[rows[keep], place[keep]] = W.indices[order][keep]
    weight[rows[keep], place[keep]] = W.data[order][keep]
    return index, weight


def _seen(graph: Graph, index: Indices, weight: Array, count: int) -> csr_array:
    """Sections whose unknowns a section's equations hold, ``(count, count)``; the same on every rank."""
    m, n = graph.lengths.shape
    every = _table(graph.with_neighbours(index), graph.with_neighbours(weight), count).astype(bool)
    around = csr_array(graph.lengths.astype(bool) + eye_array(m, n, dtype=bool))
    mine = coo_array(every[:m].T @ (around @ every))
    pairs = np.unique(np.stack([mine.row, mine.col], axis=1), axis=0)
    row, column = np.unique(np.concatenate(graph.comm.allgather(pairs)), axis=0).T
    return csr_array(coo_array((np.ones(row.size, bool), (row, column)), shape=(count, count)))


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
        index, weight = sections.index, sections.weight
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
