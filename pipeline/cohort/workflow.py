"""A cohort through a workflow engine: Snakemake, on this machine or on a cluster; nothing changes but its profile.

Cases, steps and ledger are those of `pipeline.cohort.run`; the engine says where and when each step runs
(``hpc/workflow``). It lives in an environment of its own, ``.venv-hpc`` (``make hpc``), or on the path. Killed, the
same command goes on: what is done stays, what a job had begun goes on from its last stage.

::

    COHORT/plan.json        what the engine is to do
    COHORT/segments/ID.json that a CT has its lumen, or has none
    COHORT/meshes/ID.json   size of each mesh, from which the engine asks for cores, memory and time
    COHORT/outcomes/ID.json how each case ended
    COHORT/workflow.log     what the engine printed
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import pipeline
from meshing.errors import ComputationError, InputError
from pipeline import manifest
from pipeline.attempts import free_memory
from pipeline.cohort.design import Design
from pipeline.cohort.one import CERTIFICATE
from pipeline.cohort.run import Progress, Teller, held, summary, written
from pipeline.cohort.step import LABELS, MESHES, OUTCOMES, SEGMENTS, read, told
from pipeline.manifest import write_atomically
from pipeline.run import die_with_parent

HOME = Path(pipeline.__file__).parents[1]
WORKFLOW = HOME / "hpc" / "workflow"
_POLL_S = 0.5
_GRACE_S = 3.0
"""An engine that has nothing left to do waits up to a minute for timers of its own; so long it is waited for."""
SETTING = r"([A-Za-z]\w*:)?[A-Za-z]\w*=[A-Za-z0-9._:,/@+-]+"


@dataclass(frozen=True, slots=True)
class Engine:
    """How an engine is used.

    Attributes:
        profile: ``local``, ``slurm``, or the folder of a Snakemake profile.
        cores: Of this machine; all if absent. Clusters do not ask.
        settings: Resources, ``name=value`` of all jobs (``slurm_partition=cpu``), ``rule:name=value`` of those of one
            rule (``segment:gpu=1``).
        licence: Of the data set that a last job writes; empty: none is written.
    """

    profile: str
    cores: int | None = None
    settings: tuple[str, ...] = ()
    licence: str = ""


def run_workflow(
    design: Design, folder: Path, engine: Engine, progress: Progress | None = None
) -> dict[str, Any]:
    """Bring a cohort up to date by a workflow engine.

    Args:
        design: What to compute; must be the one in the folder, but for what is free in it.
        folder: The cohort's; made if absent, resumed if not. On a cluster all nodes must see it.
        engine: How.
        progress: Told how many of how many are done, and the last one's outcome.

    Returns:
        The summary.

    Raises:
        InputError: No engine, no such profile, a setting that is none; another design is in the folder; another ffr3d
            is at work in it.
        ComputationError: The engine ended before every case had an outcome.
    """
    command = engine_command(engine)
    environment = _environment(local=_local(_profile(engine.profile)))
    with held(design, folder) as todo:
        todo = list(written(design, todo, folder))
        for name in todo:
            _forget(folder, name)
        (folder / LABELS).unlink(missing_ok=True)
        plan = _plan(folder, todo, engine.licence)
        write_atomically(folder / "plan.json", json.dumps(plan, indent=2))
        if todo or engine.licence:
            teller = Teller(design, folder, 1, len(todo), progress)
            left = set(todo)
            for row in _watched(command, environment, folder, left, labels=bool(engine.licence)):
                teller.tell(told(row))
            if left:
                raise ComputationError(
                    f"{len(left)} cases have no outcome, {sorted(left)[0]} the first: the engine ended before "
                    f"(see {folder / 'workflow.log'}); the same command goes on"
                )
        found = summary(design, folder, 1)
        if engine.licence and found["usable"] and not (folder / LABELS).is_file():
            raise ComputationError(
                f"no data set was written (see {folder / 'workflow.log'}); the same command tries again"
            )
        return found


def _forget(folder: Path, name: str) -> None:
    """Remove what the engine would take for done of a case that is to be computed.

    That is what ended without a result, is of another case than the one there now, or has lost its certificate. What
    ended well stays: a driver was killed before it noted that.
    """
    digest = manifest.sha256(folder / "cases" / f"{name}.yaml")
    certified = (folder / "cases" / name / CERTIFICATE).is_file()
    for kind in (SEGMENTS, MESHES, OUTCOMES):
        path = folder / kind / f"{name}.json"
        row = read(path)
        sound = row is not None and row["hash"] == digest
        if row is None or not sound or row.get("status", 0) != 0 or row.get("verdict") == "ERROR":
            path.unlink(missing_ok=True)
        elif kind == OUTCOMES and not certified:
            path.unlink()


def _plan(folder: Path, names: Sequence[str], labels: str) -> dict[str, Any]:
    """What the workflow reads."""
    step = [sys.executable, "-P", "-m", "pipeline.cohort.step"]
    images = [name for name in names if _begins_with_ct(folder / "cases" / f"{name}.yaml")]
    return {"cases": list(names), "images": images, "labels": labels, "step": step}


def _begins_with_ct(case: Path) -> bool:
    return bool(yaml.safe_load(case.read_text())["input"]["kind"] == "ct")


def _program() -> str:
    for place in (HOME / ".venv-hpc" / "bin" / "snakemake", shutil.which("snakemake")):
        if place is not None and Path(place).is_file():
            return str(place)
    raise InputError(
        field="--profile",
        wanted="Snakemake, which runs the workflow",
        got="none in .venv-hpc or on the path",
        remedy="make hpc, or leave --profile out to run on this machine without it",
    )


def _profile(name: str) -> Path:
    for place in (WORKFLOW / "profiles" / name, Path(name)):
        if (place / "config.yaml").is_file():
            return place.resolve()
    known = sorted(path.name for path in (WORKFLOW / "profiles").glob("*"))
    raise InputError(
        field="--profile",
        wanted=f"one of {', '.join(known)}, or a folder with a Snakemake profile's config.yaml",
        got=name,
        remedy="copy hpc/workflow/profiles/slurm and name that folder",
    )


def engine_command(engine: Engine) -> list[str]:
    """The engine's command line.

    Raises:
        InputError: No engine, no such profile, a setting that is none.
    """
    profile, cores = _profile(engine.profile), engine.cores or len(os.sched_getaffinity(0))
    command = [_program(), "--snakefile", str(WORKFLOW / "Snakefile"), "--profile", str(profile)]
    command += ["--cores", str(cores)]
    for one in engine.settings:
        if not re.fullmatch(SETTING, one):
            raise InputError(
                field=f"--set {one}",
                wanted="name=value, or rule:name=value, of letters, digits and . _ : , / @ + -",
                got=one,
                remedy="e.g. --set slurm_partition=cpu --set segment:gpu=1",
            )
    of_all = [one for one in engine.settings if ":" not in one.partition("=")[0]]
    of_rules = [one for one in engine.settings if one not in of_all]
    command += ["--default-resources", *of_all] if of_all else []
    command += ["--set-resources", *of_rules] if of_rules else []
    memory = free_memory()
    if _local(profile) and math.isfinite(memory):
        command += ["--resources", f"mem_mb={int(1024 * memory)}"]
    return command


def _local(profile: Path) -> bool:
    told = yaml.safe_load((profile / "config.yaml").read_text()) or {}
    return bool(told.get("executor", "local") == "local")


def _environment(*, local: bool) -> dict[str, str]:
    """Of the engine and its jobs: nothing is imported from where they run; on a cluster kernels are the node's."""
    node = {} if local else {"FFR3D_KERNELS": f"/tmp/ffr3d-kernels-{os.getuid()}"}
    return {
        **node,
        **os.environ,
        "PYTHONPATH": str(HOME),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
    }


def _watched(
    command: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    left: set[str],
    *,
    labels: bool,
) -> Iterator[dict[str, Any]]:
    """Run the engine; give the outcome of each case as it appears, and take the case out of ``left``."""
    with (folder / "workflow.log").open("ab") as out:
        engine = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        while True:
            # asked before the look: what was written until then is seen
            ended = engine.poll() is not None
            for name in sorted(left):
                row = read(folder / OUTCOMES / f"{name}.json")
                if row is not None:
                    left.discard(name)
                    yield row
            if ended:
                return
            if not left and (folder / LABELS if labels else folder).exists():
                _end(engine)
                return
            time.sleep(_POLL_S)


def _end(engine: subprocess.Popen[bytes]) -> None:
    """End an engine whose files are all there: nothing of theirs depends on how it ends."""
    try:
        engine.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
