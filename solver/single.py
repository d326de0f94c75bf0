"""A matrix of 4 x 4 blocks in single precision, to multiply with: half the bytes of what a Krylov method reads.

Preconditioners lose nothing by it. A Krylov method's own product may be as rough where its solution is held against the
matrix itself afterwards (`solver.linear`). Why: docs/decisions/0027-half-precision.md.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import native
from solver.blocks import BLOCK, Part, address, parts
from solver.engine import MPI, PETSc

SOURCE = Path(__file__).with_suffix(".c")
DECLARATIONS = """
void single_multiply(int rows, const int *first, const int *column, const float *value, const float *x, int add,
                     double *y);
void single_multiply_transposed(int rows, const int *first, const int *column, const float *value, const float *x,
                                double *y);
"""
Singles = npt.NDArray[np.float32]


class SingleCopy:
    """The numbers of an assembled ``seqbaij`` or ``mpibaij`` matrix, rounded; `update` follows the matrix."""

    def __init__(self, A: Any) -> None:  # noqa: ANN401
        """Find the blocks (collective); ``A`` has all the entries it will ever have."""
        self.A = A
        self._parts, columns = parts(A)
        module = native.load(MPI.COMM_SELF, "single", DECLARATIONS, SOURCE.read_text())
        self._lib, self._ffi = module.lib, module.ffi
        self._values = [
            native.aligned(BLOCK**2 * len(part.row), np.float32) for part in self._parts
        ]
        self._near = A.createVecRight()
        self._far = PETSc.Vec().createSeq(BLOCK * len(columns))
        there = PETSc.IS().createBlock(BLOCK, columns, comm=MPI.COMM_SELF)
        self._scatter = PETSc.Scatter().create(self._near, there, self._far, None)
        sizes = self._near.array_r.size, self._far.array_r.size
        self._x = [native.aligned(size + BLOCK, np.float32) for size in sizes]
        for x in self._x:
            x[:] = 0.0
        self._state = -1

    def update(self) -> None:
        """Take the matrix' present numbers, where they have changed."""
        state = self.A.stateGet()
        if state == self._state:
            return
        for part, values in zip(self._parts, self._values, strict=True):
            if len(values):
                at = ctypes.cast(address(part.handle), ctypes.POINTER(ctypes.c_double))
                values[:] = np.ctypeslib.as_array(at, (len(values),))
        self._state = state

    def mult(self, x: Any, y: Any) -> None:  # noqa: ANN401
        """``y = A x`` for PETSc vectors (collective)."""
        forward = PETSc.ScatterMode.FORWARD
        self._scatter.begin(x, self._far, mode=forward)
        made = y.array_w
        self._multiply(0, x, made)
        self._scatter.end(x, self._far, mode=forward)
        if len(self._parts) > 1:
            self._multiply(1, self._far, made)

    def _multiply(self, which: int, x: Any, y: npt.NDArray[np.float64]) -> None:  # noqa: ANN401
        part, values, rounded = self._parts[which], self._values[which], self._x[which]
        rounded[:-BLOCK] = x.array_r
        self._lib.single_multiply(
            *self._matrix(part, values), self._float(rounded), which, self._double(y)
        )

    def multTranspose(self, x: Any, y: Any) -> None:  # noqa: ANN401, N802 - as PETSc's
        """``y = A^T x`` for PETSc vectors (collective)."""
        rounded = self._x[0]
        rounded[:-BLOCK] = x.array_r
        y.set(0.0)
        self._far.set(0.0)
        for part, values, made in zip(self._parts, self._values, (y, self._far), strict=False):
            self._lib.single_multiply_transposed(
                *self._matrix(part, values), self._float(rounded), self._double(made.array)
            )
        self._scatter.scatter(
            self._far, y, addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE
        )

    def createVecs(self) -> tuple[Any, Any]:  # noqa: N802 - as PETSc's
        """Vectors to multiply, and for products."""
        right, left = self.A.createVecs()
        return right, left

    def destroy(self) -> None:
        """Free the PETSc objects, but for the matrix (collective)."""
        for thing in (self._scatter, self._near, self._far):
            thing.destroy()

    def _matrix(self, part: Part, values: Singles) -> tuple[Any, ...]:
        rows = len(part.first) - 1
        pattern = (self._ffi.cast("int *", a.ctypes.data) for a in (part.first, part.column))
        return rows, *pattern, self._float(values)

    def _float(self, values: Singles) -> Any:  # noqa: ANN401
        return self._ffi.cast("float *", values.ctypes.data)

    def _double(self, values: npt.NDArray[np.float64]) -> Any:  # noqa: ANN401
        return self._ffi.cast("double *", values.ctypes.data)
