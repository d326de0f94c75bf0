"""A second way for a case that ended without a result; what failed says which (`pipeline.failure`).

It is kept in ``retry.json`` of the run folder, so that a case that is killed on its second way goes on on it. A case
that ends without a result there too has neither way: the next call begins with the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import failure
from pipeline.case import Case
from pipeline.failure import TOO_LARGE
from pipeline.manifest import sha256, write_atomically

FILE = "retry.json"
STEP = 1.25
"""Between the sizes of two meshes: twice the cells, about."""
THROAT = 1.4
PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """A second way.

    Attributes:
        preset: Its name: ``finer``, ``coarser`` or ``careful``.
        after: What failed before.
        overrides: Of the case, ``key=value``.
        hash: Of the case's file.
    """

    preset: str
    after: str
    overrides: tuple[str, ...]
    hash: str


def second(case: Case, failed: str) -> tuple[str, dict[str, Any]] | None:
    """Name and changed keys of the second way; None where there is none.

    Where no mesh is good enough another size makes other tetrahedra: ``finer``. Where cells or memory are too many:
    ``coarser``. Where no flow is found: ``careful``, finer in the narrowings and with more steps and meshes.

    Args:
        case: As it was computed.
        failed: See `pipeline.failure`.
    """
    size, throat = case.mesh.elements_per_diameter, case.mesh.elements_across_throat
    if failed in ("mesh", TOO_LARGE):
        name, factor = ("finer", STEP) if failed == "mesh" else ("coarser", 1.0 / STEP)
        return name, _sizes(size * factor, throat * factor)
    if failed == "solve":
        more = {"solver.steady.max_steps": PATIENCE * case.solver.steady.max_steps}
        more["adapt.rounds"] = min(case.adapt.rounds + 1, 5)
        return "careful", _sizes(size, throat * THROAT) | more
    return None


def _sizes(size: float, throat: float) -> dict[str, Any]:
    return {
        "mesh.elements_per_diameter": round(min(max(size, 2.0), 60.0), 3),
        "mesh.elements_across_throat": round(min(max(throat, 2.0), 60.0), 3),
    }


def read(run: Path, case: Path) -> Retry | None:
    """The second way a case is on; None for the first, or where the case is another now."""
    try:
        told = json.loads((run / FILE).read_text())
        found = Retry(told["preset"], told["after"], tuple(told["overrides"]), told["hash"])
    except (OSError, ValueError, KeyError):
        return None
    return found if found.hash == sha256(case) else None


def forget(run: Path) -> None:
    """Back to the first way."""
    (run / FILE).unlink(missing_ok=True)


def bring(
    run: Path, case: Path, wanted: bool, compute: Callable[[Sequence[str]], tuple[int, float]]
) -> tuple[int, float]:
    """Compute a case; where that ends without a result and there is a second way, once more.

    Args:
        run: Its run folder.
        case: Its file.
        wanted: Whether to look for a second way.
        compute: Computes it with overrides; exit status and wall time [s].

    Returns:
        Exit status of the last attempt, and the wall time of all [s].
    """
    before = read(run, case)
    status, seconds = compute(before.overrides if before else ())
    failed = failure.read(run) if status > 0 and wanted and before is None else None
    if failed is None:
        return status, seconds
    from pipeline.case_file import load

    found = second(load(case), failed)
    if found is None:
        return status, seconds
    preset, keys = found
    overrides = tuple(f"{key}={value}" for key, value in keys.items())
    chosen = Retry(preset, failed, overrides, sha256(case))
    write_atomically(run / FILE, json.dumps(asdict(chosen), indent=2))
    status, more = compute(overrides)
    return status, round(seconds + more, 2)
