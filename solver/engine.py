"""The one place that imports DOLFINx, PETSc and MPI in the right order and sets the compiler flags."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if importlib.util.find_spec("dolfinx_solver") is not None:  # the wheel; conda builds have none
    import dolfinx_solver  # noqa: F401

import basix.ufl  # noqa: E402
import dolfinx  # noqa: E402
import dolfinx.fem.petsc  # noqa: E402
import ufl  # noqa: E402
from mpi4py import MPI  # noqa: E402
from petsc4py import PETSc  # noqa: E402

__all__ = ["MPI", "PETSc", "JIT_OPTIONS", "basix", "dolfinx", "ufl"]


def _cpu() -> str:
    """What tells one processor model from another (kernels are compiled for it)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = [line for line in lines if line.startswith(("model name", "flags"))][:2]
    except OSError:
        told = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:12]


def _jit_options() -> dict[str, Any]:
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return {
        "cffi_extra_compile_args": ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only"],
        "cache_dir": root / "ffr3d" / f"kernels-{_cpu()}",
        "timeout": 300,
    }


JIT_OPTIONS = _jit_options()
