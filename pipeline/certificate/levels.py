"""The same vessel under the same conditions on coarser meshes, each self-similar to the run's own.

Where the flow has no steady state on a mesh so coarse, the level is none: nothing is made up in its place.
A level's folder has ``mesh/``, ``solve/`` and ``ffr/`` as a run has, without fields for ParaView. The search for its
flow begins with the run's own fields, so that a level costs a small part of the run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshing.background import Background
from meshing.errors import ComputationError, InputError
from meshing.vessel import VesselMesh
from pipeline.case import Case
from pipeline.manifest import Manifest, write_atomically

log = logging.getLogger("ffr3d")


@dataclass(frozen=True, slots=True)
class Level:
    """One mesh of the series.

    Attributes:
        cells: Tetrahedra.
        seconds: Wall time of what was done for it; zero for the run's own.
        ffr: At vessel ends (``vessel NAME``) and distal of lesions (``lesion NAME``).
        along: By the same names, mean difference of FFR from the run's own along the vessel; empty for the run's own.
        status: Of its flow.
        error: Why there are no numbers, if so.
        folder: Name of its folder; empty for the run's own.
    """

    cells: int = 0
    seconds: float = 0.0
    ffr: dict[str, float] = field(default_factory=dict)
    along: dict[str, float] = field(default_factory=dict)
    status: str = ""
    error: str | None = None
    folder: str = ""


def own(folder: Path) -> Level:
    """The run's own mesh and numbers."""
    numbers = json.loads((folder / "ffr" / "ffr.json").read_text())
    return Level(**_told(numbers))


def coarser(folder: Path, case: Case, scale: float, target: Path) -> Level:
    """Mesh, flow and FFR with all sizes times a factor; what an earlier attempt finished is kept.

    Args:
        folder: A run folder whose stages up to ``ffr`` have ended.
        case: Of the run.
        scale: Of the sizes, above one.
        target: The level's folder.

    Returns:
        The level; with `Level.error` where it cannot be made.
    """
    done = target / "level.json"
    if done.is_file():
        return Level(**json.loads(done.read_text()))
    began = time.monotonic()
    try:
        told = _compute(folder, case, scale, target)
        level = Level(seconds=round(time.monotonic() - began, 2), folder=target.name, **told)
    except (ComputationError, InputError) as error:
        level = Level(seconds=round(time.monotonic() - began, 2), error=str(error))
    names = Level.__dataclass_fields__
    write_atomically(done, json.dumps({name: getattr(level, name) for name in names}, indent=2))
    return level


def _compute(folder: Path, case: Case, scale: float, target: Path) -> dict[str, Any]:
    from pipeline.ffr import run as ffr

    (target / "solve").mkdir(parents=True, exist_ok=True)
    if not (target / "anatomy").exists():
        os.symlink(os.path.relpath(folder / "anatomy", target), target / "anatomy")
    _mesh(folder, case, scale, target)
    _solve(folder, case, target)
    ffr(target, case, fields=False)
    numbers = json.loads((target / "ffr" / "ffr.json").read_text())
    return {**_told(numbers), "along": _along(folder, target, numbers)}


def _mesh(folder: Path, case: Case, scale: float, target: Path) -> None:
    """A mesh with the run's size field, scaled."""
    from meshing.generate import generate
    from meshing.ladder import Like
    from pipeline.anatomy import to_lumen

    if (target / "mesh" / "mesh.json").is_file():
        return
    vessel, last = (
        VesselMesh.load(folder / "mesh" / "mesh.json"),
        Manifest.open(folder).refinement.last,
    )
    sizes = None if last is None or last.sizes is None else Background.load(folder / last.sizes)
    like = Like.of(vessel.quality, scale, sizes)

    def tell(text: str) -> None:
        log.info("%-8s %s", "certify", text)

    generate(to_lumen(folder / "anatomy"), case.mesh, target / "mesh", tell, like)


def _solve(folder: Path, case: Case, target: Path) -> None:
    """The run's own flow problem on the level's mesh."""
    from pipeline.carry import carry, keep
    from pipeline.refine import end_of
    from pipeline.stage import run_solver
    from solver.problem import FlowProblem

    if (target / "solve" / "flow.json").is_file():
        return
    vessel = VesselMesh.load(folder / "mesh" / "mesh.json")
    state = target / "solve" / "carried.h5"
    keep(vessel.arrays(), folder / "solve", end_of(folder / "solve"), state)
    guess = carry(state, VesselMesh.load(target / "mesh" / "mesh.json").arrays())
    guess.save(target / "solve" / "guess.h5")
    state.unlink()
    problem = FlowProblem.load(folder / "solve" / "problem.json")
    changed = {
        "mesh": Path("../mesh/mesh.json"),
        "guess": Path("guess.h5"),
        "stop_at_branch_end": True,
    }
    problem.model_copy(update=changed).save(target / "solve" / "problem.json")
    shutil.copy(folder / "solve" / "physiology.json", target / "solve")
    run_solver(target / "solve", case, restart=False)


def _along(folder: Path, target: Path, numbers: dict[str, Any]) -> dict[str, float]:
    from pipeline.report.data import pull_backs

    mine, others = (pull_backs(one / "ffr" / "centerlines.vtp") for one in (folder, target))
    gaps = {
        a.outlet: float(np.nanmean(np.abs(a.ffr - b.ffr)))
        for a, b in zip(mine, others, strict=True)
    }
    found = {f"vessel {name}": gap for name, gap in gaps.items()}
    return found | {f"lesion {x['name']}": gaps[x["outlet"]] for x in numbers["lesions"]}


def _told(numbers: dict[str, Any]) -> dict[str, Any]:
    ffr = {f"vessel {v['name']}": v["ffr"] for v in numbers["vessels"]}
    ffr |= {f"lesion {x['name']}": x["ffr_distal"] for x in numbers["lesions"]}
    evidence = numbers["evidence"]
    return {"cells": evidence["mesh"]["cells"], "ffr": ffr, "status": evidence["solver"]["status"]}
