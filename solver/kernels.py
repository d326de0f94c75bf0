"""The folder of compiled kernels, shared by all processes of a user: what a killed one left half done is removed.

FFCx marks a kernel that is being compiled by its ``.c`` file and waits for the ``.c.cached`` beside it. A process
killed in between never writes that, and every later one would wait in vain.

On a cluster the folder belongs on a disk of the node (``FFR3D_KERNELS``): of the ranks there one compiles, the others
wait for its file, and no thousand jobs read a home directory over the network.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import time
from pathlib import Path

from meshing.errors import InputError

PLACE = "FFR3D_KERNELS"
"""Environment variable that names the folder of compiled kernels; made if absent, nobody else's."""

ABANDONED = 900.0
"""Seconds after which a kernel still not compiled is nobody's work any more, whoever else is running."""


def folder() -> Path:
    """Where kernels for this processor are kept.

    Raises:
        InputError: ``FFR3D_KERNELS`` names what is no folder of this user's own: code that is loaded from it must be.
    """
    given = os.environ.get(PLACE)
    root = Path(given) if given else _cache()
    if given:
        fault = _not_ours(root)
        if fault:
            raise InputError(
                file=root,
                field=PLACE,
                wanted="a folder that only this user can write",
                got=fault,
                remedy=f"name another one, e.g. export {PLACE}=/tmp/kernels-$USER, or leave it out",
            )
    return root / f"kernels-{_cpu()}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ffr3d"


def _not_ours(root: Path) -> str:
    """Why a folder is not safe to load code from; empty if it is."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.stat()
    except OSError as error:
        return str(error)
    if found.st_uid != os.getuid():
        return f"one of user {found.st_uid}"
    return "one that others can write" if found.st_mode & 0o022 else ""


def _cpu() -> str:
    """What tells one processor model from another (kernels are compiled for it)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = [line for line in lines if line.startswith(("model name", "flags"))][:2]
    except OSError:
        told = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:12]


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
