"""Fit what a case costs to cohorts that were computed: ``python hpc/workflow/fit_cost.py COHORT ... [--write]``.

Core seconds of solve and certificate as a power of the cells, the largest process's memory as a line in them (both by
the median of pairs, Theil and Sen: one case that took three tries moves neither). Every other case is held out; how far
off the model is on those is printed, and coefficients fitted to all of them are written to ``cost.json`` if asked.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import theilslopes

Array = npt.NDArray[np.float64]
FILE = Path(__file__).with_name("cost.json")
STAGES = ("solve", "ffr", "certify")
LEAST_MB = 3000  # what the stages up to the mesh ask for at least


def main() -> None:
    """The fit and its errors on cases held out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohorts", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = [row for cohort in args.cohorts for row in measured(cohort)]
    cells, seconds, gib, mesh_gib, mesh_minutes = (np.array(x) for x in zip(*rows, strict=True))
    held = np.arange(len(cells)) % 2 == 1
    times, memory = fitted(cells[~held], seconds[~held], gib[~held])
    for name, told, truth in (
        ("core seconds", np.exp(times[0] + times[1] * np.log(cells[held])), seconds[held]),
        ("memory", memory[0] + memory[1] * cells[held], gib[held]),
    ):
        off = told / truth - 1
        within = float((np.abs(off) <= 0.3).mean())
        print(  # noqa: T201
            f"{name}: {held.sum()} cases held out, within 30 %: {within:.0%}; median of the error "
            f"{np.median(off):+.0%}, of its magnitude {np.median(np.abs(off)):.0%}, 90 % within "
            f"{np.quantile(np.abs(off), 0.9):.0%}"
        )
    times, memory = fitted(cells, seconds, gib)
    told = {
        "seconds": [round(x, 4) for x in times],
        "gib": [float(f"{x:.4g}") for x in memory],
        "cells_a_rank": json.loads(FILE.read_text())["cells_a_rank"],
        "mesh_mb": max(LEAST_MB, math.ceil(2 * 1024 * mesh_gib.max() / 100) * 100),
        "mesh_minutes": max(10, math.ceil(4 * mesh_minutes.max())),
    }
    print(json.dumps(told))  # noqa: T201
    if args.write:
        FILE.write_text(json.dumps(told) + "\n")


def measured(cohort: Path) -> list[tuple[float, ...]]:
    """Cells, core seconds and GiB after the mesh, GiB and minutes up to it, of every case that ended."""
    found = []
    for run in sorted((cohort / "cases").glob("*/run.json")):
        told: dict[str, Any] = json.loads(run.read_text())["stages"]
        if "certify" not in told:
            continue
        mesh = json.loads((run.parent / "mesh" / "mesh.json").read_text())["quality"]
        after = [told[name] for name in STAGES]
        before = [one for name, one in told.items() if name not in (*STAGES, "report")]
        found.append(
            (
                float(mesh["cells"]),
                sum(one["cpu_seconds"] for one in after),
                max(one["peak_memory_GiB"] for one in after),
                max(one["peak_memory_GiB"] for one in before),
                sum(one["seconds"] for one in before) / 60.0,
            )
        )
    return found


def fitted(cells: Array, seconds: Array, gib: Array) -> tuple[tuple[float, float], ...]:
    """Coefficients of both laws: constant and slope."""
    laws = []
    for x, y in ((np.log(cells), np.log(seconds)), (cells, gib)):
        slope, constant, *_ = theilslopes(y, x)
        laws.append((float(constant), float(slope)))
    return tuple(laws)


if __name__ == "__main__":
    main()
