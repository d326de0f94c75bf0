r"""Whether the discretisation error that a certificate tells covers the true one, on tubes whose flow is known.

Straight tubes with and without a cosine narrowing, on coarse to middling meshes of both elements, from surface to
certificate; the exact FFR is that of the independent axisymmetric solver (`tests/validation/axisymmetric.py`).

    python hpc/certificate/coverage.py                # all cases, a row each; resumable (runs/certificate)
    python hpc/certificate/coverage.py --set second   # other narrowings, meshes and flows
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
FFR3D = Path(sys.executable).parent / "ffr3d"
DIAMETER, LENGTH, THROAT, HALF = 3.0, 45.0, 12.0, 3.0  # [mm], the series of `axisymmetric.Tube`
SETS = {  # per cent; element, order, elements a diameter and across throats; resting flow [mL/min] by elements
    "first": (
        (0, 10, 20, 30, 40, 50, 60),
        (
            ("P1-P1", 1, 5.0, 6.0),
            ("P1-P1", 1, 8.0, 8.0),
            ("P2-P2", 2, 3.0, 4.0),
            ("P2-P2", 2, 4.0, 6.0),
        ),
        {3.0: 50, 4.0: 50, 5.0: 50, 8.0: 30},
    ),
    "second": (
        (5, 15, 25, 35, 45, 55),
        (("P1-P1", 1, 6.0, 7.0), ("P2-P2", 2, 3.5, 5.0)),
        {6.0: 80, 3.5: 80},
    ),
}
"""The order and the rule of the certificate were chosen on the first set; the second was looked at once, afterwards."""


def main() -> None:
    """The table and its last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="element")
    parser.add_argument("--set", dest="chosen", default="first", choices=tuple(SETS))
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "certificate")
    args = parser.parse_args()
    module = runpy.run_path(str(ROOT / "tests" / "validation" / "axisymmetric.py"))
    axisymmetric = SimpleNamespace(**module)
    told = []
    percents, meshes, flows = SETS[args.chosen]
    for mesh in meshes:
        for percent in percents:
            if args.only in ("", mesh[0]):
                folder = args.folder / f"{mesh[0]}-{mesh[2]:g}-{percent}"
                row = _row(folder, percent, mesh, flows[mesh[2]], axisymmetric)
                told.append(row)
                print(_text(row), flush=True)  # noqa: T201
    known = [row for row in told if row["error"] is not None]
    covered = sum(row["true"] <= row["error"] for row in known)
    ratios = [row["error"] / max(row["true"], 1e-5) for row in known]
    print(  # noqa: T201
        f"{covered} of {len(known)} covered ({covered / len(known):.0%}), {len(told) - len(known)} without an "
        f"error; told over true error, median {np.median(ratios):.1f}"
    )


def _row(
    folder: Path,
    percent: int,
    mesh: tuple[str, int, float, float],
    flow: float,
    axisymmetric: SimpleNamespace,
) -> dict[str, Any]:
    element, order, count, across = mesh
    folder.mkdir(parents=True, exist_ok=True)
    s = np.linspace(0, LENGTH, 901)
    t = np.clip((s - THROAT) / HALF, -1, 1)
    radius = DIAMETER / 2 * (1 - percent / 200 * (1 + np.cos(np.pi * t)))
    surface = exact_surface(tube(np.column_stack([0 * s, 0 * s, s]), radius))
    if not (folder / "tube.stl").exists():
        write_stl(surface, folder / "tube.stl")
    case = {
        "name": folder.name,
        "input": {"kind": "surface", "path": str(folder / "tube.stl")},
        "anatomy": {"inlet": [0.0, 0.0, 0.0]},
        "physiology": {"resting": {"flow_mL_per_min": flow}},
        "mesh": {"order": order, "elements_per_diameter": count, "elements_across_throat": across},
        "solver": {"element": element, "ranks": 1},
        "adapt": {"when": "never"},
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    command = [FFR3D, "run", folder / "case.yaml", "-o", folder / "run", "--to", "certify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    run = folder / "run"
    problem, anatomy, certificate = (
        json.loads((run / name).read_text())
        for name in ("solve/problem.json", "anatomy/anatomy.json", "certify/certificate.json")
    )
    shape = axisymmetric.Tube.of(percent / 100, anatomy)
    exact = axisymmetric.solve(shape, axisymmetric.Conditions.of(problem)).ffr
    numbers = json.loads((run / "ffr" / "ffr.json").read_text())
    (vessel,) = numbers["vessels"]
    told = certificate["discretisation"]["ffr"].get(f"vessel {vessel['name']}")
    return {
        "name": folder.name,
        "cells": [level["cells"] for level in certificate["discretisation"]["levels"]],
        "status": numbers["evidence"]["solver"]["status"],
        "ffr": vessel["ffr"],
        "exact": exact,
        "true": abs(vessel["ffr"] - exact),
        "error": None if told is None else told["error"],
        "verdict": certificate["status"],
    }


def _text(row: dict[str, Any]) -> str:
    error = "-" if row["error"] is None else f"{row['error']:.4f}"
    return (
        f"{row['name']:14s} {row['cells']!s:18s} {row['status']:12s} FFR {row['ffr']:.4f} exact {row['exact']:.4f} "
        f"off {row['true']:.4f} told {error} {row['verdict']}"
    )


if __name__ == "__main__":
    main()
