"""Hundreds of hard vessels through surface, anatomy and mesh: ``make stress-mesh`` or ``python hpc/stress/mesh.py``.

Every vessel is meshed curved and straight. A vessel passes when a mesh is accepted on some rung and an independent
check of the file agrees: no Jacobian determinant below zero at 84 points of any cell, no dihedral angle below the
criterion, volume positive. A run that outlives its time limit counts as a hang. Rows are kept in ``stress.jsonl``;
vessels already there are skipped, so that a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
import yaml
from lesions import Drawn
from vessels import draw

from meshing.options import MeshOptions
from meshing.vessel import VesselMesh
from pipeline.phantom import exact_surface
from pipeline.surface.mesh import write_stl

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
REAL = (
    SHARED / "left_coronary" / "m1_fluid.stl",
    SHARED / "coronary_phantom" / "phantom_coarse.stl",
    SHARED / "carotid" / "mesh.vtu",  # [m]
)
HANG_SECONDS = 900.0
FIRST, SOME = "95 % on the first rung", "99.5 % on some rung"


def vessel(seed: int) -> Drawn:
    """The hard vessel of a seed, with the case's defaults."""
    return (*draw(seed), {})


@dataclass(frozen=True, slots=True)
class Job:
    """One vessel.

    Attributes:
        name: Of its folder.
        source: Seed, or a surface file.
        folder: Where it is meshed.
        overrides: Choices of the case other than the defaults, ``KEY=VALUE``.
        draw: Makes the vessel of a seed: tree, what it holds, and sections of its case.
    """

    name: str
    source: int | Path
    folder: Path
    overrides: tuple[str, ...] = ()
    draw: Callable[[int], Drawn] = vessel

    def case(self) -> tuple[Path, dict[str, Any]]:
        """Write surface and case into an empty folder; return the case's path and what the vessel holds."""
        shutil.rmtree(self.folder, ignore_errors=True)  # stages of an earlier, unfinished run
        self.folder.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = {}
        surface, anatomy, sections = self.source, {}, {}
        if isinstance(self.source, int):
            tree, told, sections = self.draw(self.source)
            surface = self.folder / "lumen.stl"
            write_stl(exact_surface(tree), surface)
            anatomy = {"inlet": [float(x) for x in tree.ends[0].centre_mm]}
        elif self.source.suffix == ".vtu":
            surface = self.folder / "lumen.stl"
            boundary: Any = pv.read(self.source)
            boundary.scale(1e3).extract_surface().triangulate().save(surface)
        case = {
            "name": self.name,
            "input": {"kind": "surface", "path": str(surface)},
            **sections,
            "anatomy": anatomy | sections.get("anatomy", {}),
        }
        path = self.folder / "case.yaml"
        path.write_text(yaml.safe_dump(case))
        return path, told

    def run(self) -> Iterator[dict[str, Any]]:
        """Mesh curved, then straight; one row each."""
        try:
            case, told = self.case()
        except Exception as fault:
            yield {"name": self.name, "order": 0, "outcome": "no vessel", "reason": repr(fault)}
            return
        for order in (2, 1):
            began = time.monotonic()
            row = {"name": self.name, "order": order, "vessel": told, **self._mesh(case, order)}
            yield {**row, "seconds": round(time.monotonic() - began, 1)}

    def _mesh(self, case: Path, order: int) -> dict[str, Any]:
        command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", self.folder / "run"]
        command += ["--to", "mesh"]
        for override in (f"mesh.order={order}", *self.overrides):
            command += ["--set", override]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return {"outcome": "hang"}
        if done.returncode:
            kind = "crash" if "Traceback" in done.stderr else "refused"
            return {"outcome": kind, "reason": (done.stderr or done.stdout)[-1500:]}
        return _checked(self.folder / "run" / "mesh" / "mesh.json")


def _checked(path: Path) -> dict[str, Any]:
    """What the mesh says of itself, and what an independent look at its cells finds."""
    quality = json.loads(path.read_text())["quality"]
    arrays = VesselMesh.load(path).arrays()
    row = {k: quality[k] for k in ("rung", "cells", "min_scaled_jacobian", "straightened_edges")}
    row |= {"volume_error": quality["volume_error"], "rungs": len(quality["rungs"])}
    row["refused"] = [r["reason"] for r in quality["rungs"] if r["outcome"] == "refused"]
    row["crossing"] = quality["input_crossing_triangles"]
    least, angle = sampled_jacobian(arrays.points, arrays.cells), dihedral(arrays)
    good = least > 0.0 and angle >= MeshOptions().min_dihedral_deg - 1e-6
    outcome = "meshed" if good else "bad mesh"
    return {**row, "outcome": outcome, "sampled_jacobian": least, "dihedral_deg": angle}


def sampled_jacobian(points: np.ndarray, cells: np.ndarray) -> float:
    """Smallest det J over the mean one, at the lattice of degree six of every cell."""
    grid = [(i, j, k) for i in range(7) for j in range(7 - i) for k in range(7 - i - j)]
    x = np.array(grid) / 6.0
    gradient = _gradients(x, cells.shape[1])  # (points, nodes, 3)
    least = np.inf
    for k in range(0, len(cells), 20_000):
        J = np.einsum("qnd,cne->cqed", gradient, points[cells[k : k + 20_000]])
        det = np.linalg.det(J)
        least = min(least, float((det.min(axis=1) / np.abs(det.mean(axis=1))).min()))
    return least


def _gradients(x: np.ndarray, nodes: int) -> np.ndarray:
    """Gradients of the shape functions (VTK order) in reference coordinates."""
    bary = np.column_stack([1 - x.sum(1), x])
    slopes = np.array([[-1.0, -1, -1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    if nodes == 4:
        return np.broadcast_to(slopes, (len(x), 4, 3))
    corners = (4 * bary[:, :, None] - 1) * slopes
    edges = [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)]
    middles = [4 * (bary[:, a, None] * slopes[b] + bary[:, b, None] * slopes[a]) for a, b in edges]
    return np.concatenate([corners, np.stack(middles, axis=1)], axis=1)


def dihedral(arrays: Any) -> float:  # noqa: ANN401
    """Smallest dihedral angle of the straight cells [degrees]."""
    p = arrays.points[arrays.cells[:, :4]]
    least = 180.0
    for a, b, c, d in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2), (1, 2, 0, 3), (1, 3, 0, 2), (2, 3, 0, 1)):  # fmt: skip
        edge = p[:, b] - p[:, a]
        one, two = np.cross(edge, p[:, c] - p[:, a]), np.cross(edge, p[:, d] - p[:, a])
        cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
        least = min(least, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).min()))
    return least


def table(rows: list[dict[str, Any]]) -> str:
    """The outcome by order and rung, and whether the limits hold."""
    lines = []
    for order in (2, 1):
        those = [row for row in rows if row["order"] == order]
        if not those:
            continue
        meshed = [row for row in those if row["outcome"] == "meshed"]
        first = sum(row["rungs"] == 1 for row in meshed)
        others = Counter(row["outcome"] for row in those if row["outcome"] != "meshed")
        lines += [
            f"{'curved' if order == 2 else 'straight'}: {len(those)} vessels, "
            f"{len(meshed)} meshed ({100 * len(meshed) / len(those):.1f} %), "
            f"{first} on the first rung ({100 * first / len(those):.1f} %), others {dict(others)}, "
            f"cells {min((r['cells'] for r in meshed), default=0)} to {max((r['cells'] for r in meshed), default=0)}, "
            f"median {np.median([r['seconds'] for r in those]):.0f} s, longest {max(r['seconds'] for r in those):.0f} s"
        ]
        lines += [f"    {n:4d}  {rung}" for rung, n in Counter(r["rung"] for r in meshed).items()]
    lines += [
        f"    {row['name']} (order {row['order']}): {row['outcome']}: {row.get('reason', '').strip()[-400:]}"
        for row in rows
        if row["outcome"] != "meshed"
    ]
    return "\n".join(lines)


def passed(rows: list[dict[str, Any]]) -> bool:
    """Whether the limits hold: 99.5 % meshed, 95 % on the first rung, nothing bad, no hang, no crash."""
    for order in (2, 1):
        those = [row for row in rows if row["order"] == order]
        meshed = [row for row in those if row["outcome"] == "meshed"]
        first = [row for row in meshed if row["rungs"] == 1]
        if len(meshed) < 0.995 * len(those) or len(first) < 0.95 * len(those):
            return False
    return not any(row["outcome"] in ("hang", "crash", "bad mesh", "no vessel") for row in rows)


def main() -> int:
    """Run what is asked for, print the table; exit status 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vessels", type=int, default=300, help="seeds 0 .. N-1")
    parser.add_argument("--from", type=int, default=0, dest="start", help="first seed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "stress-mesh")
    parser.add_argument("--no-shared", action="store_true", help="leave out ../shared/data")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        help="as in ffr3d run; other --output!",
    )
    args = parser.parse_args()
    args.output = args.output.resolve()  # the cases lie in folders of their own
    args.output.mkdir(parents=True, exist_ok=True)
    ledger = args.output / "stress.jsonl"
    rows = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    known = {row["name"] for row in rows if row["order"] != 2}
    rows = [row for row in rows if row["name"] in known]
    seeds = range(args.start, args.start + args.vessels)
    told = tuple(args.overrides)
    jobs = [Job(f"seed_{n:04d}", n, args.output / f"seed_{n:04d}", told) for n in seeds]
    if SHARED.is_dir() and not args.no_shared:
        jobs += [
            Job(p.parent.name, p, args.output / p.parent.name, told) for p in REAL if p.exists()
        ]
    todo = [job for job in jobs if job.name not in known]
    with ThreadPoolExecutor(args.jobs) as pool, ledger.open("w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        for done in pool.map(lambda job: list(job.run()), todo):
            rows += done
            out.writelines(json.dumps(row) + "\n" for row in done)
            out.flush()
            line = "; ".join(
                f"{r['outcome']} {r.get('rung', '')} {r.get('cells', '')}" for r in done
            )
            sys.stdout.write(f"{done[0]['name']}: {line}\n")
            sys.stdout.flush()
    sys.stdout.write(table(rows) + "\n")
    return 0 if passed(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
