"""The one place that imports DOLFINx, PETSc and MPI in the right order and sets the compiler flags."""

from __future__ import annotations

import importlib.util
import os
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


JIT_OPTIONS: dict[str, Any] = {
    "cffi_extra_compile_args": ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only"],
    "cache_dir": kernels.folder(),
    "timeout": 300,
}
kernels.claim(JIT_OPTIONS["cache_dir"])
