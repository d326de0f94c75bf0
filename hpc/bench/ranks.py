"""What more ranks cost, by counting: ``python hpc/bench/ranks.py RUN_FOLDER [RANKS ...]``.

On a machine with few cores the time on many ranks cannot be measured, but what makes it can: how evenly the unknowns
lie, how many of a neighbour's unknowns each rank needs (the halo of a matrix product), with how many neighbours it
exchanges them, and the iterations of a linear solve, which grow as the overlapping blocks of the incomplete factors
shrink. Each number of ranks is run on the cores there are; nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

RANKS = (1, 2, 4, 8, 16)


def count(path: Path, element: str) -> dict[str, Any] | None:
    """Halo, neighbours, balance and iterations on the ranks of this process's world (on rank 0)."""
    from solver.engine import MPI
    from solver.levels import Search
    from solver.problem import FlowProblem
    from solver.progress import Progress
    from solver.run import Run, _read

    problem = FlowProblem.load(path).model_copy(update={"element": element, "guess": None})
    comm = MPI.COMM_WORLD
    mesh, scales = _read(Run(problem, comm, None))
    search = Search(problem, mesh, scales, Progress(), None)
    coarse = None if element == "P1-P1" else search._system("P1-P1")
    system = search._system(element)
    driver = search._solver(system, coarse)
    driver.stokes()
    system.thicken(3.0)
    system.linearise_about_state()
    system.residual(driver.b)
    driver.refactor()
    iterations = {rtol: driver.linear.solve(driver.b, driver.dx, rtol)[0] for rtol in (1e-2, 1e-4)}
    numbers = system.space.W.dofmap.index_map
    around = len(set(np.asarray(numbers.owners).tolist()))
    mine = np.array([numbers.size_local, numbers.num_ghosts, around], dtype=float)
    all_ranks = comm.gather(mine, root=0)
    if all_ranks is None:
        return None
    owned, ghosts, neighbours = np.array(all_ranks).T
    return {
        "ranks": comm.size,
        "element": element,
        "unknowns": system.space.dofs,
        "nodes_of_a_rank": owned.mean(),
        "most_over_mean": owned.max() / owned.mean(),
        "halo_over_own": float(ghosts.max() / owned.mean()),
        "neighbours": neighbours.max(),
        "iterations_1e-2": iterations[1e-2],
        "iterations_1e-4": iterations[1e-4],
    }


def main() -> None:
    """Start the worlds one after the other and print a line each; with ``--here``, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a run folder with solve/problem.json")
    parser.add_argument("ranks", nargs="*", type=int, default=list(RANKS))
    parser.add_argument("--element", default="P1-P1")
    parser.add_argument("--here", action="store_true")
    args = parser.parse_args()
    path = args.folder.resolve() / "solve" / "problem.json"
    if args.here:
        row = count(path, args.element)
        if row is not None:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    from pipeline.stage import mpi_environment, mpiexec

    for n in args.ranks:
        told = [Path(__file__), args.folder, "--here", "--element", args.element]
        done = subprocess.run(
            [mpiexec(), "-n", str(n), sys.executable, *told],
            env=mpi_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        sys.stdout.write([x for x in done.stdout.splitlines() if x.startswith("{")][-1] + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
