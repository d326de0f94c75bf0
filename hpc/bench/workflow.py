"""What the workflow engine costs: seconds a case over what the cases take, and its memory as their number grows.

``python hpc/bench/workflow.py [--cases 1000]``: that many cases whose two jobs write their files and nothing else, by
the local profile. ``--real N``: N tiny trees with the real solver, one at a time; wall time less their stages' own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.cohort.design import Design
from pipeline.cohort.workflow import Engine, engine_command, run_workflow

STUB = """
import json, pathlib, sys
kind, name = sys.argv[1:3]
told = {"case": name, "cells": 1000, "nodes": 300, "ranks": 1, "status": 0, "seconds": 0.0}
path = pathlib.Path({"mesh": "meshes", "solve": "outcomes"}[kind], f"{name}.json")
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(told))
"""
TINY = {
    "name": "tiny",
    "seed": 5,
    "vessel": {"kind": "phantom", "inlet_diameter_mm": [3.0, 3.4], "min_diameter_mm": [1.9, 2.0],
               "side_branches": [0, 0], "lesions": [0, 0]},
    "case": {"mesh": {"elements_per_diameter": 3, "elements_across_throat": 4, "order": 1},
             "solver": {"element": "P1-P1"}, "certificate": {"levels": 1}},
}  # fmt: skip


def main() -> None:
    """Both measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--real", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ffr3d-workflow-") as folder:
        if args.real:
            real(Path(folder) / "real", args.real)
        else:
            stubs(Path(folder), args.cases)


def stubs(folder: Path, count: int) -> None:
    """Jobs that do nothing."""
    (folder / "cases").mkdir()
    names = [f"c-{k:05d}" for k in range(count)]
    for name in names:
        (folder / "cases" / f"{name}.yaml").write_text("name: c\n")
    (folder / "stub.py").write_text(STUB)
    step = [sys.executable, "-S", "-E", str(folder / "stub.py")]
    (folder / "plan.json").write_text(
        json.dumps({"cases": names, "images": [], "labels": "", "step": step})
    )
    began, memory = time.monotonic(), list[float]()
    with (folder / "workflow.log").open("w") as out:
        engine = subprocess.Popen(
            engine_command(Engine("local", 1)),
            cwd=folder,
            stdout=out,
            stderr=out,
        )
        while engine.poll() is None:
            memory.append(resident_MiB(engine.pid))
            time.sleep(1.0)
    wall = time.monotonic() - began
    done = len(list((folder / "outcomes").glob("*.json")))
    tenths = [
        max(memory[len(memory) * k // 10 : len(memory) * (k + 1) // 10] or [0.0]) for k in range(10)
    ]
    print(  # noqa: T201
        f"{done} of {count} cases in {wall:.0f} s: {wall / count:.2f} s a case; engine's memory by tenths of the time "
        f"[MiB]: {' '.join(f'{x:.0f}' for x in tenths)}"
    )


def resident_MiB(pid: int) -> float:  # noqa: N802 - a unit
    """Resident memory of a process; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def real(folder: Path, count: int) -> None:
    """Tiny trees, the real solver, one core."""
    began = time.monotonic()
    told = run_workflow(Design.model_validate({**TINY, "count": count}), folder, Engine("local", 1))
    wall = time.monotonic() - began
    stages = [
        sum(stage["seconds"] for stage in json.loads(path.read_text())["stages"].values())
        for path in (folder / "cases").glob("*/run.json")
    ]
    print(  # noqa: T201
        f"{count} trees in {wall:.0f} s ({told['verdicts']}), their stages {sum(stages):.0f} s: "
        f"{(wall - sum(stages)) / count:.2f} s a case over them"
    )


if __name__ == "__main__":
    main()
