"""What the machine can do: the memory bandwidth that sparse linear algebra lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TRIAD = """
double triad(size_t n, int times, double *a, const double *b, const double *c)
{
    for (int k = 0; k < times; ++k)
        for (size_t i = 0; i < n; ++i)
            a[i] = b[i] + (k + 0.5) * c[i];
    return a[n / 2];
}
"""
NUMBERS, TIMES, TRIES = 20_000_000, 5, 5


def triad() -> float:
    """Best rate of STREAM's triad in this process [GB/s]: 24 bytes a number."""
    from time import perf_counter

    import numpy as np

    from solver.engine import MPI
    from solver.native import load

    module = load(
        MPI.COMM_SELF,
        "triad",
        "double triad(size_t, int, double *, const double *, const double *);",
        TRIAD,
    )
    a, b, c = np.zeros(NUMBERS), np.ones(NUMBERS), np.ones(NUMBERS)
    best = float("inf")
    for _ in range(TRIES):
        MPI.COMM_WORLD.Barrier()
        began = perf_counter()
        module.lib.triad(
            NUMBERS, TIMES, *(module.ffi.cast("double *", v.ctypes.data) for v in (a, b, c))
        )
        best = min(best, perf_counter() - began)
    return 24e-9 * NUMBERS * TIMES / best


def stream(processes: int) -> float:
    """The triad on so many processes at once, in all [GB/s]."""
    from pipeline.stage import mpi_environment, mpiexec

    done = subprocess.run(
        [mpiexec(), "-n", str(processes), sys.executable, str(Path(__file__))],
        env=mpi_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(json.loads(line) for line in done.stdout.split())


if __name__ == "__main__":
    sys.stdout.write(f"{triad()}\n")
