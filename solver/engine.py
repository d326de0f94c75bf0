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

from mpi4py import MPI
from petsc4py import PETSc as _PETSc

import basix as _basix
import basix.ufl as _basix_ufl
import dolfinx as _dolfinx
import ufl
from threadpoolctl import threadpool_limits

from solver import kernels

# their type hints are incomplete
PETSc: Any = _PETSc
dolfinx: Any = _dolfinx
basix: Any = _basix
element: Any = _basix_ufl.element
mixed_element: Any = _basix_ufl.mixed_element
# numpy may have been loaded before the limits above: twice the time on two ranks
threadpool_limits(1, user_api="blas")
for _part in ("dolfinx.fem.petsc", "dolfinx.io", "dolfinx.graph", "dolfinx.la"):
    importlib.import_module(_part)

__all__ = ["JIT_OPTIONS", "MPI", "PETSc", "basix", "dolfinx", "element", "mixed_element", "ufl"]


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
kernels.claim(JIT_OPTIONS["cache_dir"])
