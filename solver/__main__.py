"""``mpiexec -n N python -m solver problem.json [--output DIR] [--restart FILE]``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from meshing.errors import BranchEndError, ComputationError, InputError
from solver.problem import FlowProblem

log = logging.getLogger("solver")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m solver", description="Solve a flow problem.")
    parser.add_argument("problem", type=Path, help="problem.json")
    parser.add_argument(
        "--output", type=Path, help="folder of the results; the problem's by default"
    )
    parser.add_argument("--restart", type=Path, help="a state.h5 to start from")
    return parser.parse_args()


def _log_on_root(rank: int) -> None:
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.CRITICAL,
        format="%(message)s",
        stream=sys.stdout,
    )
    logging.getLogger("FFCx").setLevel(logging.WARNING)
    logging.getLogger("UFL").setLevel(logging.WARNING)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def main() -> int:
    """Run; return the exit status: 0 done, 1 no result, 2 bad input, 3 stopped at the end of the steady branch."""
    arguments = _arguments()
    try:
        from solver.engine import MPI
    except InputError as error:  # of the environment: every rank's
        sys.stderr.write(f"error: {error}\n")
        return 2
    from solver.parallel import abort_on_error, on_root
    from solver.run import solve

    comm = MPI.COMM_WORLD
    abort_on_error(comm)
    _log_on_root(comm.rank)
    try:
        problem = on_root(comm, lambda: FlowProblem.load(arguments.problem))
        solve(problem, comm, arguments.output or arguments.problem.parent, arguments.restart)
    except InputError as error:
        if comm.rank == 0:
            sys.stderr.write(f"error: {error}\n")
        return 2
    except BranchEndError as end:
        log.info("%s", end)
        return 3
    except ComputationError as error:
        if comm.rank == 0:
            sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
