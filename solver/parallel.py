"""Working together across MPI ranks: the same error on all of them, no rank left hanging."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from meshing.errors import ComputationError, InputError

if TYPE_CHECKING:
    from mpi4py import MPI

log = logging.getLogger("solver")


def on_root[T](comm: MPI.Comm, work: Callable[[], T]) -> T:
    """Run ``work`` on rank 0 and return its result on every rank.

    Raises:
        InputError: On every rank, when ``work`` raised it on rank 0.
        ComputationError: Likewise.
    """
    outcome: T | InputError | ComputationError | None = None
    if comm.rank == 0:
        try:
            outcome = work()
        except (InputError, ComputationError) as error:
            outcome = error
    outcome = comm.bcast(outcome, root=0)
    if isinstance(outcome, InputError | ComputationError):
        raise outcome
    return outcome


def on_all[T](comm: MPI.Comm, work: Callable[[], T]) -> T:
    """Run ``work`` on every rank; where it fails on one it fails on all.

    Raises:
        InputError: On every rank, the lowest one's that raised it.
        ComputationError: Likewise.
    """
    fault: InputError | ComputationError | None = None
    result: T | None = None
    try:
        result = work()
    except (InputError, ComputationError) as error:
        fault = error
    for one in comm.allgather(fault):
        if one is not None:
            raise one
    return result  # type: ignore[return-value]


def abort_on_error(comm: MPI.Comm) -> None:
    """Make an uncaught exception on any rank end all ranks (a plain raise would hang the others)."""
    plain = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        plain(kind, value, trace)
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(1)

    sys.excepthook = hook


def peak_memory(comm: MPI.Comm) -> list[float]:
    """Peak resident memory of each rank [GiB], the same on all."""
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [round(one, 3) for one in comm.allgather(mine)]
