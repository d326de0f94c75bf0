"""The folder of compiled kernels, shared by all processes of a user: what a killed one left half done is removed.

FFCx marks a kernel that is being compiled by its ``.c`` file and waits for the ``.c.cached`` beside it. A process
killed in between never writes that, and every later one would wait in vain.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

ABANDONED = 900.0
"""Seconds after which a kernel still not compiled is nobody's work any more, whoever else is running."""


def claim(folder: Path) -> None:
    """Use the folder together with others until this process ends; remove unfinished kernels that nobody compiles.

    A process that finds itself alone removes all of them, one among others those older than `ABANDONED`. Where the
    file system has no locks, or cannot be written, nothing is removed.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)  # never closed: held to the end
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            age = 0.0
        except BlockingIOError:
            age = ABANDONED
        _remove_unfinished(folder, age)
        fcntl.flock(lock, fcntl.LOCK_SH)


def _remove_unfinished(folder: Path, age: float) -> None:
    """Remove sources without the mark of a finished compilation that are older than ``age`` seconds."""
    now = time.time()
    for source in folder.glob("*.c"):
        with contextlib.suppress(FileNotFoundError):
            finished = source.with_suffix(".c.cached").exists()
            if not finished and now - source.stat().st_mtime >= age:
                source.unlink()
