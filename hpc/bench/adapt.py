"""Error of FFR over tetrahedra and over time: meshes by the options against meshes adapted to a coarse solution.

``python hpc/bench/adapt.py [PERCENT]``: a cosine stenosis two diameters long in a straight tube, one rank. The error is
that against the exact straight jet (`tests/validation/axisymmetric.py`). Rows are kept in ``runs/bench-adapt``; a
killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
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
        "solver": {"ranks": 1},
    }
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(case))
    return path


def measure(case: Path, folder: Path, settings: tuple[str, ...]) -> dict[str, Any]:
    """Run one setting; its row. The time is that of meshing and solving, on every mesh."""
    command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", folder, "--to", "ffr"]
    for one in settings:
        command += ["--set", one]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    flow = json.loads((folder / "solve" / "flow.json").read_text())
    ledger = json.loads((folder / "run.json").read_text())
    ffr = json.loads((folder / "ffr" / "ffr.json").read_text())
    before = sum(attempt["seconds"] for attempt in ledger["refinement"]["attempts"])
    return {
        "cells": flow["cells"],
        "status": flow["status"],
        "ffr": ffr["vessels"][0]["ffr"],
        "seconds": before + sum(ledger["stages"][name]["seconds"] for name in ("mesh", "solve")),
    }


def main() -> None:
    """Run all settings, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("percent", type=int, nargs="?", default=50)
    percent = parser.parse_args().percent
    folder = ROOT / "runs" / "bench-adapt" / str(percent)
    folder.mkdir(parents=True, exist_ok=True)
    case = write_case(folder, percent / 100)
    rows, ledger = {}, folder / "rows.json"
    if ledger.exists():
        rows = json.loads(ledger.read_text())
    for name, settings in SETTINGS.items():
        if name not in rows:
            rows[name] = measure(case, folder / name.replace(" ", "_").replace(",", ""), settings)
            ledger.write_text(json.dumps(rows, indent=2))
        sys.stdout.write(f"{name}: {rows[name]}\n")
        sys.stdout.flush()
    axi = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "validation" / "axisymmetric.py")))
    run = folder / next(iter(SETTINGS)).replace(" ", "_").replace(",", "")
    anatomy = json.loads((run / "anatomy" / "anatomy.json").read_text())
    problem = json.loads((run / "solve" / "problem.json").read_text())
    exact = axi.solve(axi.Tube.of(percent / 100, anatomy), axi.Conditions.of(problem)).ffr
    sys.stdout.write(f"{percent} %, exact FFR {exact:.5f}\n")
    sys.stdout.write(f"{'mesh':28s} {'tetrahedra':>10s} {'error':>9s} {'time':>8s}\n")
    for name, row in rows.items():
        error = row["ffr"] - exact
        sys.stdout.write(
            f"{name:28s} {row['cells']:10d} {error:+9.5f} {row['seconds']:6.0f} s {row['status']}\n"
        )


if __name__ == "__main__":
    main()
