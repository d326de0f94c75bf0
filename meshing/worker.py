"""Runs one step of a foreign mesher in its own process: it may crash or hang without harm.

``call("mmgs", {...}, limit_s=60)`` starts ``python -m meshing.worker``, hands arrays over in an
``.npz`` file and kills the process group at the time limit.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshing.place import FailedError, Place

Arrays = dict[str, Any]
TASKS = {
    "mmgs": "meshing.remeshers:mmgs",
    "vmtk": "meshing.remeshers:vmtk",
    "gmsh": "meshing.gmsh_fill:fill",
    "sleep": "meshing.worker:sleep",
}


class StepFailedError(FailedError):
    """A foreign mesher crashed, ran past its time limit, or said no; the message says which."""


def call(task: str, arrays: Mapping[str, Any], limit_s: float) -> Arrays:
    """Run a task of `TASKS` in a child process.

    Args:
        task: Name of the task.
        arrays: Its arguments, anything ``numpy.savez`` takes.
        limit_s: Wall-clock limit [s].

    Returns:
        The arrays the task returned.

    Raises:
        StepFailedError: It failed, crashed or ran past the limit.
    """
    with tempfile.TemporaryDirectory(prefix="ffr3d-mesh-") as folder:
        given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, **arrays)
        code, said = _run([task, str(given), str(made)], limit_s)
        if code != 0 or not made.exists():
            raise StepFailedError(f"{task}: {_reason(code, said)}", _place(said))
        with np.load(made) as data:
            return dict(data)


def _run(arguments: list[str], limit_s: float) -> tuple[int, str]:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    child = subprocess.Popen(
        [sys.executable, "-m", "meshing.worker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise StepFailedError(f"{arguments[0]}: not done in {limit_s:g} s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return child.returncode, said


def _reason(code: int, said: str) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"ended with status {code}"


def _place(said: str) -> Place | None:
    """The place a mesher names (Gmsh's "... intersect at point (x, y, z)"), if it does."""
    found = re.search(r"at point \(([^()]+)\)", said)
    if found is None:
        return None
    at = np.array([float(value) for value in found.group(1).split(",")])
    return Place(at, np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))


def sleep(arrays: Arrays) -> Arrays:
    """Wait ``seconds``: a stand-in for a mesher that hangs."""
    time.sleep(float(arrays["seconds"]))
    return {}


def _end_with_parent(parent: int) -> None:
    """Watch the parent process and end when it is gone (it may be killed, too)."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def main(task: str, given: str, made: str) -> None:
    """Entry of the child process."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    module, name = TASKS[task].split(":")
    function: Callable[[Arrays], Arrays] = getattr(importlib.import_module(module), name)
    with np.load(given) as data:
        arrays = dict(data)
    np.savez(made, **function(arrays))


if __name__ == "__main__":
    main(*sys.argv[1:])
