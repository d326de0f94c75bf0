r"""Strong and weak scaling of the flow solver's work on the machine it is run on, with a figure.

::

    python hpc/scaling/scaling.py RUN --ranks 1 2 4 8            # strong: the mesh of a run, solved or at least meshed
    python hpc/scaling/scaling.py RUN --ranks 1 2 4 --weak       # and weak: tubes of so many times the length as ranks
    python hpc/scaling/scaling.py RUN --ranks 48 96 --launcher "srun -n {n}"    # inside a job of a cluster

One Newton step at the Stokes flow, in its parts: reading and distributing the mesh, the residual, the Jacobian with its
factors, one linear solve to 1e-4. Medians of three; memory is the largest resident set of
any rank. ``scaling.json`` and ``scaling.png`` go to the folder ``--output``. More ranks than cores say nothing of time:
`hpc/bench/ranks.py` counts what makes it there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 3
PARTS = ("mesh", "residual", "Jacobian and factors", "linear solve")
TUBE_MM, DIAMETER_MM = 30.0, 3.0  # of one rank's part


def main() -> None:
    """Start the worlds one after the other; with ``--here``, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder with solve/problem.json")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--weak", action="store_true")
    parser.add_argument("--launcher", default="", help="e.g. 'srun -n {n}' [default: mpiexec]")
    parser.add_argument("--element", default="P1-P1")
    parser.add_argument("--output", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        one_step(args.run, args.element)
        return
    args.output.mkdir(parents=True, exist_ok=True)
    told: dict[str, list[dict[str, Any]]] = {"strong": [], "weak": []}
    for n in args.ranks:
        told["strong"].append(world(args.run, n, args.launcher, args.element))
    for n in args.ranks if args.weak else ():
        told["weak"].append(world(tube_run(args.output, n), n, args.launcher, args.element))
    (args.output / "scaling.json").write_text(json.dumps(told, indent=2))
    draw(told, args.output / "scaling.png")
    print(f"{args.output / 'scaling.png'}")  # noqa: T201


def world(run: Path, ranks: int, launcher: str, element: str) -> dict[str, Any]:
    """One step on so many ranks; printed and returned."""
    from pipeline import stage

    if launcher:
        os.environ[stage.LAUNCHER] = launcher
    command = [
        *stage.launcher(ranks),
        sys.executable,
        __file__,
        str(run),
        "--here",
        "--element",
        element,
    ]
    done = subprocess.run(
        command, env=stage.mpi_environment(), capture_output=True, text=True, check=False
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not rows:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    row: dict[str, Any] = json.loads(rows[-1])
    parts = ", ".join(f"{name} {row['seconds'][name]:.2f}" for name in PARTS)
    print(  # noqa: T201
        f"{ranks} ranks, {row['cells']} cells, {row['unknowns']} unknowns: {parts} s; {row['iterations']} iterations; "
        f"{row['GiB_a_rank']:.2f} GiB a rank"
    )
    return row


def one_step(run: Path, element: str) -> None:
    """Time the parts in this process's world; rank 0 prints a row."""
    from solver.engine import MPI
    from solver.levels import Search
    from solver.problem import FlowProblem
    from solver.progress import Progress
    from solver.run import Run, _read

    comm, seconds = MPI.COMM_WORLD, dict[str, list[float]]()

    def timed(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        comm.Barrier()
        began = time.perf_counter()
        result = work()
        comm.Barrier()
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result

    problem = FlowProblem.load(run.resolve() / "solve" / "problem.json")
    problem = problem.model_copy(update={"element": element, "guess": None})
    mesh, scales = timed("mesh", lambda: _read(Run(problem, comm, None)))
    search = Search(problem, mesh, scales, Progress(), None)
    system = search._system(element)
    driver = search._solver(system, None if element == "P1-P1" else search._system("P1-P1"))
    driver.stokes()
    system.thicken(3.0)
    iterations = 0
    for _ in range(ROUNDS):
        timed("residual", lambda: system.residual(driver.b))
        timed("Jacobian and factors", driver.refactor)
        iterations = timed(
            "linear solve", lambda: driver.linear.solve(driver.b, driver.dx, 1e-4)[0]
        )
    peak = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, op=MPI.MAX)
    if comm.rank == 0:
        row = {
            "ranks": comm.size,
            "cells": mesh.cells,
            "unknowns": system.space.dofs,
            "element": element,
            "seconds": {name: statistics.median(times) for name, times in seconds.items()},
            "iterations": int(iterations),
            "GiB_a_rank": peak,
        }
        print(json.dumps(row), flush=True)  # noqa: T201


def tube_run(output: Path, ranks: int) -> Path:
    """A run folder, up to its problem, of a tube of so many parts; made once."""
    from pipeline.case import Case
    from pipeline.phantom import exact_surface, tube
    from pipeline.run import run
    from pipeline.surface.mesh import write_stl

    folder = output.resolve() / f"tube-{ranks}"
    if not (folder / "run" / "solve" / "problem.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        s = np.linspace(0.0, TUBE_MM * ranks, 60 * ranks + 1)
        line = tube(np.column_stack([0 * s, 0 * s, s]), np.full(len(s), DIAMETER_MM / 2))
        write_stl(exact_surface(line), folder / "tube.stl")
        case = Case.model_validate(
            {
                "name": "tube",
                "input": {"kind": "surface", "path": str(folder / "tube.stl")},
                "mesh": {"order": 1, "elements_per_diameter": 10},
                "anatomy": {"inlet_extension_diameters": 0, "outlet_extension_diameters": 0},
                "solver": {"element": "P1-P1", "ranks": 1},
            }
        )
        run(case, folder / "run", stop="solve")
    return folder / "run"


def draw(told: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Seconds of each part over ranks; what an ideal machine would do dashed."""
    from matplotlib.ticker import LogLocator, ScalarFormatter

    from pipeline.report.charts import sheet
    from pipeline.report.colours import STEM, VESSELS

    kinds = [name for name in ("strong", "weak") if told[name]]
    with sheet(5.2 * len(kinds), 4.2) as figure:
        axes = figure.subplots(1, len(kinds), squeeze=False)[0]
        for name, place in zip(kinds, axes, strict=True):
            rows = sorted(told[name], key=lambda row: row["ranks"])
            ranks = [row["ranks"] for row in rows]
            for part, colour in zip(PARTS, VESSELS, strict=False):
                place.loglog(ranks, _of(rows, part), "o-", color=colour, label=part)
                first = _of(rows, part)[0]
                ideal = [first * (ranks[0] / n if name == "strong" else 1.0) for n in ranks]
                place.loglog(ranks, ideal, ls="--", lw=0.8, color=STEM)
            cells = rows[0]["cells"]
            what = f"{cells:,} cells" if name == "strong" else f"{cells // ranks[0]:,} cells a rank"
            place.set_title(f"{name}: {what}", loc="left", fontsize=9.5)
            place.set_xticks(ranks, [str(n) for n in ranks])
            place.minorticks_off()
            place.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            place.yaxis.set_major_formatter(ScalarFormatter())
            place.set_xlabel("MPI ranks")
            place.set_ylabel("Time [s]")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2 * len(kinds))
        figure.savefig(path, dpi=150)


def _of(rows: Sequence[dict[str, Any]], part: str) -> list[float]:
    return [row["seconds"][part] for row in rows]


if __name__ == "__main__":
    main()
