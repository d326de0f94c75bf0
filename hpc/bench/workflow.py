"""What the workflow engine costs: seconds a case over what the cases take, and its memory as their number grows.

``python hpc/bench/workflow.py [--cases 1000]``: that many cases whose two jobs write their files and nothing else, by
the local profile. ``--real N``: N short tubes with the real solver, one at a time; wall time less their stages' own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.cohort.design import load
from pipeline.cohort.workflow import Engine, engine_command, run_workflow
from pipeline.phantom import exact_surface, tube
from pipeline.surface.mesh import write_stl

STUB = """
import json, pathlib, sys
kind, name = sys.argv[1:3]
told = {"case": name, "cells": 1000, "nodes": 300, "ranks": 1, "status": 0, "seconds": 0.0}
path = pathlib.Path({"mesh": "meshes", "solve": "outcomes"}[kind], f"{name}.json")
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(told))
"""
TINY: dict[str, Any] = {
    "name": "tiny",
    "vessel": {"kind": "files", "paths": ["cases/*.yaml"]},
    "case": {"mesh": {"elements_per_diameter": 3, "elements_across_throat": 3, "order": 1},
             "anatomy": {"inlet_extension_diameters": 0, "outlet_extension_diameters": 0},
             "solver": {"element": "P1-P1"}, "certificate": {"levels": 1}},
}  # fmt: skip
LENGTH_MM, RADIUS_MM = 12.0, 1.5


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
    print(  # noqa: T201
        f"{done} of {count} cases in {wall:.0f} s: {wall / count:.2f} s a case; engine's memory by tenths of the time "
        f"[MiB]: {' '.join(f'{x:.0f}' for x in tenths(memory))}"
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
    """Short tubes under pressures of their own, the real solver, one core."""
    design = folder / "design.yaml"
    (folder / "cases").mkdir(parents=True)
    s = np.linspace(0.0, LENGTH_MM, 25)
    line = tube(np.column_stack([0 * s, 0 * s, s]), np.full(len(s), RADIUS_MM))
    write_stl(exact_surface(line), folder / "tube.stl")
    for k in range(count):
        told = {
            "name": f"t{k:05d}",
            "input": {"kind": "surface", "path": str(folder / "tube.stl")},
            "physiology": {"mean_aortic_pressure_mmHg": 70.0 + 40.0 * k / count},
        }
        (folder / "cases" / f"t{k:05d}.yaml").write_text(yaml.safe_dump(told))
    design.write_text(yaml.safe_dump(TINY))
    began, cohort = time.monotonic(), folder / "cohort"
    with Watch("snakemake") as engine, Watch("") as driver:
        told = run_workflow(load(design), cohort, Engine("local", 1))
    wall = time.monotonic() - began
    stages = [
        sum(stage["seconds"] for stage in json.loads(path.read_text())["stages"].values())
        for path in (cohort / "cases").glob("*/run.json")
    ]
    print(  # noqa: T201
        f"{count} tubes in {wall:.0f} s ({told['verdicts']}), their stages {sum(stages):.0f} s: "
        f"{(wall - sum(stages)) / count:.2f} s a case over them; memory by tenths of the time [MiB]: engine {engine}, "
        f"driver {driver}"
    )


class Watch:
    """Looks every few seconds at the memory of a child process by name, or at this one's."""

    def __init__(self, name: str) -> None:
        self._name, self._memory, self._over = name, list[float](), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __str__(self) -> str:
        return " ".join(f"{x:.0f}" for x in tenths(self._memory))

    def _look(self) -> None:
        while not self._over.wait(2.0):
            mine = [os.getpid()] if not self._name else children(os.getpid())
            found = [resident_MiB(pid) for pid in mine if self._name in words(pid)]
            self._memory.append(max(found, default=0.0))


def children(pid: int) -> list[int]:
    """Child processes of one."""
    told = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for path in told for word in path.read_text().split()]


def words(pid: int) -> str:
    """Command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def tenths(memory: list[float]) -> list[float]:
    """The largest value of each tenth of the time."""
    n = len(memory)
    return [max(memory[n * k // 10 : n * (k + 1) // 10] or [0.0]) for k in range(10)]


if __name__ == "__main__":
    main()
