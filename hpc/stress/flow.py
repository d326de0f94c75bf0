"""The flow through hundreds of hard vessels on coarse meshes: ``python hpc/stress/flow.py [lesions|vessels]``.

Two series, from surface to FFR with the defaults but for a coarse mesh (`COARSE`): 200 narrowings made to be hard on
the flow solver (`lesions`, ``make stress``), and every third of the 300 vessels made to be hard on the mesh generator
(`vessels`, ``make stress-flow``). A vessel passes when a steady state of the real fluid is found and mass is
conserved; what else came out is counted by status. Rows are kept in ``stress.jsonl``; vessels already there are
skipped, so that a killed run goes on. The verdict is in ``stress.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from lesions import draw as lesion
from mesh import ROOT, Job, vessel

COARSE = (
    "mesh.elements_per_diameter=3",
    "mesh.elements_across_throat=4",
    "mesh.jet_growth=0.06",
    "adapt.rounds=3",
)
"""The last: only the third finer mesh slows the growth behind a throat (docs/decisions/0026-adapted-meshes.md)."""
SERIES = {  # name: how many, seed of the n-th, how it is drawn
    "lesions": (200, 1, lesion),
    "vessels": (100, 3, vessel),
}
HANG_SECONDS = 3600.0
WANTED = 0.99
MASS_BALANCE = 1e-6


def run(job: Job) -> dict[str, Any]:
    """One vessel from surface to FFR; its row."""
    began = time.monotonic()
    try:
        case, told = job.case()
    except Exception as fault:
        return {"name": job.name, "outcome": "no vessel", "reason": repr(fault)}
    command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", job.folder / "run"]
    command += ["--to", "ffr", "--set", "solver.ranks=1"]
    for override in job.overrides:
        command += ["--set", override]
    row: dict[str, Any] = {"name": job.name, "vessel": told}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {**row, "outcome": "hang", "seconds": HANG_SECONDS}
    (job.folder / "log.txt").write_text(done.stdout + done.stderr)
    row["seconds"] = round(time.monotonic() - began, 1)
    if done.returncode:
        kind = "crash" if "Traceback" in done.stdout + done.stderr else "refused"
        return {**row, "outcome": kind, "reason": done.stderr[-1500:]}
    return {**row, **_result(job.folder / "run")}


def _result(folder: Path) -> dict[str, Any]:
    flow = json.loads((folder / "solve" / "flow.json").read_text())
    ffr = json.loads((folder / "ffr" / "ffr.json").read_text())
    tried = json.loads((folder / "run.json").read_text())["refinement"]
    throat = max((x["throat_reynolds"] for x in ffr["lesions"]), default=0.0)
    unbalanced = flow["mass_balance"] >= MASS_BALANCE
    return {
        "outcome": "unbalanced" if unbalanced else flow["status"],
        "cells": flow["cells"],
        "steps": flow["steps"],
        "branch_end": flow["branch_end"],
        "mass_balance": flow["mass_balance"],
        "residual": flow["residual"],
        "refined": [attempt["factor"] for attempt in tried["attempts"]],
        "withdrawn": tried["withdrawn"],
        "solve_seconds": flow["seconds"]["total"],
        "throat_reynolds": throat,
        "ffr": {vessel["name"]: round(vessel["ffr"], 4) for vessel in ffr["vessels"]},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Outcomes, how they were reached, and what did not converge."""
    counts = Counter(row["outcome"] for row in rows)
    good = [row for row in rows if row["outcome"] == "converged"]
    lines = [
        f"{len(rows)} vessels: {len(good)} converged ({100 * len(good) / max(1, len(rows)):.1f} %), all {dict(counts)}",
        f"    {sum(bool(row['refined']) for row in good)} of them on a finer mesh, "
        f"{sum(row['branch_end'] > 1 for row in good)} around a fold",
    ]
    if good:
        lines.append(
            f"    cells {min(r['cells'] for r in good)} to {max(r['cells'] for r in good)}, median "
            f"{np.median([r['seconds'] for r in good]):.0f} s, longest {max(r['seconds'] for r in good):.0f} s, "
            f"Reynolds number of the fastest throat up to {max(r['throat_reynolds'] for r in good):.0f}"
        )
    lines += [
        f"    {row['name']}: {row['outcome']}: {row.get('reason', '').strip()[-300:]}"
        for row in rows
        if row["outcome"] != "converged"
    ]
    for family in dict.fromkeys(row["vessel"].get("family", "") for row in rows if "vessel" in row):
        those = [row for row in rows if row.get("vessel", {}).get("family") == family]
        found = sum(row["outcome"] == "converged" for row in those)
        lines.append(f"    {found:4d} of {len(those):4d}  {family}")
    verdict = "PASS" if passed(rows) else "FAIL"
    return "\n".join([*lines, f"{verdict}: at least {WANTED:.0%} converge"])


def passed(rows: list[dict[str, Any]]) -> bool:
    """Whether enough vessels converged."""
    good = sum(row["outcome"] == "converged" for row in rows)
    return bool(rows) and good >= WANTED * len(rows)


def main() -> int:
    """Run what is asked for, print the table; exit status 1 where the limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", nargs="?", choices=SERIES, default="lesions")
    parser.add_argument("--vessels", type=int, help="how many (all)")
    parser.add_argument("--from", type=int, default=0, dest="start", help="first of them")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    most, stride, draw = SERIES[args.series]
    names = {"lesions": "stress", "vessels": "stress-flow"}
    output = (args.output or ROOT / "runs" / names[args.series]).resolve()
    output.mkdir(parents=True, exist_ok=True)
    ledger = output / "stress.jsonl"
    rows = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    count = most - args.start if args.vessels is None else args.vessels
    seeds = [stride * n for n in range(args.start, args.start + count)]
    jobs = [Job(f"seed_{n:04d}", n, output / f"seed_{n:04d}", COARSE, draw) for n in seeds]
    todo = [job for job in jobs if job.name not in {row["name"] for row in rows}]
    with ThreadPoolExecutor(args.jobs) as pool, ledger.open("a") as out:
        for row in pool.map(run, todo):
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            told = f"{row.get('cells', '')} cells, {row.get('seconds', 0)} s, refined {row.get('refined', '')}"
            sys.stdout.write(f"{row['name']}: {row['outcome']}, {told}\n")
            sys.stdout.flush()
    sys.stdout.write(table(rows) + "\n")
    verdict = {"series": args.series, "passed": passed(rows), "wanted": WANTED, "rows": rows}
    (output / "stress.json").write_text(json.dumps(verdict, indent=1))
    return 0 if passed(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
