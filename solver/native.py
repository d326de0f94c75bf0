"""C beside a module, compiled for this processor and kept with the compiled forms."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cffi import FFI

from solver.engine import JIT_OPTIONS

ALIGNMENT = 64  # bytes: what the kernels' vectors want
HEADERS = "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n"


def load(comm: Any, name: str, declarations: str, source: str) -> Any:  # noqa: ANN401
    """Import compiled C; rank 0 compiles it if need be, then ranks that do not see its file (collective).

    Args:
        comm: MPI communicator.
        name: What the module's name begins with.
        declarations: C functions of it, as cffi reads them.
        source: C.

    Returns:
        The cffi module, with ``ffi`` and ``lib``.
    """
    source = HEADERS + source
    flags = list(JIT_OPTIONS["cffi_extra_compile_args"])
    key = hashlib.sha256("\n".join([declarations, source, *flags]).encode()).hexdigest()[:16]
    name = f"{name}_{key}"
    path = Path(JIT_OPTIONS["cache_dir"]) / f"{name}.so"
    if comm.rank == 0 and not path.exists():
        _compile(name, declarations, source, flags, path)
    comm.Barrier()
    if not path.exists():
        _compile(name, declarations, source, flags, path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python extension")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(name: str, declarations: str, source: str, flags: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        builder = FFI()
        builder.cdef(declarations)
        builder.set_source(name, source, extra_compile_args=flags)
        built = builder.compile(tmpdir=place)
        os.replace(built, path)  # whoever else made it meanwhile


def aligned(size: int, kind: type[np.generic]) -> npt.NDArray[Any]:
    """Uninitialised numbers that begin at a multiple of `ALIGNMENT`."""
    length = size * np.dtype(kind).itemsize
    raw = np.empty(length + ALIGNMENT, dtype=np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + length].view(kind)
