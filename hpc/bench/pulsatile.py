"""A pulsatile step: the solver's own (P2-P2) against a fractional step (P2-P1): ``python hpc/bench/pulsatile.py``.

The real left coronary (or another case) on one mesh, the flow into it swinging about its mean (`wave`), resistances at
the outlets, from the steady state at the mean flow. Each method marches an eighth of a cycle in each number of steps;
its pressure drops are held against those of the most steps of the solver's own, as far as both went. Prints a line a
method and number of steps: seconds a step and a cycle, error, iterations; writes ``pulsatile.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from adapt import write_case

ROOT = Path(__file__).parents[2]
PERIOD = 0.8  # s
SHARE = 0.125
"""Part of the cycle that is marched: the flow swings once up to its maximum in it."""
SWING = 0.5
METHODS = {  # quadratic velocities all; whether convection is explicit, or None for the solver's own step
    "implicit": None,
    "fractional, convection semi-implicit": False,
    "fractional, convection explicit": True,
}


def wave(t: float) -> float:
    """Flow over its mean, at a time over the period; smooth, at the mean and at rest at zero."""
    return 1.0 + SWING * 0.5 * (1.0 - math.cos(2.0 * math.pi * t / SHARE))


def march(path: Path, method: str, steps: int, most: float) -> dict[str, Any] | None:
    """The part of a cycle in so many steps, or as far as ``most`` seconds go; the row (on rank 0)."""
    from fractional import FractionalStep  # after numpy: it starts MPI

    from solver.engine import MPI
    from solver.io import state as state_file
    from solver.levels import Search
    from solver.problem import FlowProblem
    from solver.progress import Progress
    from solver.run import Run, _read
    from solver.stepper import Stepper

    explicit = METHODS[method]
    problem = FlowProblem.load(path).model_copy(update={"element": "P2-P2", "guess": None})
    comm = MPI.COMM_WORLD
    mesh, scales = _read(Run(problem, comm, None))
    kept = path.parent / "state.h5"
    saved = state_file.read(comm, kept) if kept.exists() else None
    search = Search(problem, mesh, scales, Progress(), saved)
    system = search.run().system
    state_file.save(system, kept, "the mean flow")
    mean = system.Q_in
    period = PERIOD * scales.velocity / scales.length
    dt = SHARE * period / steps
    if explicit is None:
        driver = search._solver(system, search._system("P1-P1"))
        stepper = Stepper(driver, dt)
    else:
        march = FractionalStep(system, "P2-P1", dt, explicit=explicit)
    fastest = dt * system.fastest_rate()
    told, iterations, good = [], 0, True
    began = perf_counter()
    for k in range(1, steps + 1):
        inflow = mean * wave(SHARE * k / steps)
        if explicit is None:
            iterations += stepper.step(inflow)
            _, p = system.functionals()
            good = stepper.good
        else:
            try:
                iterations += march.step(inflow)
            except ArithmeticError:
                good = False
            p = np.array([march.inlet_pressure(), *march.p])
            good = good and bool(np.isfinite(p).all() and np.abs(p).max() < 1e6)
        told.append((p * scales.pressure).tolist())
        if not good or comm.bcast(perf_counter() - began > most, root=0):
            break
    seconds = (perf_counter() - began) / k
    if comm.rank:
        return None
    return {
        "method": method,
        "ranks": comm.size,
        "unknowns": system.space.dofs,
        "steps_a_cycle": round(steps / SHARE),
        "steps_made": k,
        "finished": good and k == steps,
        "broke_down": not good,
        "cfl": fastest / 2.0,  # of one element; the rate counts 2 u / h
        "seconds_a_step": seconds,
        "seconds_a_cycle": seconds * steps / SHARE,
        "iterations_a_step": iterations / k,
        "p_Pa": told,
        "phases": driver.linear.seconds | system.seconds if explicit is None else march.seconds,
    }


def prepare(case: str, folder: Path, overrides: list[str]) -> Path:
    """Mesh of the case (a file, or the narrowing of a tube in per cent), and its problem with the steady flow given."""
    ready = folder / "pulsatile" / "problem.json"
    if ready.exists():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    path = write_case(folder, 0.01 * float(case)) if case.isdigit() else Path(case)
    command = [Path(sys.executable).parent / "ffr3d", "run", path]
    command += ["-o", folder / "run", "--to", "ffr"]
    for one in overrides:
        command += ["--set", one]
    subprocess.run(command, check=True)
    solve = folder / "run" / "solve"
    flow = json.loads((solve / "flow.json").read_text())
    problem = json.loads((solve / "problem.json").read_text())
    problem["mesh"] = str((solve / problem["mesh"]).resolve())
    problem["inlet"] = {"kind": "flow", "Q": -flow["patches"][flow["inlet"]]["Q"]}
    ready.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(solve / "state.h5", ready.parent / "state.h5")
    ready.write_text(json.dumps(problem))
    return ready


def launch(problem: Path, method: str, steps: int, ranks: int, most: float) -> dict[str, Any]:
    """One march in a process of its own; its row."""
    from pipeline.stage import mpi_environment, mpiexec

    command = [mpiexec(), "-n", str(ranks), sys.executable, str(Path(__file__))]
    command += ["--march", method, "--steps", str(steps), "--most", str(most), str(problem)]
    done = subprocess.run(
        command, env=mpi_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def error(row: dict[str, Any], reference: dict[str, Any]) -> float:
    """Largest difference of the pressure drops at common times, over the largest drop; nan without such times."""

    def drops(r: dict[str, Any]) -> dict[Fraction, Any]:
        count = round(r["steps_a_cycle"] * SHARE)
        p = np.array(r["p_Pa"])
        return {Fraction(k + 1, count): q[0] - q[1:] for k, q in enumerate(p)}

    mine, best = drops(row), drops(reference)
    both = sorted(mine.keys() & best.keys())
    if not both:
        return math.nan
    apart = max(float(np.abs(mine[t] - best[t]).max()) for t in both)
    return apart / max(float(np.abs(drop).max()) for drop in best.values())


def main() -> None:
    """March with every method, or with one (as a process of its own)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", nargs="?", type=Path)
    parser.add_argument("--march", choices=METHODS)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--most", type=float, default=300.0, help="seconds of one march")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--set", action="append", default=[], help="of the mesh, as ffr3d run takes it"
    )
    parser.add_argument(
        "--case",
        default=str(ROOT / "configs" / "left_coronary.yaml"),
        help="a case file, or the narrowing of a tube in per cent",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench-pulsatile")
    args = parser.parse_args()
    if args.march:
        row = march(args.problem, args.march, args.steps[0], args.most)
        if row is not None:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    problem = prepare(args.case, args.output.resolve(), args.set)
    ledger = args.output / "pulsatile.json"
    rows = json.loads(ledger.read_text()) if ledger.exists() else []
    for method in args.methods:
        for steps in args.steps:
            if not any(
                r["method"] == method and r["steps_a_cycle"] == round(steps / SHARE) for r in rows
            ):
                rows.append(launch(problem, method, steps, args.ranks, args.most))
                ledger.write_text(json.dumps(rows))
    whole = [r for r in rows if not r["broke_down"] and r["method"] == "implicit"]
    reference = max(whole, key=lambda r: r["steps_a_cycle"], default=None)
    for row in rows:
        off = error(row, reference) if reference else math.nan
        state = "" if row["finished"] else "  broke down" if row["broke_down"] else "  not finished"
        sys.stdout.write(
            f"{row['method']:37s} {row['steps_a_cycle']:6d} steps a cycle  CFL {row['cfl']:6.1f}  "
            f"{row['seconds_a_step']:6.3f} s a step  {row['seconds_a_cycle'] / 60:7.1f} min a cycle  "
            f"iterations {row['iterations_a_step']:5.1f}  error of the drops {100 * off:6.2f} %{state}\n"
        )


if __name__ == "__main__":
    main()
