"""The stages in order: each reads files, writes files, and is skipped when fresh.

Every stage runs in a process of its own (``python -m pipeline.stage``): a crash of a native library ends one stage
with a message instead of ending the run without one, memory goes back to the system, and its peak is measured.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meshing.errors import BranchEndError, ComputationError, InputError
from pipeline import failure, manifest
from pipeline.attempts import Refinement, TooLargeError
from pipeline.case import Case, CtInput
from pipeline.case_file import dump, input_files
from pipeline.manifest import Manifest, StageRecord

log = logging.getLogger("ffr3d")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step from files to files.

    Attributes:
        name: Also the folder it writes into.
        choices: The part of the case its result depends on.
        inputs: Files it reads, relative to the run folder (those of the case: `input_files`).
        outputs: Files that must be there afterwards, relative to the run folder.
        reads_case: Whether it reads the files that the case names.
    """

    name: str
    choices: Callable[[Case], dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reads_case: bool = False


def _sections(*names: str) -> Callable[[Case], dict[str, Any]]:
    return lambda case: case.model_dump(mode="json", include=set(names))


def _solve_choices(case: Case) -> dict[str, Any]:
    choices = _sections("physiology", "inlet", "blood", "pulsatile", "solver")(case)
    del choices["solver"]["ranks"]  # results do not depend on it
    return choices


ANATOMY = ("anatomy/vessel.vtp", "anatomy/centerlines.vtp", "anatomy/anatomy.json")
MESH = ("mesh/mesh.h5", "mesh/mesh.json")
FLOW = ("solve/fields.h5", "solve/flow.json", "solve/problem.json", "solve/physiology.json")
CERTIFICATE = ("certify/certificate.json",)
FFR = ("ffr/ffr.json", "ffr/centerlines.vtp", "ffr/volume.vtu", "ffr/wall.vtp")
SURFACE = ("surface/lumen.vtp", "surface/surface.json")

IMAGE = ("image/ct.nii.gz", "image/image.json")
SEGMENT = ("segment/lumen.nii.gz", "segment/labels.nii.gz", "segment/segment.json")

CT_STAGES = (
    Stage("image", _sections("input"), (), IMAGE, reads_case=True),
    Stage("segment", _sections("input"), IMAGE, SEGMENT, reads_case=True),
)
"""Before the others, where the case begins with a CT."""

STAGES = (
    Stage("surface", _sections("input", "surface"), (), SURFACE, reads_case=True),
    Stage("anatomy", _sections("anatomy"), SURFACE, ANATOMY),
    Stage("mesh", _sections("mesh"), ANATOMY, (*MESH, "mesh/mesh.vtu")),
    Stage("solve", _solve_choices, (*MESH, ANATOMY[2]), FLOW),
    Stage("ffr", lambda _: {}, (*ANATOMY, *MESH, *FLOW), FFR),
    Stage("certify", _sections("certificate"), (*FFR, *ANATOMY, *MESH, *FLOW), CERTIFICATE),
    Stage(
        "report",
        _sections("report", "name"),
        (*FFR, *CERTIFICATE, *FLOW, *ANATOMY, *MESH, SURFACE[1]),
        ("report.html",),
    ),
)


def stages_of(case: Case) -> tuple[Stage, ...]:
    """The stages of a case in order."""
    if not isinstance(case.input, CtInput):
        return STAGES
    surface = replace(STAGES[0], inputs=SEGMENT, reads_case=False)
    ffr, certify, report = STAGES[-3:]
    ffr, report = (replace(one, inputs=(*one.inputs, *IMAGE, *SEGMENT)) for one in (ffr, report))
    return (*CT_STAGES, surface, *STAGES[1:-3], ffr, certify, report)


def run(case: Case, folder: Path, *, start: str | None = None, stop: str | None = None) -> Manifest:
    """Bring a run folder up to date.

    Args:
        case: What to compute.
        folder: The run folder; made if absent, resumed if not.
        start: Run this stage and all after it even if fresh.
        stop: Last stage to run.

    Returns:
        The ledger.

    Raises:
        InputError: The input of a stage cannot be used; another run is at work in the folder.
        ComputationError: A stage ended without a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        failure.forget(folder)
        return _run(case, folder, start, stop)


def _run(case: Case, folder: Path, start: str | None, stop: str | None) -> Manifest:
    manifest.write_atomically(folder / "case.yaml", dump(case))
    ledger = Manifest.open(folder)
    ledger.name = case.name
    stages = stages_of(case)
    last = len(stages) if stop is None else _place(stages, stop) + 1
    forced = len(stages) if start is None else _place(stages, start)
    number = 0
    while number < last:
        stage = stages[number]
        if stage.name == "mesh":
            _keep_refinement(ledger, case, folder, forced=number >= forced)
        fingerprint, inputs = _fingerprint(stage, case, folder, ledger.refinement)
        if number < forced and ledger.fresh(stage.name, fingerprint, folder):
            log.info("%-8s unchanged, skipped", stage.name)
        else:
            ledger.stages.pop(stage.name, None)
            ledger.save(folder)
            _prepare(folder / stage.name, fingerprint, wipe=number >= forced)
            try:
                ledger.stages[stage.name] = _execute(stage, folder, fingerprint, inputs)
            except (ComputationError, InputError) as error:
                failure.note(folder, stage.name, error)
                _another_mesh(error, stage, case, folder, ledger.refinement)
                failure.forget(folder)
                number, forced = _place(stages, "mesh"), len(stages)
                ledger.save(folder)
                continue
        number += 1
        wanted = stage.name == "solve" and case.adapt.when == "always"
        if wanted and ledger.refinement.goes_on(case.adapt):
            _better_mesh(case, folder, ledger.refinement, "a steady state is found")
            number, forced = _place(stages, "mesh"), len(stages)
        ledger.save(folder)
    return ledger


def _place(stages: tuple[Stage, ...], name: str) -> int:
    names = [stage.name for stage in stages]
    if name in names:
        return names.index(name)
    raise InputError(
        field=f"stage {name}",
        wanted=f"one of {', '.join(names)}",
        got="a stage that this case does not have: it does not begin with a CT",
        remedy="name another stage, or a CT (input.kind: ct)",
    )


def _keep_refinement(ledger: Manifest, case: Case, folder: Path, *, forced: bool) -> None:
    """Forget what was tried with another anatomy or other choices."""
    choices = {**_sections("mesh", "adapt")(case), **_solve_choices(case)}
    basis = manifest.fingerprint(choices, [manifest.sha256(folder / name) for name in ANATOMY])
    tried = ledger.refinement
    sizes = None if tried.last is None else tried.last.sizes
    lost = sizes is not None and not (folder / sizes).is_file()
    if forced or lost or tried.basis != basis:
        ledger.refinement = Refinement(basis=basis)


def _better_mesh(case: Case, folder: Path, tried: Refinement, why: str) -> None:
    """Choose the sizes of the next mesh from the solution there is."""
    from pipeline.refine import next_attempt

    attempt = next_attempt(folder, case, tried)
    tried.attempts.append(attempt)
    log.info("%-8s %s on %d cells: another mesh follows", "adapt", why, attempt.cells)


def _another_mesh(
    error: Exception, stage: Stage, case: Case, folder: Path, tried: Refinement
) -> None:
    """Prepare to go back to the mesh stage where a finer mesh, or the one before, may help.

    Raises:
        Exception: The error, where neither can.
    """
    if isinstance(error, BranchEndError):
        _better_mesh(case, folder, tried, "no steady state is found")
    elif isinstance(error, TooLargeError) and tried.step_back():
        log.info("%-8s half the step: %s", "adapt", error)
    elif tried.attempts and not tried.withdrawn and stage.name in ("mesh", "solve"):
        tried.withdrawn = str(error)
        log.info("%-8s %s failed, back to the mesh before: %s", "adapt", stage.name, error)
    else:
        raise error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; the lock goes with the process, however that ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                file=folder,
                wanted="a run folder of its own",
                got="one in which another ffr3d is at work",
                remedy="wait for it, or name another folder with --output",
            ) from None
        yield


def _fingerprint(
    stage: Stage, case: Case, folder: Path, refinement: Refinement
) -> tuple[str, dict[str, str]]:
    inputs = {name: manifest.sha256(folder / name) for name in stage.inputs}
    if stage.reads_case:
        inputs |= {str(file): manifest.sha256(file) for file in input_files(case).values()}
    choices, last = stage.choices(case), refinement.last
    if stage.name == "mesh" and last is not None:
        choices["finer"] = [last.everywhere, last.throats, last.jets]
        if last.sizes is not None:
            inputs[last.sizes] = manifest.sha256(folder / last.sizes)
    return manifest.fingerprint(choices, inputs.values()), inputs


def _prepare(folder: Path, fingerprint: str, *, wipe: bool) -> None:
    """Make the stage's folder; what an interrupted attempt at the same thing left is kept."""
    marker = folder / ".fingerprint"
    if folder.exists() and (wipe or not marker.exists() or marker.read_text() != fingerprint):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    marker.write_text(fingerprint)


def _execute(stage: Stage, folder: Path, fingerprint: str, inputs: dict[str, str]) -> StageRecord:
    log.info("%-8s started", stage.name)
    error_file = folder / "error.json"
    error_file.unlink(missing_ok=True)
    began = time.monotonic()
    status, usage = _child([sys.executable, "-P", "-m", "pipeline.stage", stage.name, str(folder)])
    seconds = time.monotonic() - began
    if status != 0:
        raise _failure(stage.name, status, error_file)
    absent = [name for name in stage.outputs if not (folder / name).is_file()]
    if absent:
        raise ComputationError(f"stage {stage.name} ended without writing {', '.join(absent)}")
    log.info("%-8s done in %.1f s", stage.name, seconds)
    return StageRecord(
        fingerprint=fingerprint,
        inputs=inputs,
        outputs=manifest.hashes((folder / name for name in stage.outputs), folder),
        finished=manifest.now(),
        seconds=round(seconds, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_memory_GiB=round(usage.ru_maxrss / 2**20, 3),
    )


def _child(command: Sequence[str]) -> tuple[int, Any]:
    """Run to the end; return the exit status (negative: a signal) and the resource usage of the whole family."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait again
    return process.returncode, usage


def _failure(stage: str, status: int, error_file: Path) -> Exception:
    if error_file.is_file():
        error = json.loads(error_file.read_text())
        error_file.unlink()
        if error["kind"] == "input":
            return InputError(**error["fields"])
        if error["kind"] == "branch end":
            return BranchEndError(error["message"])
        if error["kind"] == "too large":
            return TooLargeError(error["message"])
        return ComputationError(error["message"])
    cause = (
        f"with exit status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"
    )
    hint = (
        " (out of memory? make the mesh coarser: mesh.elements_per_diameter)"
        if status == -9
        else ""
    )
    told = f"stage {stage} was ended {cause}{hint}; what it printed is above"
    return ComputationError(told) if status >= 0 else failure.SignalError(told, -status)


def die_with_parent() -> None:
    """In a new child: ask Linux to end it when its parent is gone, so that no orphan writes into a resumed run."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
