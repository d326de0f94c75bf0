"""Error of FFR over tetrahedra and over time: meshes by the options against meshes adapted to a coarse solution.

``python hpc/bench/adapt.py tree``: the bundled tree (`configs/demo.yaml`); the error is the largest of its vessel
ends, against the finest mesh. ``python hpc/bench/adapt.py PERCENT``: a cosine stenosis two diameters long in a
straight tube, against the exact straight jet (`tests/validation/axisymmetric.py`). One rank. Rows are kept in
``runs/bench-adapt``; a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import resource
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from pipeline.phantom import exact_surface, tube
from pipeline.surface.mesh import write_stl

ROOT = Path(__file__).parents[2]
DIAMETER, LENGTH, THROAT, HALF = 3.0, 45.0, 12.0, 3.0  # [mm]
COARSE = ("mesh.elements_per_diameter=3", "mesh.elements_across_throat=3.6", "mesh.jet_growth=0.05")
ONCE = ("adapt.when=always", "adapt.rounds=1")
SETTINGS: dict[str, tuple[str, ...]] = {
    "options, 3 a diameter": (*COARSE, "adapt.when=never"),
    "options, 4 a diameter": (
        "mesh.elements_per_diameter=4",
        "mesh.elements_across_throat=4.8",
        "mesh.jet_growth=0.0375",
        "adapt.when=never",
    ),
    "options, 5 (the default)": ("adapt.when=never",),
    "options, 6.5": (
        "mesh.elements_per_diameter=6.5",
        "mesh.elements_across_throat=7.8",
        "mesh.jet_growth=0.023",
        "adapt.when=never",
    ),
    "adapted, once, 1.0 times": (*COARSE, *ONCE, "adapt.growth=1.0"),
    "adapted, once, 1.7 times": (*COARSE, *ONCE, "adapt.growth=1.7"),
    "adapted, once, 3.0 times": (*COARSE, *ONCE, "adapt.growth=3.0"),
    "adapted, twice, 1.7 times": (
        *COARSE,
        "adapt.when=always",
        "adapt.growth=1.7",
        "adapt.rounds=2",
    ),
}
FINEST = (
    "mesh.elements_per_diameter=8",
    "mesh.elements_across_throat=9.6",
    "mesh.jet_growth=0.01875",
    "adapt.when=never",
)
TREE = {name: SETTINGS[name] for name in SETTINGS if "6.5" not in name and "3.0" not in name} | {
    "options, 8 (reference)": FINEST
}


def write_case(folder: Path, reduction: float) -> Path:
    """Surface and case of the tube."""
    s = np.linspace(0, LENGTH, 901)
    t = np.clip((s - THROAT) / HALF, -1, 1)
    diameter = DIAMETER * (1 - reduction * 0.5 * (1 + np.cos(np.pi * t)))
    write_stl(
        exact_surface(tube(np.column_stack([0 * s, 0 * s, s]), diameter / 2)), folder / "tube.stl"
    )
    case = {
        "name": "tube",
        "input": {"kind": "surface", "path": "tube.stl"},
        "anatomy": {"inlet": [0.0, 0.0, 0.0]},
        "physiology": {"resting": {"flow_mL_per_min": 50}},
    }
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(case))
    return path


def measure(case: Path, folder: Path, settings: tuple[str, ...]) -> dict[str, Any]:
    """Run one setting from its input to FFR; its row. Processor time, which other jobs hardly change, and wall time."""
    shutil.rmtree(folder, ignore_errors=True)  # nothing of an earlier, unfinished run
    command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", folder, "--to", "ffr"]
    for one in ("solver.ranks=1", *settings):
        command += ["--set", one]
    began, used = time.monotonic(), _processor_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    row = {"seconds": time.monotonic() - began, "cpu_seconds": _processor_seconds() - used}
    flow = json.loads((folder / "solve" / "flow.json").read_text())
    ffr = json.loads((folder / "ffr" / "ffr.json").read_text())
    return {
        "cells": flow["cells"],
        "status": flow["status"],
        "ffr": {vessel["name"]: vessel["ffr"] for vessel in ffr["vessels"]},
        **row,
    }


def _processor_seconds() -> float:
    """Of all processes that have ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def exact_tube(run: Path, percent: int) -> float:
    """FFR of the exact straight jet with the outlet of a run."""
    axi = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "validation" / "axisymmetric.py")))
    anatomy = json.loads((run / "anatomy" / "anatomy.json").read_text())
    problem = json.loads((run / "solve" / "problem.json").read_text())
    flow = axi.solve(axi.Tube.of(percent / 100, anatomy), axi.Conditions.of(problem))
    return float(flow.ffr)


def table(rows: dict[str, dict[str, Any]], reference: dict[str, float]) -> str:
    """Error, cells and time of each row."""
    lines = [f"{'mesh':28s} {'tetrahedra':>10s} {'error':>9s} {'processor':>10s} {'wall':>7s}"]
    for name, row in rows.items():
        error = max((row["ffr"][end] - reference[end] for end in reference), key=abs)
        lines.append(
            f"{name:28s} {row['cells']:10d} {error:+9.5f} {row['cpu_seconds']:8.0f} s "
            f"{row['seconds']:5.0f} s {row['status']}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all settings, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vessel", nargs="?", default="tree", help="tree, or percent of a stenosis")
    vessel = parser.parse_args().vessel
    folder = ROOT / "runs" / "bench-adapt" / vessel
    folder.mkdir(parents=True, exist_ok=True)
    tree = vessel == "tree"
    settings = TREE if tree else SETTINGS
    case = ROOT / "configs" / "demo.yaml" if tree else write_case(folder, int(vessel) / 100)
    runs = {name: folder / name.translate({32: "_", 40: "", 41: "", 44: ""}) for name in settings}
    rows: dict[str, dict[str, Any]] = {}
    ledger = folder / "rows.json"
    if ledger.exists():
        rows = json.loads(ledger.read_text())
    for name in settings:
        if name not in rows:
            rows[name] = measure(case, runs[name], settings[name])
            ledger.write_text(json.dumps(rows, indent=2))
        sys.stdout.write(f"{name}: {rows[name]}\n")
        sys.stdout.flush()
    if tree:
        reference = rows["options, 8 (reference)"]["ffr"]
    else:
        first = next(iter(settings))
        reference = dict.fromkeys(rows[first]["ffr"], exact_tube(runs[first], int(vessel)))
    sys.stdout.write(f"reference FFR {reference}\n{table(rows, reference)}\n")


if __name__ == "__main__":
    main()
