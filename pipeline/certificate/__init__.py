"""The certificate of a result: checks with limits, and the discretisation error of every FFR. PASS, WARN or FAIL.

A label with FAIL is never exported; one with WARN says why.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.case import Case
from pipeline.certificate.discretisation import ORDER, Estimate, estimate
from pipeline.certificate.levels import Level, coarser, own
from pipeline.certificate.rows import rows, worst
from pipeline.ffr import NOTICE
from pipeline.manifest import write_atomically

__all__ = ["run"]
log = logging.getLogger("ffr3d")


def run(folder: Path, case: Case) -> None:
    """Compute the levels and write ``certify/certificate.json``.

    Args:
        folder: A run folder whose stages up to ``ffr`` have ended.
        case: Its case.
    """
    from pipeline.certificate.flow import sanity
    from pipeline.ffr.load import load

    numbers = json.loads((folder / "ffr" / "ffr.json").read_text())
    levels = [own(folder)]
    for number in range(1, case.certificate.levels):
        levels.append(_level(folder, case, number))
    errors = _errors(levels, case.solver.element)
    largest = max((one.error for one in errors.values()), default=None)
    checked = rows(numbers, sanity(load(folder)), largest)
    told = {
        "notice": NOTICE,
        "status": worst(checked),
        "reasons": [row.reason for row in checked if row.verdict != "PASS"],
        "rows": [{**asdict(row)} for row in checked],
        "discretisation": _discretisation(levels, errors),
    }
    path = folder / "certify" / "certificate.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(_finite(told), indent=2, allow_nan=False))
    log.info("certify  %s%s", told["status"], "".join(f"\n         {x}" for x in told["reasons"]))


def _level(folder: Path, case: Case, number: int) -> Level:
    """A coarser mesh and its flow; half-way back, once, where a mesh so coarse has no steady flow."""
    scale, level = case.certificate.ratio**number, Level()
    for name, factor in ((f"level_{number}", scale), (f"level_{number}_finer", math.sqrt(scale))):
        log.info("certify  the same on a mesh %.3g times as coarse", factor)
        level = coarser(folder, case, factor, folder / "certify" / name)
        if level.error is None:
            break
        log.info("certify  none: %s", level.error.splitlines()[0])
    return level


def _errors(levels: Sequence[Level], element: str) -> dict[str, Estimate]:
    """Of every FFR that all levels have; empty where there is but one level, or they do not get coarser."""
    made = [level for level in levels if level.error is None]
    cells = [level.cells for level in made]
    if len(made) < 2 or not all(a > b for a, b in pairwise(cells)):
        return {}
    names = [name for name in made[0].ffr if all(name in level.ffr for level in made)]
    values = {name: [level.ffr[name] for level in made] for name in names}
    along = made[1].along
    return {
        name: estimate(v, cells, ORDER[element], along.get(name, 0.0)) for name, v in values.items()
    }


def _discretisation(levels: Sequence[Level], errors: dict[str, Estimate]) -> dict[str, Any]:
    return {
        "method": "grid-convergence index on self-similar meshes (pipeline.certificate.discretisation)",
        "levels": [asdict(level) for level in levels],
        "ffr": {name: asdict(one) for name, one in errors.items()},
    }


def _finite(told: Any) -> Any:  # noqa: ANN401
    """JSON without infinities: None in their place."""
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    if isinstance(told, float) and told in (float("inf"), float("-inf")):
        return None
    return told
