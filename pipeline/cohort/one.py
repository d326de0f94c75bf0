"""One case of a cohort: computed in a process of its own, and what became of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cohort.retry import bring, forget, read
from pipeline.manifest import Manifest
from pipeline.run import die_with_parent

CERTIFICATE = Path("certify/certificate.json")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: Its name.
        verdict: PASS, WARN or FAIL; ``ERROR`` where there is no result.
        reasons: Of a verdict that is not PASS.
        seconds: Wall time of this attempt.
        core_seconds: Of all processes of all its stages, also of attempts before.
        preset: The second way it took (`pipeline.cohort.retry`); empty: none.
    """

    case: str
    verdict: str
    reasons: tuple[str, ...]
    seconds: float
    core_seconds: float
    preset: str = ""


def arguments(case: Path, folder: Path, stop: str, overrides: Sequence[str] = ()) -> list[str]:
    """Of ``ffr3d`` that computes one case up to a stage."""
    told = ["run", str(case), "-o", str(folder), "--to", stop]
    return told + [word for one in overrides for word in ("--set", one)]


def command(case: Path, folder: Path, stop: str, overrides: Sequence[str] = ()) -> list[str]:
    """What computes one case up to a stage, in a process of its own."""
    program = "import sys; from pipeline.cli import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", program, *arguments(case, folder, stop, overrides)]


def compute(cohort: Path, name: str, stop: str, *, retry: bool) -> tuple[int, float]:
    """Run a case up to a stage; its output goes to ``log.txt`` of its run folder.

    Args:
        cohort: The cohort's folder.
        name: Of the case.
        stop: The stage.
        retry: Whether a case that ends without a result is tried a second way.

    Returns:
        Exit status and wall time [s].
    """
    case, target = cohort / "cases" / f"{name}.yaml", cohort / "cases" / name
    target.mkdir(exist_ok=True)
    return bring(target, case, retry, lambda given: _compute(case, target, stop, given))


def _compute(case: Path, target: Path, stop: str, overrides: Sequence[str]) -> tuple[int, float]:
    began = time.monotonic()
    with (target / "log.txt").open("ab") as out:
        status = subprocess.run(
            command(case, target, stop, overrides),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
            check=False,
        ).returncode
    return status, round(time.monotonic() - began, 2)


def outcome(cohort: Path, name: str, status: int, seconds: float) -> Outcome:
    """What became of a case that was to be computed up to its certificate.

    Args:
        cohort: The cohort's folder.
        name: Of the case.
        status: Exit status of `compute`.
        seconds: Its wall time.
    """
    target, case = cohort / "cases" / name, cohort / "cases" / f"{name}.yaml"
    taken = read(target, case)
    preset = taken.preset if taken else ""
    cores = round(sum(stage.cpu_seconds for stage in Manifest.open(target).stages.values()), 2)
    try:
        told = json.loads((target / CERTIFICATE).read_text()) if status == 0 else None
    except (OSError, ValueError):
        told = None
    if told is None:
        reason = f"exit status {status}: {_last_words(target / 'log.txt')}"
        forget(target)
        return Outcome(name, "ERROR", (reason,), seconds, cores, preset)
    return Outcome(name, told["status"], tuple(told["reasons"]), seconds, cores, preset)


def _last_words(path: Path) -> str:
    """The error that a run's output ends with, else its last line."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    for k in range(len(lines) - 1, -1, -1):
        if lines[k].startswith("ffr3d: error:"):
            return " ".join(line.strip() for line in lines[k : k + 6])
    return lines[-1] if lines else "nothing was printed"
