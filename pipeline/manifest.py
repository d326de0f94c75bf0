"""The ledger of a run, ``run.json``: what was computed from what, when, with which versions, at what cost.

A stage is fresh when its fingerprint (its part of the case, the contents of its input files, the version of
ffr3d) is the recorded one and its outputs are as they were written.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline.attempts import Refinement

VERSIONS_OF = ("ffr3d", "numpy", "vtk", "vmtk", "gmsh", "mmgpy", "pyvista", "fenics-dolfinx", "dolfinx-solver-real",
               "petsc4py", "mpi4py", "mpich")  # fmt: skip


class StageRecord(BaseModel):
    """One finished stage."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    inputs: dict[str, str] = Field(description="SHA-256 by path")
    outputs: dict[str, str] = Field(description="SHA-256 by path relative to the run folder")
    finished: str
    seconds: float = Field(description="wall time")
    cpu_seconds: float = Field(description="user + system time of all its processes")
    peak_memory_GiB: float = Field(description="largest resident set of any one of its processes")


class Manifest(BaseModel):
    """The whole ledger."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    created: str = Field(default_factory=lambda: now())
    machine: dict[str, str | int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    stages: dict[str, StageRecord] = Field(default_factory=dict)
    refinement: Refinement = Field(default_factory=Refinement)
    notice: str = "Research use only. Not a medical device."

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read ``run.json``, or start a new ledger where there is none or it cannot be read."""
        try:
            return cls.model_validate_json((folder / "run.json").read_text())
        except (OSError, ValueError):
            return cls()

    def save(self, folder: Path) -> None:
        """Write ``run.json`` so that a kill leaves the old or the new one, never half."""
        self.machine = machine()
        self.versions = versions()
        write_atomically(folder / "run.json", self.model_dump_json(indent=2))

    def fresh(self, stage: str, fingerprint: str, folder: Path) -> bool:
        """Whether the stage need not run again."""
        record = self.stages.get(stage)
        if record is None or record.fingerprint != fingerprint:
            return False
        return all(
            (folder / path).is_file() and sha256(folder / path) == digest
            for path, digest in record.outputs.items()
        )


def write_atomically(path: Path, text: str) -> None:
    """Write a file by rename."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, or of the names and contents of all files in a folder, in hexadecimal."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        told = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in inside)
        return hashlib.sha256(told.encode()).hexdigest()
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def pseudonym(text: str) -> str:
    """A short name that tells nothing of what it is of."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def hashes(paths: Iterable[Path], relative_to: Path | None = None) -> dict[str, str]:
    """SHA-256 by path, sorted."""
    return {
        str(path.relative_to(relative_to) if relative_to else path): sha256(path)
        for path in sorted(paths)
    }


def fingerprint(choices: Mapping[str, Any], inputs: Iterable[str]) -> str:
    """Hash of everything a stage's result depends on.

    Args:
        choices: The stage's part of the case, JSON-able.
        inputs: SHA-256 of its input files' contents, in a fixed order.
    """
    text = json.dumps([version(), choices, list(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def version() -> str:
    """The version of ffr3d."""
    return metadata.version("ffr3d")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """What the run ran on; no host name, no user name."""
    return {"system": platform.platform(), "processors": os.cpu_count() or 1}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
