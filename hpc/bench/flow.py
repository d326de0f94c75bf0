"""The flow solver on the real left coronary against its limits: ``make bench`` or ``python hpc/bench/flow.py``.

Time and memory of the reference setting, of the preview and of a million linear tetrahedra; FFR against the finest
setting; growth of time and iterations with the mesh; one rank against two. Prints a line for each with PASS or FAIL and
writes ``flow.json``. Times are medians of ``--repeat`` solves of the same mesh, from mesh file to fields.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import stream
from stages import LINEAR, MILLION, ROOT, THIRD

from pipeline.case_file import PREVIEW, load
from pipeline.run import run

SETTINGS: dict[str, tuple[str, ...]] = {
    "reference": (),
    "reference, one rank": ("solver.ranks=1",),
    "finest": THIRD,
    "preview": PREVIEW,
    "P2-P2 straight": ("mesh.order=1",),
    "P1-P1 0.1 M": LINEAR,
    "P1-P1 0.3 M": (*LINEAR, *THIRD),
    "P1-P1 1 M": (*LINEAR, *MILLION),
    "P1-P1 2 M": (*LINEAR, "mesh.elements_per_diameter=13.6", "mesh.elements_across_throat=16.1"),
}
GROWTH = ("P1-P1 0.1 M", "P1-P1 0.3 M", "P1-P1 1 M", "P1-P1 2 M")


@dataclass(frozen=True, slots=True)
class Line:
    """One measured number and its limit."""

    name: str
    value: float
    wanted: str
    good: bool

    def __str__(self) -> str:
        verdict = "PASS" if self.good else "FAIL"
        return f"{verdict}  {self.name}: {self.value:.4g} (wanted {self.wanted})"


def at_most(name: str, value: float, limit: float, unit: str = "") -> Line:
    """A number that must not exceed a limit."""
    return Line(name, value, f"<= {limit:g} {unit}".rstrip(), value <= limit)


def measure(name: str, repeat: int, folder: Path) -> dict[str, Any]:
    """Solve the case in one setting, the first time from nothing; medians of the solver's own seconds."""
    case = load(ROOT / "configs" / "left_coronary.yaml", SETTINGS[name])
    where, seconds = folder / name.replace(" ", "_").replace(",", ""), []
    for k in range(repeat):
        if k:
            for old in ("state.h5", "fields.h5", "flow.json"):
                (where / "solve" / old).unlink(missing_ok=True)
        run(case, where, start="solve" if k else "surface", stop="ffr")
        flow = json.loads((where / "solve" / "flow.json").read_text())
        seconds.append(flow["seconds"]["total"])
    ffr = json.loads((where / "ffr" / "ffr.json").read_text())
    return {
        "name": name,
        "cells": flow["cells"],
        "ranks": flow["ranks"],
        "status": flow["status"],
        "steps": flow["steps"],
        "iterations": flow["linear_iterations"],
        "seconds": statistics.median(seconds),
        "all_seconds": seconds,
        "phases": flow["seconds"],
        "memory_GiB": flow["peak_memory_GiB"],
        "ffr": {vessel["name"]: vessel["ffr"] for vessel in ffr["vessels"]},
    }


def error(row: dict[str, Any], finest: dict[str, Any]) -> float:
    """Largest difference of FFR at the vessel ends."""
    return max(abs(row["ffr"][name] - value) for name, value in finest["ffr"].items())


def judge(rows: dict[str, dict[str, Any]]) -> list[Line]:
    """A line for every limit whose settings were run."""
    lines = []
    limits = {"reference": (180.0, 0.005, 10.0), "preview": (30.0, 0.02, 10.0)}
    for name, (seconds, most, memory) in limits.items():
        if name in rows:
            row = rows[name]
            lines.append(at_most(f"{name}: seconds", row["seconds"], seconds, "s"))
            lines.append(at_most(f"{name}: memory", row["memory_GiB"], memory, "GiB"))
            if "finest" in rows:
                off = error(row, rows["finest"])
                lines.append(at_most(f"{name}: error of FFR", off, most))
    if "P1-P1 1 M" in rows:
        row = rows["P1-P1 1 M"]
        lines.append(at_most("P1-P1 1 M: seconds", row["seconds"], 180.0, "s"))
        lines.append(at_most("P1-P1 1 M: memory", row["memory_GiB"], 8.0, "GiB"))
    if all(name in rows for name in GROWTH):
        first, last = rows[GROWTH[0]], rows[GROWTH[-1]]
        ratio = math.log(last["cells"] / first["cells"])
        power = math.log(last["seconds"] / first["seconds"]) / ratio
        lines.append(at_most("growth: power of the time", power, 1.15))
        more = last["iterations"] / last["steps"] / (first["iterations"] / first["steps"])
        tenfold = more ** (math.log(10) / ratio)
        lines.append(at_most("growth: iterations a step, tenfold", tenfold, 1.5))
    if {"reference", "reference, one rank"} <= rows.keys():
        gain = rows["reference, one rank"]["seconds"] / rows["reference"]["seconds"]
        lines.append(Line("two ranks over one", gain, ">= 1.7", gain >= 1.7))
    return lines


def plot(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Error of FFR against the finest setting, over seconds; a point a setting on all cores."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    markers = {"P1-P1": ("s", "#3b528b"), "preview": ("^", "#21918c")}
    for name, row in rows.items():
        if name == "finest" or row["ranks"] == 1:
            continue
        x, y = row["seconds"], error(row, rows["finest"])
        marker, colour = markers.get(name.split(" ")[0], ("o", "#440154"))
        axes.loglog(x, y, marker, color=colour, markersize=7)
        label = f"{name}\n{row['cells'] / 1e3:,.0f}k tetrahedra"
        axes.annotate(label, (x, y), (7, 4), textcoords="offset points", fontsize=8)
    for limit in (0.005, 0.02):
        axes.axhline(limit, color="0.6", linewidth=0.8, linestyle="--")
        axes.annotate(f"{limit:g}", (1.0, limit), (3, 2), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=8, color="0.4")  # fmt: skip
    axes.set_xlabel("mesh file to fields, two ranks [s]")
    axes.set_ylabel("largest error of FFR at a vessel end")
    axes.margins(x=0.25, y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> int:
    """Run the settings, print the lines; exit status 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help=f"of {', '.join(SETTINGS)} (all)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench-flow")
    parser.add_argument(
        "--keep", action="store_true", help="keep the other settings' rows of the last run"
    )
    args = parser.parse_args()
    if unknown := set(args.settings) - SETTINGS.keys():
        parser.error(f"no setting {sorted(unknown)}; there are {list(SETTINGS)}")
    args.output.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"stream_GB_per_s": {n: round(stream(n), 1) for n in (1, 2)}}
    sys.stdout.write(f"STREAM triad, GB/s by processes: {told['stream_GB_per_s']}\n")
    rows: dict[str, dict[str, Any]] = {}
    if args.keep and (args.output / "flow.json").exists():
        kept = json.loads((args.output / "flow.json").read_text())["rows"]
        rows = {row["name"]: row for row in kept}
    for name in args.settings or SETTINGS:
        rows[name] = measure(name, args.repeat, args.output)
        sys.stdout.write(json.dumps(rows[name]) + "\n")
        sys.stdout.flush()
    lines = judge(rows)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    told |= {
        "passed": all(line.good for line in lines),
        "lines": [
            {"name": x.name, "value": x.value, "wanted": x.wanted, "good": x.good} for x in lines
        ],
        "rows": list(rows.values()),
    }
    (args.output / "flow.json").write_text(json.dumps(told, indent=1))
    if "finest" in rows and len(rows) > 1:
        plot(rows, args.output / "error-against-cost.png")
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
