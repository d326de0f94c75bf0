"""Tables whose rows lie in slabs over the ranks: no rank holds a whole one.

Rank ``r`` holds rows ``bounds[r]`` to ``bounds[r + 1]``, whole blocks of `BLOCK` rows: a file's chunks. Each rank packs
its own; rank 0 alone writes the file, one rank's packed rows at a time, so that no two nodes touch a file at once.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mpi4py import MPI

Values = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
BLOCK = 16_384


def bounds(count: int, ranks: int) -> Indices:
    """First row of each rank's slab of a table of ``count`` rows, and the end of the last, ``(ranks + 1,)``."""
    blocks = -(-count // BLOCK)
    first = BLOCK * (np.arange(ranks + 1, dtype=np.int64) * blocks // ranks)
    return np.minimum(first, count)


def span(comm: MPI.Comm, count: int) -> tuple[int, int]:
    """First row of this rank's slab of a table of ``count`` rows, and its end."""
    first, end = bounds(count, comm.size)[comm.rank : comm.rank + 2]
    return int(first), int(end)


def holder(row: Indices, count: int, ranks: int) -> Indices:
    """The rank that holds each row."""
    return np.asarray(np.searchsorted(bounds(count, ranks), row, side="right") - 1, dtype=np.int64)


# -- between ranks -----------------------------------------------------------------------------


def send(comm: MPI.Comm, to: Indices, *columns: Values) -> list[Values]:
    """Send rows to ranks; they arrive by sender, in the sender's order (collective).

    Args:
        comm: The ranks.
        to: Where each row goes, ``(n,)``.
        columns: Of the rows, ``(n, ...)`` each.

    Returns:
        The columns of the rows that came.
    """
    order, here, there = _routes(comm, to)
    return [_exchange(comm, column[order], here, there) for column in columns]


def ask(comm: MPI.Comm, whom: Indices, keys: Indices, find: Callable[[Indices], Values]) -> Values:
    """Ask ranks for the values of keys (collective).

    Args:
        comm: The ranks.
        whom: The rank that knows each key, ``(n,)``.
        keys: ``(n,)``.
        find: Called once on every rank with the keys it is asked for; a row of values for each.

    Returns:
        The values in the order of the keys.
    """
    order, here, there = _routes(comm, whom)
    found = find(_exchange(comm, keys[order], here, there))
    answer = _exchange(comm, np.asarray(found), there, here)
    values = np.empty_like(answer)
    values[order] = answer
    return values


def _routes(comm: MPI.Comm, to: Indices) -> tuple[Indices, Indices, Indices]:
    """Rows by rank; how many go to each rank, and how many come from each."""
    here = np.bincount(to, minlength=comm.size).astype(np.int64)
    there = np.empty_like(here)
    comm.Alltoall(here, there)
    return np.argsort(to, kind="stable"), here, there


def _exchange(comm: MPI.Comm, rows: Values, here: Indices, there: Indices) -> Values:
    rows = np.ascontiguousarray(rows)
    came = np.empty((int(there.sum()), *rows.shape[1:]), rows.dtype)
    width = int(np.prod(rows.shape[1:]))
    comm.Alltoallv([rows, here * width], [came, there * width])
    return came


# -- files -------------------------------------------------------------------------------------


def read(comm: MPI.Comm, path: Path, *names: str) -> list[Values]:
    """This rank's slabs of datasets.

    Raises:
        OSError: The file cannot be read.
        KeyError: It has no such dataset.
    """
    with h5py.File(path, "r", locking="best-effort") as f:
        slabs = []
        for name in names:
            first, end = span(comm, f[name].shape[0])
            slabs.append(np.asarray(f[name][first:end]))
        return slabs


def write(
    comm: MPI.Comm,
    path: Path,
    tables: Mapping[str, Values],
    numbers: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write slabs to a new file, then put it in place of the old (collective).

    Args:
        comm: The ranks.
        path: The file.
        tables: This rank's slabs, the same names in the same order on every rank; gzip, shuffled.
        numbers: Small datasets that every rank has; rank 0's are written.
        attributes: Likewise.
    """
    counts = comm.allreduce(np.array([len(slab) for slab in tables.values()], dtype=np.int64))
    packed = [_packed(slab, int(n)) for slab, n in zip(tables.values(), counts, strict=True)]
    if comm.rank != 0:
        comm.send(packed, dest=0)
        comm.Barrier()
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with h5py.File(fresh, "w") as f:
        sets = [
            _empty(f, name, slab, int(n))
            for (name, slab), n in zip(tables.items(), counts, strict=True)
        ]
        for rank in range(comm.size):
            pieces = packed if rank == 0 else comm.recv(source=rank)
            for made, blocks, n in zip(sets, pieces, counts, strict=True):
                first = int(bounds(int(n), comm.size)[rank])
                for k, block in enumerate(blocks):
                    place = (first + k * BLOCK, *(0,) * (made.ndim - 1))
                    made.id.write_direct_chunk(place, block)
        for name, value in (numbers or {}).items():
            f.create_dataset(name, data=value)
        for name, value in (attributes or {}).items():
            f.attrs[name] = value
    fresh.replace(path)
    comm.Barrier()  # whoever reads it next finds it


def _empty(file: Any, name: str, slab: Values, count: int) -> Any:  # noqa: ANN401
    shape = (count, *slab.shape[1:])
    if not count:
        return file.create_dataset(name, shape, slab.dtype)
    chunks = (min(BLOCK, count), *slab.shape[1:])
    return file.create_dataset(
        name, shape, slab.dtype, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
    )


def _packed(slab: Values, count: int) -> list[bytes]:
    """Blocks as HDF5's shuffle and gzip filters leave them; the last of a table is filled up with zeros."""
    rows = min(BLOCK, count)
    blocks = []
    for first in range(0, len(slab), BLOCK):
        block = np.zeros((rows, *slab.shape[1:]), slab.dtype)
        part = slab[first : first + BLOCK]
        block[: len(part)] = part
        planes = block.reshape(-1).view(np.uint8).reshape(-1, block.itemsize).T
        blocks.append(zlib.compress(planes.tobytes(), 1))
    return blocks
