"""The graph of a mesh's vertices, each rank with its own rows: distances and components; no rank holds it whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from solver.engine import MPI
from solver.io import rows

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Graph:
    """Rows of a symmetric graph: this rank's vertices, and the neighbours of theirs that other ranks have.

    Attributes:
        comm: The ranks.
        first: First vertex of each rank, and the end of the last's, ``(ranks + 1,)``.
        vertices: The columns: this rank's ``m`` vertices, then the neighbours elsewhere (global numbers), ``(n,)``.
        lengths: Of the edges, ``(m, n)``.
    """

    comm: MPI.Intracomm
    first: Indices
    vertices: Indices
    lengths: csr_array

    @classmethod
    def of(cls, comm: MPI.Intracomm, first: Indices, ends: Indices, lengths: Array) -> Graph:
        """From edges that any ranks found, some of them more than one rank (collective).

        Args:
            comm: The ranks.
            first: As above.
            ends: Global numbers, ``(k, 2)``.
            lengths: ``(k,)``.
        """
        both = np.concatenate([ends, ends[:, ::-1]])
        whom = _owner(first, both[:, 0])
        met, length = rows.send(comm, whom, both, np.tile(lengths, 2))
        _, once = np.unique(met[:, 0] * first[-1] + met[:, 1], return_index=True)
        row, column = met[once].T
        start, end = first[comm.rank], first[comm.rank + 1]
        elsewhere = np.setdiff1d(column, np.arange(start, end))
        place = np.where(
            (column >= start) & (column < end),
            column - start,
            end - start + np.searchsorted(elsewhere, column),
        )
        vertices = np.concatenate([np.arange(start, end), elsewhere])
        shape = (int(end - start), len(vertices))
        made = coo_array((length[once], (row - start, place)), shape=shape).tocsr()
        return cls(comm, first, vertices, made)

    @property
    def own(self) -> int:
        """Number of this rank's vertices."""
        return self.lengths.shape[0]

    def mean_length(self) -> float:
        """Of all edges (collective)."""
        total = self.comm.allreduce(np.array([self.lengths.sum(), float(self.lengths.nnz)]))
        return float(total[0] / total[1])

    def with_neighbours(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of this rank's vertices, and after them the neighbours' elsewhere, ``(n, ...)`` (collective)."""
        start, away = self.first[self.comm.rank], self.vertices[self.own :]
        found = rows.ask(
            self.comm, _owner(self.first, away), away, lambda asked: values[asked - start]
        )
        return np.concatenate([values, found])

    def distances(self, start: npt.NDArray[np.bool_]) -> Array:
        """Along edges from marked vertices of this rank and those of the others, ``(n,)`` (collective).

        Each rank continues what comes over its border until nothing grows shorter anywhere.
        """
        edges = self.lengths.tocoo()
        out = edges.col >= self.own
        row = np.concatenate([edges.row, edges.col[out]])  # from neighbours elsewhere, too
        column = np.concatenate([edges.col, edges.row[out]])
        length = np.concatenate([edges.data, edges.data[out]])
        away = self.with_neighbours(np.where(start, 0.0, np.inf))
        while True:
            found = _continued((row, column, length), away)
            away = self.with_neighbours(found[: self.own])
            shorter = bool((away < found).any())  # than what this rank knew of its neighbours'
            if not self.comm.allreduce(shorter, op=MPI.LOR):
                return away

    def components(self, level: Indices) -> tuple[int, Indices]:
        """Connected pieces of vertices of one level each: their number, and the piece of each of ``n`` (collective).

        Args:
            level: Of this rank's vertices and the neighbours elsewhere, ``(n,)``.
        """
        n, comm = len(self.vertices), self.comm
        row, column = self.lengths.nonzero()
        same = level[row] == level[column]
        links = coo_array((np.ones(same.sum()), (row[same], column[same])), shape=(n, n))
        count, piece = connected_components(links, directed=False)
        counts = comm.allgather(int(count))
        mine = piece.astype(np.int64) + sum(counts[: comm.rank])
        theirs = self.with_neighbours(mine[: self.own])[self.own :]
        pairs = np.concatenate(comm.allgather(np.stack([mine[self.own :], theirs], axis=1)))
        total = sum(counts)
        meet = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(total, total))
        _, joined = connected_components(meet, directed=False)
        used = np.unique(np.concatenate(comm.allgather(np.unique(joined[mine[: self.own]]))))
        return len(used), np.searchsorted(used, joined[mine]).astype(np.int64)


def _owner(first: Indices, vertices: Indices) -> Indices:
    return np.asarray(np.searchsorted(first, vertices, side="right") - 1, dtype=np.int64)


def _continued(edges: tuple[Indices, Indices, Array], away: Array) -> Array:
    """Distances that edges shorten."""
    n, known = len(away), np.flatnonzero(np.isfinite(away))
    row, column, length = edges
    row = np.concatenate([row, np.full(known.size, n)])  # one vertex more, so far from each
    column, length = np.concatenate([column, known]), np.concatenate([length, away[known]])
    graph = coo_array((length, (row, column)), shape=(n + 1, n + 1)).tocsr()
    return np.asarray(dijkstra(graph, indices=n)[:n])
