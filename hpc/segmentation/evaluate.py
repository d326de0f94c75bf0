"""How good the segmentation is on scans built another way: ``make eval-segmentation``.

``python hpc/segmentation/evaluate.py [--seeds 12] [--model PATH] [--walls PATH|none] [--method network classical]
[--held-out] [--no-ffr] [--diseased]``. For every seed a scan (`scans.make`; with ``--held-out`` `held_out.make`: scans
as in training, of other seeds), its coronaries by each method, how far they are from the truth (`measures`), and what
that does to FFR (`flows`). Vessels are judged where their reference diameter is at least 1.5 mm; thinner ones count
neither way. Rows are kept in ``rows.jsonl`` and scans in ``scan_SEED.npz``; a killed run goes on, and after other
weights only the rows need be removed. The verdict against the limits is in ``evaluation.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flows
import held_out as held_out_scans
import measures
import numpy as np
import numpy.typing as npt
import scans
from anatomy import Array, Scanned, reference_radius
from classical import segment
from scipy import ndimage
from scipy.spatial import cKDTree

from meshing.errors import ComputationError, InputError
from pipeline.imaging import Volume
from pipeline.segmentation import BUNDLED, BUNDLED_WALLS
from pipeline.segmentation.network import load
from pipeline.segmentation.predict import on_cubes, predict
from pipeline.segmentation.tree_walls import with_walls
from pipeline.segmentation.trees import coronary_trees
from pipeline.segmentation.wall_network import load as load_walls

ROOT = Path(__file__).parents[2]
VOXEL_MM = 0.4
LEAST_MM = 1.5
LIMITS = {
    "dice": (">=", 0.90),
    "cldice": (">=", 0.92),
    "radius": ("<=", 0.15),
    "ffr_median": ("<=", 0.02),
    "ffr_95": ("<=", 0.06),
}
NONE = Path("none")
FIRST_SEED = 900_000  # training has 100,000 to 105,000
Found = tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.bool_]]]
"""Shares of the lumen of both trees; the voxels of each side's."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in a scan, on cubes.

    Attributes:
        shares: Of the lumen.
        aorta: Its voxels.
        judged: Voxels that count: not those nearer to a vessel thinner than `LEAST_MM`.
        branches: The vessels.
        affine: Of the voxels.
    """

    shares: npt.NDArray[np.float32]
    aorta: npt.NDArray[np.bool_]
    judged: npt.NDArray[np.bool_]
    branches: list[measures.Branch]
    affine: Array


def scan_of(seed: int, folder: Path, *, held_out: bool) -> scans.TestScan:
    """The scan of a seed, from the folder if it was made before."""
    maker = held_out_scans if held_out else scans
    path = folder / f"scan_{seed}.npz"
    if path.exists():
        with np.load(path) as file:
            ct = Volume(file["ct"], file["affine"])
            return scans.TestScan(seed, ct, maker.anatomy_of(seed), file["distance"])
    scan = maker.make(seed)
    part = path.with_suffix(".part.npz")
    np.savez(part, ct=scan.ct.array, affine=scan.ct.affine, distance=scan.distance)
    part.replace(path)
    return scan


def truth_of(scan: scans.TestScan, grid: Volume) -> Truth:
    """The truth of a scan on the voxels of a grid of cubes."""
    exact = Volume(scan.distance, scan.ct.affine)
    shape = grid.array.shape
    index = np.indices(shape).reshape(3, -1).T
    points = grid.to_world(index.astype(np.float64))
    distance = ndimage.map_coordinates(
        exact.array, exact.to_index(points).T, order=1, mode="constant", cval=3.0
    )
    aorta = scan.anatomy.aorta_distance(points)
    distance = np.maximum(distance, -aorta)
    branches = branches_of(scan.anatomy)
    middles = np.concatenate([b.points for b in branches])
    thin = np.concatenate([2 * b.reference < LEAST_MM for b in branches])
    near = np.flatnonzero((distance < 2.5) | (distance < 0))
    judged = np.ones(len(points), np.bool_)
    judged[near] = ~thin[cKDTree(middles).query(scan.anatomy.bent(points[near]))[1]]
    shares = np.clip(0.5 - distance / VOXEL_MM, 0, 1).astype(np.float32)
    return Truth(
        shares.reshape(shape),
        (aorta < 0).reshape(shape),
        judged.reshape(shape),
        branches,
        grid.affine,
    )


def branches_of(anatomy: Scanned) -> list[measures.Branch]:
    """The vessels of both trees, outside the aorta."""
    out = []
    for walks in anatomy.arteries.values():
        for walk in walks:
            outside = anatomy.aorta_distance(walk.points) > 0.5
            reference = reference_radius(walk)
            out.append(
                measures.Branch(
                    walk.name,
                    walk.points[outside],
                    walk.radius[outside],
                    reference[outside],
                    (walk.calcified < 9)[outside],
                )
            )
    return [branch for branch in out if len(branch.points) > 8]


def judge(truth: Truth, shares: npt.NDArray[np.float32]) -> dict[str, Any]:
    """All measures of found shares of the lumen."""
    found, exact = (shares > 0.5) & truth.judged, (truth.shares > 0.5) & truth.judged
    if not found.any():
        return {"dice": 0.0, "cldice": 0.0}
    walls = [
        measures.surface_points(np.where(truth.judged, s, 0), truth.affine)
        for s in (truth.shares, shares)
    ]
    radius = measures.radius_errors(truth.branches, *walls)
    every = [abs(x) for name, part in radius.items() if name.endswith("mm") for x in part]
    lost, seen = measures.missed_branches(truth.branches, shares, truth.affine, LEAST_MM)
    return {
        "dice": measures.dice(found, exact),
        "cldice": measures.cldice(found, exact),
        "hd95": measures.hd95(*walls),
        "radius": float(np.mean(every)) if every else None,
        "radius_errors": {
            name: [len(part), float(np.mean(part)), float(np.mean(np.abs(part)))]
            for name, part in radius.items()
        },
        "missed": lost,
        "length_found": seen,
        "false_mm": measures.false_length(found, truth.affine, truth.branches),
    }


def by_network(model: Path, walls: Path, scan: scans.TestScan) -> Found:
    """What the segment stage takes for each side."""
    trees = coronary_trees(predict(load(model), scan.ct))
    if walls != NONE:
        trees = with_walls(trees, scan.ct, load_walls(walls))
    bodies: dict[str, npt.NDArray[np.bool_]] = {}
    for tree in trees.trees:
        bodies.setdefault(tree.side, trees.owner == tree.number)
    return trees.shares, bodies


def by_classical(truth: Truth, grid: Volume, scan: scans.TestScan) -> Found:
    """The classical way is told the aorta and, voxel by voxel, the nearer tree."""
    mask = segment(grid.array, VOXEL_MM, truth.aorta)
    index = np.argwhere(mask)
    points = scan.anatomy.bent(grid.to_world(index.astype(np.float64)))
    gaps = {
        side: cKDTree(np.concatenate([walk.points for walk in walks])).query(points)[0]
        for side, walks in scan.anatomy.arteries.items()
    }
    bodies = {}
    for side, gap in gaps.items():
        body = np.zeros(mask.shape, np.bool_)
        body[tuple(index[gap <= np.min(list(gaps.values()), axis=0)].T)] = True
        bodies[side] = body
    return mask.astype(np.float32), bodies


def ffr_of(
    found: Found, scan: scans.TestScan, grid: Volume, where: Path, method: str, *, diseased: bool
) -> list[Any]:
    """Errors of FFR of both sides, or of those with a lesion (`flows.ffr_errors`)."""
    shares, bodies = found
    out = []
    for side in scan.anatomy.arteries:
        if diseased and not flows.is_diseased(scan.anatomy, side):
            continue
        if side not in bodies:
            out.append({"side": side, "fault": f"no {side} tree found", "exact": False})
            continue
        volume = Volume(np.where(bodies[side] | ~_any(bodies), shares, 0), grid.affine)
        runs = where / f"{side}_{method}", where / f"{side}_exact"
        out.append(flows.ffr_errors(scan.anatomy, side, (volume, bodies[side]), *runs))
    return out


def _any(bodies: dict[str, npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.any(list(bodies.values()), axis=0))


def evaluate(
    scan: scans.TestScan, grid: Volume, truth: Truth, method: str, args: argparse.Namespace
) -> dict[str, Any]:
    """All that is told of one scan by one method."""
    began, row = time.monotonic(), dict[str, Any]()
    try:
        found = (
            by_network(args.model, args.walls, scan)
            if method == "network"
            else by_classical(truth, grid, scan)
        )
        row["seconds"] = round(time.monotonic() - began, 1)
        row |= judge(truth, found[0])
        if not args.no_ffr:
            where = args.output / f"flow_{scan.seed}"
            row["ffr"] = ffr_of(found, scan, grid, where, method, diseased=args.diseased)
    except ComputationError as error:
        row["fault"] = str(error)
    return row


def main() -> int:
    """Evaluate the seeds, print a table; exit status 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--walls", type=Path, default=BUNDLED_WALLS, help="none: without")
    parser.add_argument("--method", nargs="+", choices=("network", "classical"),
                        default=["network", "classical"])  # fmt: skip
    parser.add_argument("--held-out", action="store_true", help="scans as in training")
    parser.add_argument("--no-ffr", action="store_true", help="leave the errors of FFR out")
    parser.add_argument("--diseased", action="store_true", help="FFR of trees with lesions only")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    name = "eval-held-out" if args.held_out else "eval-segmentation"
    args.output = args.output or ROOT / "runs" / name
    if "network" in args.method:
        try:
            load(args.model)
            if args.walls != NONE:
                load_walls(args.walls)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    args.output.mkdir(parents=True, exist_ok=True)
    ledger = args.output / "rows.jsonl"
    rows = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    for seed in range(args.first, args.first + args.seeds):
        left = [
            m for m in args.method if not any((r["seed"], r["method"]) == (seed, m) for r in rows)
        ]
        if not left:
            continue
        began = time.monotonic()
        scan = scan_of(seed, args.output, held_out=args.held_out)
        sys.stdout.write(f"scan {seed} there in {time.monotonic() - began:.0f} s\n")
        grid = on_cubes(scan.ct, VOXEL_MM)
        truth = truth_of(scan, grid)
        for method in left:
            row = {"seed": seed, "method": method}
            row |= evaluate(scan, grid, truth, method, args)
            rows.append(row)
            with ledger.open("a") as file:
                file.write(json.dumps(row) + "\n")
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    return report(rows, args.output)


def report(rows: list[dict[str, Any]], folder: Path) -> int:
    """Means by method, errors of FFR, and the verdict on the network."""
    told: dict[str, Any] = {}
    for method in sorted({row["method"] for row in rows}):
        mine = [row for row in rows if row["method"] == method]
        good = [row for row in mine if row.get("dice")]
        told[method] = {"scans": len(mine), "faults": len(mine) - len(good)} | {
            name: statistics.mean(row[name] for row in good)
            for name in ("dice", "cldice", "hd95", "radius")
        }
        told[method]["missed"] = sum(len(row["missed"]) for row in good)
        told[method] |= flows.summary([side for row in mine for side in row.get("ffr", [])])
        sys.stdout.write(f"{method}: {json.dumps(told[method])}\n")
    lines = []
    for name, (sign, limit) in LIMITS.items():
        value = told.get("network", {}).get(name)
        if value is not None:
            passed = value >= limit if sign == ">=" else value <= limit
            lines.append(
                {"name": name, "value": value, "wanted": f"{sign} {limit}", "good": passed}
            )
            sys.stdout.write(
                f"{'PASS' if passed else 'FAIL'}  {name}: {value:.3f} (wanted {sign} {limit})\n"
            )
    good = len(lines) == len(LIMITS) and all(line["good"] for line in lines)
    (folder / "evaluation.json").write_text(
        json.dumps({"passed": good, "lines": lines, "by_method": told}, indent=1)
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
