"""Against another code: OpenFOAM's ``simpleFoam`` on the same straight tetrahedra, same inlet velocity, same outflows.

``python hpc/bench/openfoam.py tube`` (a 40 % stenosis) or ``left_coronary`` (the real one): a series of meshes,
quadratic elements here (or ``--element P1-P1``), second-order finite volumes there, one core each, one after the other.
Outflows differ a little between meshes: they are those of this program on each (resistances at its outlets). Compared
are the pressure drops from the inlet to each outlet, and the seconds until no outlet's pressure changes by more than
1e-4 of itself any more. Needs Debian's ``openfoam``. Rows are kept in ``runs/bench-openfoam``; a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from adapt import write_case
from foam_case import FoamCase, PolyMesh, read_scalars

from meshing.vessel import VesselMesh
from solver.problem import FlowProblem, FlowResult

ROOT = Path(__file__).parents[2]
SIZES = {"tube": (4.0, 5.0, 7.0), "left_coronary": (3.0, 4.0, 5.0)}
"""Elements a diameter."""
ITERATIONS, INTERVAL = 1500, 10
SETTLED = 1e-4
MMHG = 133.322
ENVIRONMENT = {"WM_PROJECT_DIR": "/usr/share/openfoam", **os.environ, "OMP_NUM_THREADS": "1"}


def measure(case: Path, folder: Path, element: str, size: float) -> dict[str, Any]:
    """Both codes on one mesh; the row."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        Path(sys.executable).parent / "ffr3d",
        "run",
        case,
        "-o",
        folder / "run",
        "--to",
        "ffr",
    ]
    for one in (
        "solver.ranks=1",
        f"solver.element={element}",
        "mesh.order=1",
        "adapt.when=never",
        f"mesh.elements_per_diameter={size}",
        f"mesh.elements_across_throat={1.2 * size}",
        f"mesh.jet_growth={0.15 / size}",
    ):
        command += ["--set", one]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    flow = FlowResult.load(folder / "run" / "solve" / "flow.json")
    p0 = flow.patches[flow.inlet].p
    outlets = [name for name in flow.patches if name != flow.inlet]
    foam = simple_foam(folder, flow)
    return {
        "cells": flow.cells,
        "status": flow.status,
        "seconds": flow.seconds["solve"],
        "memory_GiB": flow.peak_memory_GiB,
        "Q_mL_per_s": {name: 1e6 * flow.patches[name].Q for name in outlets},
        "p_mmHg": {name: flow.patches[name].p / MMHG for name in outlets},
        "drop_mmHg": {name: (p0 - flow.patches[name].p) / MMHG for name in outlets},
        **foam,
    }


def simple_foam(folder: Path, flow: FlowResult) -> dict[str, Any]:
    """Drops, seconds and iterations of ``simpleFoam`` on the mesh of a run."""
    problem = FlowProblem.load(folder / "run" / "solve" / "problem.json")
    vessel = VesselMesh.load(folder / "run" / "mesh" / "mesh.json")
    with h5py.File(folder / "run" / "solve" / "fields.h5") as f:
        velocity = np.asarray(f["velocity"][:], dtype=np.float64)
    mesh = PolyMesh.of(vessel.arrays(), vessel.patches)
    first, count = mesh.spans[flow.inlet]
    outlets = [name for name in flow.patches if name != flow.inlet]
    outlets.sort(key=lambda name: -flow.patches[name].Q)
    entering = velocity[mesh.faces[first : first + count]].mean(axis=1)
    entering *= flow.patches[flow.inlet].Q / float((mesh.normals(flow.inlet) * entering).sum())
    case = FoamCase(
        mesh,
        flow.inlet,
        entering,
        {name: flow.patches[name].Q for name in outlets},
        problem.rheology.viscosity / problem.density,
    )
    place = folder / "foam"
    case.write(place, ITERATIONS, INTERVAL)
    for program in ("checkMesh", "simpleFoam"):
        with (place / f"{program}.log").open("w") as log:
            subprocess.run(
                [program, "-case", place], check=True, stdout=log, stderr=log, env=ENVIRONMENT
            )
    history = _history(place, mesh, flow, outlets, problem.density)
    clock = re.findall(r"ExecutionTime = ([\d.]+) s", (place / "simpleFoam.log").read_text())
    last = history[max(history)]
    absolute = np.array([flow.patches[name].p for name in outlets])
    late = [n for n in history if np.any(np.abs(history[n] - last) > SETTLED * absolute)]
    settled = min((n for n in history if n > max(late, default=0)), default=max(history))
    fields = [path for path in place.iterdir() if path.name.isdigit() and path.name != "0"]
    for path in fields:
        shutil.rmtree(path)
    return {
        "foam_iterations": max(history),
        "foam_settled": settled,
        "foam_seconds": float(clock[settled - 1]),
        "foam_drift_mmHg": float(np.abs(history[settled] - last).max() / MMHG),
        "foam_drop_mmHg": {
            name: float(drop) / MMHG for name, drop in zip(outlets, last, strict=True)
        },
    }


def _history(
    place: Path, mesh: PolyMesh, flow: FlowResult, outlets: list[str], density: float
) -> dict[int, np.ndarray]:
    """Drops [Pa] from the inlet to the outlets by iteration; the first outlet's pressure is zero at its faces."""
    drops = {}
    for path in place.iterdir():
        if path.name.isdigit() and path.name != "0":
            p = read_scalars(path / "p")
            at = [0.0] + [mesh.mean(name, p) for name in outlets[1:]]
            drops[int(path.name)] = density * (mesh.mean(flow.inlet, p) - np.array(at))
    return drops


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Drops and times of both codes, and their limits."""
    lines = [
        f"{'tetrahedra':>10s} {'seconds':>8s} {'foam':>8s} {'ratio':>6s}  drop here / there [mmHg]"
    ]
    for row in rows.values():
        both = "  ".join(
            f"{name} {drop:.3f} / {row['foam_drop_mmHg'][name]:.3f}"
            for name, drop in row["drop_mmHg"].items()
        )
        ratio = row["foam_seconds"] / row["seconds"]
        lines.append(
            f"{row['cells']:10d} {row['seconds']:8.1f} {row['foam_seconds']:8.1f} {ratio:6.1f}  {both}"
        )
    if len(rows) > 1:
        lines += _limits(list(rows.values()))
    return "\n".join(lines)


def _limits(rows: list[dict[str, Any]]) -> list[str]:
    """Of each drop, from the two finest meshes with the order of two; the error bar is its distance from the finest."""
    lines = []
    ratio = (rows[-1]["cells"] / rows[-2]["cells"]) ** (2 / 3)
    for name in rows[-1]["drop_mmHg"]:
        limit, bar = {}, {}
        for key in ("drop_mmHg", "foam_drop_mmHg"):
            before, finest = rows[-2][key][name], rows[-1][key][name]
            bar[key] = abs(finest - before) / (ratio - 1)
            limit[key] = finest + (finest - before) / (ratio - 1)
        apart = abs(limit["drop_mmHg"] - limit["foam_drop_mmHg"])
        told = [f"{limit[key]:.3f} +- {bar[key]:.3f}" for key in limit]
        verdict = "PASS" if apart <= sum(bar.values()) else "FAIL"
        lines.append(f"{name}: limit {told[0]} here, {told[1]} there: {verdict}")
    return lines


def main() -> None:
    """Run the series, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vessel", choices=SIZES)
    parser.add_argument("sizes", nargs="*", type=float, help="elements a diameter")
    parser.add_argument("--element", default="P2-P2")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench-openfoam")
    args = parser.parse_args()
    if shutil.which("simpleFoam") is None:
        sys.exit("simpleFoam is not there: apt-get install openfoam")
    folder = args.output / args.vessel
    folder.mkdir(parents=True, exist_ok=True)
    tube = args.vessel == "tube"
    case = write_case(folder, 0.4) if tube else ROOT / "configs" / "left_coronary.yaml"
    ledger = folder / f"{args.element}.json"
    rows: dict[str, dict[str, Any]] = json.loads(ledger.read_text()) if ledger.exists() else {}
    sizes = args.sizes or SIZES[args.vessel]
    for size in sizes:
        if str(size) not in rows:
            rows[str(size)] = measure(case, folder / f"{args.element}_{size:g}", args.element, size)
            ledger.write_text(json.dumps(rows, indent=2))
    sys.stdout.write(table({str(size): rows[str(size)] for size in sizes}) + "\n")


if __name__ == "__main__":
    main()
