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


def abort_on_error(comm: MPI.Comm) -> None:
    """Make an uncaught exception on any rank end all ranks (a plain raise would hang the others)."""
    plain = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        plain(kind, value, trace)
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(1)

    sys.excepthook = hook


def peak_memory(comm: MPI.Comm) -> float:
    """Sum over the ranks of their peak resident memory [GiB]."""
    return float(comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)) / 2**20
