"""Time and memory of the mesh stage on the real left coronary: ``python hpc/bench/mesh.py [SETTING ...]``.

Surface and anatomy are made once; the mesh stage (surface to files, in a process of its own as in every run) once a
setting. CPU seconds count all processes; they say more than the clock on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipeline.case_file import load
from pipeline.run import run

ROOT = Path(__file__).parents[2]
SETTINGS = {  # name: overrides
    "default": (),
    "1M": ("mesh.elements_per_diameter=10.8", "mesh.elements_across_throat=12.8"),
    "layers-1M": (
        "mesh.boundary_layers=3",
        "mesh.elements_per_diameter=7.5",
        "mesh.elements_across_throat=8",
    ),
}


def measure(name: str, overrides: tuple[str, ...], folder: Path) -> dict[str, object]:
    """Mesh and collect what ledger and mesh say."""
    case = load(ROOT / "configs" / "left_coronary.yaml", overrides)
    record = run(case, folder, start="mesh", stop="mesh").stages["mesh"]
    quality = json.loads((folder / "mesh" / "mesh.json").read_text())["quality"]
    told = ("rung", "cells", "order", "min_dihedral_deg", "min_scaled_jacobian", "volume_error")
    return {
        "name": name,
        **{key: quality[key] for key in told},
        "boundary_layers": quality.get("boundary_layers"),
        "seconds": record.seconds,
        "cpu_seconds": record.cpu_seconds,
        "peak_memory_GiB": record.peak_memory_GiB,
    }


def main() -> None:
    """Measure every setting named on the command line (all if none) and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "bench-mesh")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    run(load(ROOT / "configs" / "left_coronary.yaml"), args.output, stop="anatomy")
    rows = []
    for name in args.settings:
        rows.append(measure(name, (*SETTINGS[name], *args.overrides), args.output))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    (args.output / "mesh.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
