"""A job of a cohort: ``python -m pipeline.cohort.step segment|mesh|solve CASE [RANKS]`` or ``labels``, in its folder.

What becomes of a case is in a file of its own, written whole: ``segments/ID.json`` (of a CT), ``meshes/ID.json`` (size
of the mesh, or that there is none) and ``outcomes/ID.json``. A job that finds another one at work on its case waits
for it; what that one did is not done again. Its exit status says whether the file is there, not how the case ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import manifest
from pipeline.cohort.one import Outcome, arguments, outcome
from pipeline.cohort.retry import bring
from pipeline.manifest import write_atomically

SEGMENTS, MESHES, OUTCOMES = Path("segments"), Path("meshes"), Path("outcomes")
LABELS = Path("labels.json")


def segment(folder: Path, name: str) -> dict[str, Any]:
    """Bring a case that begins with a CT to its lumen: what a job with a GPU is for.

    Args:
        folder: The cohort's.
        name: Of the case.
    """
    with _held(folder, name):
        status, seconds = _here(folder, name, "segment")
        row = {"case": name, "status": status, "seconds": seconds, "hash": _hash(folder, name)}
        _write(folder / SEGMENTS / f"{name}.json", row)
    return row


def mesh(folder: Path, name: str) -> dict[str, Any]:
    """Bring a case to its mesh; return and write what a job needs to know of it.

    Args:
        folder: The cohort's.
        name: Of the case.
    """
    with _held(folder, name):
        before = read(folder / SEGMENTS / f"{name}.json")
        if before is not None and before["status"] != 0:  # there is no lumen
            status, seconds = before["status"], 0.0
        else:
            status, seconds = _here(folder, name, "mesh")
        row = {
            "case": name,
            "status": status,
            "seconds": seconds,
            "hash": _hash(folder, name),
            "ranks": _ranks(folder / "cases" / f"{name}.yaml"),
            **(_size(folder / "cases" / name) if status == 0 else {"cells": 0}),
        }
        _write(folder / MESHES / f"{name}.json", row)
    return row


def solve(folder: Path, name: str, ranks: int = 1) -> Outcome:
    """Bring a case to its certificate, unless that was done; return and write its outcome.

    Args:
        folder: The cohort's.
        name: Of the case.
        ranks: What the job was given, for a case that leaves its number of ranks open.
    """
    path = folder / OUTCOMES / f"{name}.json"
    with _held(folder, name):
        digest = _hash(folder, name)
        done = read(path)
        if done is not None and done["hash"] == digest and done["verdict"] != "ERROR":
            return told(done)
        jobs = [read(folder / kind / f"{name}.json") for kind in (SEGMENTS, MESHES)]
        before, meshed = sum(job["seconds"] for job in jobs if job is not None), jobs[1]
        if meshed is None or meshed["status"] == 0:
            given = _ranks(folder / "cases" / f"{name}.yaml")
            status, seconds = _here(folder, name, "certify", None if given else ranks)
        else:  # there is no mesh: what it ended with is in its log
            status, seconds = meshed["status"], 0.0
        found = outcome(folder, name, status, round(seconds + before, 2))
        _write(path, {**asdict(found), "hash": digest})
    return found


def labels(folder: Path, licence: str) -> dict[str, Any]:
    """Write the data set of the cohort, or go on with it; return and write the counts.

    Args:
        folder: The cohort's.
        licence: Of the labels.
    """
    from pipeline.labels.write import export

    told = export(folder, folder / "labels", licence=licence)
    _write(folder / LABELS, told)
    return told


def _here(folder: Path, name: str, stop: str, ranks: int | None = None) -> tuple[int, float]:
    """As `pipeline.cohort.one.compute`, in this process: a job is one already, and starting another takes a second."""
    case, target = folder / "cases" / f"{name}.yaml", folder / "cases" / name
    more = () if ranks is None else (f"solver.ranks={ranks}",)

    def compute(overrides: Sequence[str]) -> tuple[int, float]:
        from pipeline.cli import main as ffr3d

        began, status = time.monotonic(), 0
        with _printed(target / "log.txt"):
            sys.argv = ["ffr3d", *arguments(case, target, stop, (*overrides, *more))]
            try:
                ffr3d()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
        return status, round(time.monotonic() - began, 2)

    return bring(target, case, _retries(folder), compute)


def _retries(folder: Path) -> bool:
    import yaml

    try:
        told = yaml.safe_load((folder / "design.yaml").read_text())
    except OSError:
        return True
    return bool(told.get("retry", True))


def _hash(folder: Path, name: str) -> str:
    return manifest.sha256(folder / "cases" / f"{name}.yaml")


@contextmanager
def _printed(path: Path) -> Iterator[None]:
    """What this process and its children print goes to a file."""
    kept = os.dup(1), os.dup(2)
    with path.open("ab") as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
            os.close(before)


def read(path: Path) -> dict[str, Any] | None:
    """An outcome's file; None where there is none, or none that can be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def told(row: dict[str, Any]) -> Outcome:
    """The outcome of a file."""
    return Outcome(
        row["case"],
        row["verdict"],
        tuple(row["reasons"]),
        row["seconds"],
        row["core_seconds"],
        row.get("preset", ""),
    )


@contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    """Hold a case; wait for another job that does. The lock goes with the process, however that ends."""
    target = folder / "cases" / name
    target.mkdir(exist_ok=True)
    with (target / ".job").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _size(run: Path) -> dict[str, Any]:
    quality = json.loads((run / "mesh" / "mesh.json").read_text())["quality"]
    return {"cells": quality["cells"], "nodes": quality["nodes"]}


def _ranks(case: Path) -> int | None:
    import yaml

    ranks = yaml.safe_load(case.read_text()).get("solver", {}).get("ranks")
    return ranks if isinstance(ranks, int) else None


def _write(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(row, indent=2))


def _watch(parent: int) -> None:
    """End with the engine: no job that nobody waits for goes on (what it computes then ends with it)."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(143)


def main(words: list[str]) -> int:
    """The job: ``segment CASE``, ``mesh CASE``, ``solve CASE RANKS`` or ``labels LICENCE``."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    kind, name, *given = words
    if kind == "solve":
        solve(Path.cwd(), name, *map(int, given))
    else:
        {"segment": segment, "mesh": mesh, "labels": labels}[kind](Path.cwd(), name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
