"""Running a cohort on one machine: a run folder a case, some at a time, a ledger that outlives a kill.

::

    COHORT/design.yaml      the design, every default written out
    COHORT/ledger.jsonl     a line an event: started, done (verdict, reasons, seconds, cores), failed (why)
    COHORT/cases/ID.yaml    each case
    COHORT/cases/ID/        its run folder, with log.txt
    COHORT/summary.json     counts, times
    COHORT/cohort.html      the same as a page, written anew while cases are computed

A case whose ledger says done, with the same case and certificate, is not looked at again; one that was cut short goes
on from its last stage.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from meshing.errors import InputError
from pipeline import manifest
from pipeline.case_file import dump as dump_case
from pipeline.cohort.design import Design, Files, Phantoms, dump, identifiers, load
from pipeline.cohort.files import FileCases
from pipeline.cohort.one import CERTIFICATE, Outcome, compute, outcome
from pipeline.cohort.page import write_page
from pipeline.cohort.phantoms import PhantomCases
from pipeline.cohort.variants import VariantCases
from pipeline.manifest import now, write_atomically
from pipeline.run import locked

log = logging.getLogger("ffr3d")
LABELS = ("PASS", "WARN")
PAGE_S = 20.0
FREE = ("count", "splits", "retry")
"""What of a design may change in a cohort that is begun: no case depends on it."""
Progress = Callable[[int, int, str], None]


def run(
    design: Design, folder: Path, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Bring a cohort up to date.

    Args:
        design: What to compute; must be the one in the folder, but for its count.
        folder: The cohort's; made if absent, resumed if not.
        workers: Cases at a time; one a core if absent.
        progress: Told how many of how many are done, and the last one's outcome.

    Returns:
        The summary.

    Raises:
        InputError: Another design is in the folder; another ffr3d is at work in it; the design makes no case.
    """
    with held(design, folder) as todo:
        at_a_time, lock = workers or len(os.sched_getaffinity(0)), Lock()
        teller = Teller(design, folder, at_a_time, len(todo), progress)

        def one(name: str) -> None:
            found = _one(name, folder, retry=design.retry)
            with lock:
                teller.tell(found)

        with ThreadPoolExecutor(at_a_time) as pool:
            jobs = [pool.submit(one, name) for name in written(design, todo, folder)]
        for job in jobs:
            job.result()
        return summary(design, folder, at_a_time)


class Teller:
    """Puts outcomes where they are looked for: ledger, progress, and every now and then the page.

    Args:
        design: The design.
        folder: The cohort's.
        workers: Cases at a time.
        todo: Cases that are to be computed.
        progress: Told how many of how many are done, and the last one's outcome.
    """

    def __init__(
        self, design: Design, folder: Path, workers: int, todo: int, progress: Progress | None
    ) -> None:
        self._design, self._folder = design, folder
        self._workers, self._progress = workers, progress
        self._cases = len(identifiers(design))
        self._done = self._cases - todo
        self._page()

    def tell(self, found: Outcome) -> None:
        """A case has ended."""
        note(self._folder, found)
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._cases, f"{found.case} {found.verdict}")
        if time.monotonic() > self._next:
            self._page()

    def _page(self) -> None:
        began = time.monotonic()
        summary(self._design, self._folder, self._workers)
        end = time.monotonic()
        self._next = end + max(PAGE_S, 20 * (end - began))  # a page of thousands takes longer


@contextmanager
def held(design: Design, folder: Path) -> Iterator[list[str]]:
    """Hold a cohort's folder, its design in it; give the names of the cases that are to be computed.

    Args:
        design: The design.
        folder: The cohort's; made if absent.

    Raises:
        InputError: Another design is in the folder; another ffr3d is at work in it.
    """
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _keep_design(design, folder)
        finished = _finished(folder)
        yield [name for name in identifiers(design) if name not in finished]


def _keep_design(design: Design, folder: Path) -> None:
    """Write the design; refuse another than the folder's."""
    path = folder / "design.yaml"
    if path.is_file():
        before, after = load(path).model_dump(mode="json"), design.model_dump(mode="json")
        changed = [key for key in after if key not in FREE and before[key] != after[key]]
        if changed:
            raise InputError(
                file=path,
                field=changed[0],
                wanted=f"the design that this cohort was begun with (only {', '.join(FREE)} may change)",
                got="another",
                remedy="name another folder with --output, or take the folder's design.yaml",
            )
    write_atomically(path, dump(design))


def source(design: Design, folder: Path) -> PhantomCases | VariantCases | FileCases:
    """What makes the cases of a design; what variants share is computed in the folder."""
    if isinstance(design.vessel, Phantoms):
        return PhantomCases(design)
    if isinstance(design.vessel, Files):
        return FileCases(design, folder)
    return VariantCases(design, folder / "base")


def written(design: Design, names: Sequence[str], folder: Path) -> Iterator[str]:
    """The names, each as soon as its case is on the disk; one that cannot be made is noted and left out."""
    if not names:
        return
    cases = source(design, folder)
    for name in names:
        path = folder / "cases" / f"{name}.yaml"
        if not path.is_file():
            try:
                text = dump_case(cases.case(name))
            except InputError as error:
                _append(folder, _row(Outcome(name, "ERROR", (str(error),), 0.0, 0.0)))
                continue
            write_atomically(path, text)
        yield name


def _finished(folder: Path) -> set[str]:
    """Cases that the ledger calls done, as their files still are."""
    rows = {row["case"]: row for row in ledger(folder) if row["event"] == "done"}
    cases = folder / "cases"
    return {
        name
        for name, row in rows.items()
        if (cases / name / CERTIFICATE).is_file()
        and (cases / f"{name}.yaml").is_file()
        and row["hash"] == manifest.sha256(cases / f"{name}.yaml")
    }


def _one(name: str, folder: Path, *, retry: bool) -> Outcome:
    """Run one case to its certificate."""
    _append(folder, {"event": "started", "case": name})
    status, seconds = compute(folder, name, "certify", retry=retry)
    return outcome(folder, name, status, seconds)


def note(folder: Path, outcome: Outcome) -> None:
    """Add a case's outcome to the ledger."""
    digest = manifest.sha256(folder / "cases" / f"{outcome.case}.yaml")
    _append(folder, {**_row(outcome), "hash": digest})


def _row(outcome: Outcome) -> dict[str, Any]:
    event = "failed" if outcome.verdict == "ERROR" else "done"
    return {"event": event, **asdict(outcome)}


def _append(folder: Path, row: dict[str, Any]) -> None:
    """Add a line to the ledger; it is on the disk when this returns."""
    text = json.dumps({"at": now(), **row}) + "\n"
    handle = os.open(folder / "ledger.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def ledger(folder: Path) -> list[dict[str, Any]]:
    """The ledger's rows; a line that a kill cut short is none."""
    path, rows = folder / "ledger.jsonl", []
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


def summary(design: Design, folder: Path, workers: int = 1) -> dict[str, Any]:
    """Counts of verdicts, reasons, and what a label costs; written to ``summary.json`` and ``cohort.html``.

    Args:
        design: The design.
        folder: The cohort's.
        workers: Cases at a time: labels an hour are told for so many.
    """
    names, last = set(identifiers(design)), dict[str, dict[str, Any]]()
    for row in ledger(folder):
        if row["event"] in ("done", "failed") and row["case"] in names:
            last[row["case"]] = row
    verdicts = [row["verdict"] for row in last.values()]
    counts = {one: verdicts.count(one) for one in ("PASS", "WARN", "FAIL", "ERROR")}
    usable = counts["PASS"] + counts["WARN"]
    hours = sum(row["seconds"] for row in last.values()) / 3600.0
    core_hours = sum(row["core_seconds"] for row in last.values()) / 3600.0
    left = len(names) - len(last)
    told = {
        "name": design.name,
        "cases": len(names),
        "left": left,
        "hours_left": round(left * hours / len(last) / workers, 2) if last else None,
        "verdicts": counts,
        "usable": usable / len(names),
        "labels_per_hour": round(workers * usable / hours, 1) if hours else None,
        "core_hours": round(core_hours, 3),
        "core_hours_per_label": round(core_hours / usable, 4) if usable else None,
        "second_way": {
            name: row["preset"] for name, row in sorted(last.items()) if row.get("preset")
        },
        "not_passed": {
            name: {"verdict": row["verdict"], "reasons": row["reasons"]}
            for name, row in sorted(last.items())
            if row["verdict"] != "PASS"
        },
    }
    write_atomically(folder / "summary.json", json.dumps(told, indent=2))
    write_page(folder, told, [name for name in sorted(last) if last[name]["verdict"] in LABELS])
    return told
