"""Time and memory of each stage on the real left coronary: ``make bench`` or ``python hpc/bench/stages.py``.

One row a setting; the case is `configs/left_coronary.yaml` with the mesh sizes and element given here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipeline.case_file import load
from pipeline.run import run

ROOT = Path(__file__).parents[2]
LINEAR = ("solver.element=P1-P1", "mesh.order=1")
THIRD = ("mesh.elements_per_diameter=6.8", "mesh.elements_across_throat=8.2")
MILLION = ("mesh.elements_per_diameter=10.8", "mesh.elements_across_throat=12.8")
SETTINGS = {  # name: overrides
    "P2-P2": (),
    "P1-P1": LINEAR,
    "P2-P2-0.3M": THIRD,
    "P1-P1-0.3M": (*LINEAR, *THIRD),
    "P1-P1-1M": (*LINEAR, *MILLION),
}


def measure(name: str, overrides: tuple[str, ...], folder: Path) -> dict[str, object]:
    """Run the case from nothing and collect what the ledger says."""
    case = load(ROOT / "configs" / "left_coronary.yaml", overrides)
    ledger = run(case, folder / name, start="surface")
    flow = json.loads((folder / name / "solve" / "flow.json").read_text())
    return {
        "name": name,
        "overrides": overrides,
        "cells": flow["cells"],
        "dofs": flow["dofs"],
        "ranks": flow["ranks"],
        "status": flow["status"],
        "solve_peak_memory_GiB": flow["peak_memory_GiB"],
        "seconds": {k: v.seconds for k, v in ledger.stages.items()},
        "peak_memory_GiB": {k: v.peak_memory_GiB for k, v in ledger.stages.items()},
    }


def main() -> None:
    """Measure every setting named on the command line (the default mesh in both elements if none) and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", choices=SETTINGS, default=["P2-P2", "P1-P1"])
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    rows = [
        measure(name, (*SETTINGS[name], *args.overrides), args.output) for name in args.settings
    ]
    (args.output / "stages.json").write_text(json.dumps(rows, indent=2))
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
