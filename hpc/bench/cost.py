"""Error of FFR over seconds for every element: ``python hpc/bench/cost.py tube`` or ``left_coronary``.

``tube``: a 50 % narrowing, against the exact straight jet (`tests/validation/axisymmetric.py`). ``left_coronary``: the
real one, against the finest setting of ``hpc/bench/flow.py`` (its ``flow.json``). Linear, quadratic and Taylor-Hood
elements on straight and curved tetrahedra, with boundary layers and without, each on meshes of several sizes; one rank.
Rows are kept in ``cost.json``; a killed run goes on. Both cases' rows make one picture, ``error-against-cost.png``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from adapt import exact_tube, write_case

ROOT = Path(__file__).parents[2]
PERCENT = 50
KINDS: dict[str, tuple[str, ...]] = {
    "P2-P2, curved": ("solver.element=P2-P2",),
    "P2-P2, straight": ("solver.element=P2-P2", "mesh.order=1"),
    "P2-P2, curved, layers": ("solver.element=P2-P2", "mesh.boundary_layers=2"),
    "P2-P1, curved": ("solver.element=P2-P1",),
    "P1-P1, straight": ("solver.element=P1-P1", "mesh.order=1"),
    "P1-P1, curved": ("solver.element=P1-P1",),
    "P1-P1, straight, layers": (
        "solver.element=P1-P1",
        "mesh.order=1",
        "mesh.boundary_layers=3",
    ),
}
SIZES: dict[str, dict[str, tuple[float, ...]]] = {  # elements a diameter
    "tube": {
        "P2-P2, curved": (3, 4, 5, 6.5),
        "P2-P2, straight": (3, 4, 5, 6.5),
        "P2-P2, curved, layers": (3, 4, 5),
        "P2-P1, curved": (3, 4),
        "P1-P1, straight": (5, 8, 12, 17),
        "P1-P1, curved": (5, 8, 12),
        "P1-P1, straight, layers": (5, 8, 12),
    },
    "left_coronary": {
        "P2-P2, curved": (3, 4, 5),
        "P2-P2, straight": (3, 4),
        "P2-P2, curved, layers": (3,),
        "P2-P1, curved": (2,),
        "P1-P1, straight": (5, 6.8, 10.8),
        "P1-P1, curved": (5, 6.8),
        "P1-P1, straight, layers": (5, 6.8),
    },
}
LOOKS = {  # marker, colour
    "P2-P2": ("o", "#440154"),
    "P2-P1": ("D", "#fde725"),
    "P1-P1": ("s", "#21918c"),
}
LIMIT_SECONDS = 3000.0


def measure(case: Path, folder: Path, kind: str, size: float) -> dict[str, Any]:
    """One row; where nothing came out, its reason."""
    command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", folder, "--to", "ffr"]
    for one in (
        "solver.ranks=1",
        "adapt.when=never",
        f"mesh.elements_per_diameter={size}",
        f"mesh.elements_across_throat={1.2 * size}",
        f"mesh.jet_growth={0.15 / size}",
        *KINDS[kind],
    ):
        command += ["--set", one]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"kind": kind, "size": size, "fault": f"more than {LIMIT_SECONDS:.0f} s"}
    if done.returncode:
        return {"kind": kind, "size": size, "fault": done.stderr[-600:]}
    flow = json.loads((folder / "solve" / "flow.json").read_text())
    ffr = json.loads((folder / "ffr" / "ffr.json").read_text())
    return {
        "kind": kind,
        "size": size,
        "cells": flow["cells"],
        "unknowns": flow["dofs"],
        "status": flow["status"],
        "seconds": flow["seconds"]["total"],
        "run_seconds": time.monotonic() - began,
        "GiB": flow["peak_memory_GiB"],
        "ffr": {vessel["name"]: vessel["ffr"] for vessel in ffr["vessels"]},
    }


def reference(vessel: str, folder: Path, finest: Path) -> dict[str, float]:
    """FFR at the vessel ends that errors are counted from."""
    if vessel == "tube":
        first = next(p for p in sorted(folder.iterdir()) if (p / "ffr" / "ffr.json").exists())
        ends = json.loads((first / "ffr" / "ffr.json").read_text())["vessels"]
        return dict.fromkeys((end["name"] for end in ends), exact_tube(first, PERCENT))
    rows = json.loads(finest.read_text())["rows"]
    ffr: dict[str, float] = next(row["ffr"] for row in rows if row["name"] == "finest")
    return ffr


def error(row: dict[str, Any], exact: dict[str, float]) -> float:
    """Largest difference at a vessel end."""
    return max(abs(row["ffr"][name] - value) for name, value in exact.items())


def plot(told: dict[str, Any], path: Path) -> None:
    """A panel a vessel; a line a kind; hollow: not a converged steady state of the real fluid."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(told), figsize=(5.4 * len(told), 4.4), layout="constrained", squeeze=False
    )
    titles = {
        "tube": f"straight tube, {PERCENT} % narrowing, against the exact jet",
        "left_coronary": "real left coronary, 84 % lesion, against the finest mesh",
    }
    for axes, (vessel, part) in zip(panels[0], told.items(), strict=True):
        for kind in KINDS:
            rows = [r for r in part["rows"] if r["kind"] == kind and "fault" not in r]
            rows.sort(key=lambda r: r["seconds"])
            if not rows:
                continue
            marker, colour = LOOKS[kind.split(",")[0]]
            style = ":" if "layers" in kind else "--" if "straight" in kind else "-"
            x, y = [r["seconds"] for r in rows], [error(r, part["reference"]) for r in rows]
            axes.loglog(x, y, style, color=colour, label=kind, linewidth=1.4)
            for r, a, b in zip(rows, x, y, strict=True):
                good = r["status"] == "converged"
                axes.loglog(a, b, marker, color=colour, markersize=6, markeredgecolor="0.3",
                            markeredgewidth=0.6, markerfacecolor=colour if good else "white")  # fmt: skip
        axes.axhline(0.005, color="0.6", linewidth=0.8)
        axes.annotate("wanted: 0.005", (0.01, 0.005), (0, 3), fontsize=8, color="0.4",
                      xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
        axes.set_title(titles[vessel], fontsize=10)
        axes.set_xlabel("mesh file to fields, one rank [s]")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("largest error of FFR at a vessel end [-]")
    panels[0][-1].legend(fontsize=8, frameon=False, loc="upper right")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run what is asked for, print the rows, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vessels", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench-cost")
    parser.add_argument("--finest", type=Path, default=ROOT / "runs" / "bench-flow" / "flow.json")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    ledger = args.output.resolve() / "cost.json"
    told: dict[str, Any] = json.loads(ledger.read_text()) if ledger.exists() else {}
    for vessel in args.vessels:
        folder = ledger.parent / vessel
        folder.mkdir(exist_ok=True)
        case = ROOT / "configs" / "left_coronary.yaml"
        if vessel == "tube":
            case = write_case(folder, PERCENT / 100)
        rows = told.setdefault(vessel, {"rows": []})["rows"]
        for kind, sizes in SIZES[vessel].items():
            for size in sizes:
                if any(r["kind"] == kind and r["size"] == size for r in rows):
                    continue
                name = f"{kind}_{size}".replace(", ", "_")
                rows.append(measure(case, folder / name, kind, size))
                sys.stdout.write(json.dumps(rows[-1]) + "\n")
                sys.stdout.flush()
                ledger.write_text(json.dumps(told, indent=1))
        told[vessel]["reference"] = reference(vessel, folder, args.finest)
        ledger.write_text(json.dumps(told, indent=1))
    for vessel, part in told.items():
        for row in sorted(
            (r for r in part["rows"] if "fault" not in r), key=lambda r: r["seconds"]
        ):
            sys.stdout.write(
                f"{vessel:14s} {row['kind']:25s} {row['size']:5g} a diameter {row['cells']:8d} tetrahedra "
                f"{row['seconds']:7.1f} s {row['GiB']:5.1f} GiB  error {error(row, part['reference']):.4f}  "
                f"{row['status']}\n"
            )
    plot(told, args.output / "error-against-cost.png")


if __name__ == "__main__":
    main()
