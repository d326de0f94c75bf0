"""What failed when a run ended without a result, by name: ``RUN/failure.json``, gone when the next attempt begins."""

from __future__ import annotations

import json
from pathlib import Path

from meshing.errors import ComputationError, InputError
from pipeline.attempts import TooLargeError
from pipeline.manifest import write_atomically

FILE = "failure.json"
TOO_LARGE, CRASH, INPUT = "too large", "crash", "input"
"""Besides the names of stages: a mesh or a memory too large, a signal, bad input."""


class SignalError(ComputationError):
    """A stage was ended by a signal.

    Attributes:
        signal: Its number.
    """

    def __init__(self, message: str, signal: int) -> None:
        self.signal = signal
        super().__init__(message)


def kind(stage: str, error: Exception) -> str:
    """Name of what failed: ``too large``, ``crash``, ``input``, or the stage that found no result."""
    if isinstance(error, InputError):
        return TOO_LARGE if error.field == "mesh.max_cells" else INPUT
    if isinstance(error, SignalError):
        return TOO_LARGE if error.signal == 9 else CRASH
    return TOO_LARGE if isinstance(error, TooLargeError) else stage


def note(run: Path, stage: str, error: Exception) -> None:
    """Write it down."""
    told = {"stage": stage, "kind": kind(stage, error), "message": str(error)}
    write_atomically(run / FILE, json.dumps(told, indent=2))


def forget(run: Path) -> None:
    """Nothing has failed."""
    (run / FILE).unlink(missing_ok=True)


def read(run: Path) -> str | None:
    """The name of what failed; None where nothing did, or was ended from outside."""
    try:
        return str(json.loads((run / FILE).read_text())["kind"])
    except (OSError, ValueError, KeyError):
        return None
