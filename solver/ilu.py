"""Incomplete factors with one level of fill, kept in half precision: a PETSc preconditioner for blocks of 4 x 4.

A preconditioner need not be exact, and its factors are what a Krylov method reads most of: a quarter of the bytes, and
blocks that fill one vector register each. PETSc's own have the precision of everything else. Why: docs/decisions/
0016-incomplete-factors.md and 0027-half-precision.md.

Reference:
    Saad (2003), Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM, sec. 10.3.3 (fill by levels),
    https://doi.org/10.1137/1.9780898718003.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse import tril as lower
from scipy.sparse import triu as upper
from scipy.sparse.csgraph import reverse_cuthill_mckee

from solver import native
from solver.blocks import address
from solver.engine import MPI

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
SOURCE = Path(__file__).with_suffix(".c")
DECLARATIONS = """
int ilu_factor(int n, const int *low, const int *up, const int *index, const int *natural, const int *place,
               const int *first, const int *column, const double *value, int *where, float *work, uint32_t *factors);
void ilu_solve(int n, const int *low, const int *up, const int *index, const int *natural,
               const uint32_t *factors, const double *x, double *y, float *work);
void ilu_solve_transposed(int n, const int *low, const int *up, const int *index, const int *natural,
                          const uint32_t *factors, const double *x, double *y, float *work);
"""
BLOCK = 4


class IncompleteFactors:
    """Context of a PETSc preconditioner of type ``python``; the matrix is ``seqbaij`` with blocks of four.

    Attributes:
        singular: Diagonal blocks of the present factors that were singular, and are taken for the identity.
        natural: Rows of blocks in the order of elimination.
    """

    def __init__(self) -> None:
        self.singular = 0
        self._shape: tuple[int, int] | None = None
        module = native.load(MPI.COMM_SELF, "ilu", DECLARATIONS, SOURCE.read_text())
        self._lib, self._ffi = module.lib, module.ffi

    def setUp(self, pc: Any) -> None:  # noqa: ANN401 - as PETSc's
        """Factorise the preconditioner's matrix (called by PETSc after the matrix changed)."""
        matrix = pc.getOperators()[1]
        first, column = matrix.getRowIJ(compressed=True)
        shape = len(first) - 1, len(column)
        if shape != self._shape:
            self._analyse(first, column)
            self._shape = shape
        value = address(matrix.handle)
        self.singular = self._lib.ilu_factor(
            shape[0],
            *(self._int(a) for a in self._pattern),
            self._int(self._place),
            self._int(first),
            self._int(column),
            self._ffi.cast("const double *", value),
            self._int(self._where),
            self._cast("float *", self._row),
            self._cast("uint32_t *", self._factors),
        )

    def apply(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply to a PETSc vector (called by PETSc)."""
        self._solve(self._lib.ilu_solve, x, y)

    def applyTranspose(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401, N802 - as PETSc's
        """Apply the transpose (called by PETSc)."""
        self._solve(self._lib.ilu_solve_transposed, x, y)

    def _solve(self, kernel: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        given, made = x.array_r, y.array_w
        kernel(
            len(self._place),
            *(self._int(a) for a in self._pattern),
            self._cast("uint32_t *", self._factors),
            self._cast("const double *", given),
            self._cast("double *", made),
            self._cast("float *", self._work),
        )

    def _analyse(self, first: Indices, column: Indices) -> None:
        """Order of elimination, and the pattern of the factors."""
        n = len(first) - 1
        A = csr_array((np.ones(len(column), dtype=bool), column, first), shape=(n, n))
        natural = reverse_cuthill_mckee(A, symmetric_mode=True).astype(np.int32)
        place = np.empty(n, dtype=np.int32)
        place[natural] = np.arange(n, dtype=np.int32)
        B = A[natural][:, natural]
        # fill of level one: a lower entry (i, k) brings the entries of row k behind its diagonal
        pattern = (B + lower(B, -1).tocsr() @ upper(B, 1).tocsr()).tocsr()
        L, U = lower(pattern, -1).tocsr(), upper(pattern).tocsr()[::-1]  # as `ilu.c` stores them
        for part in (L, U):
            part.sort_indices()
        low, index = L.indptr, np.concatenate([L.indices, U.indices])
        up = (L.nnz + U.indptr)[::-1]
        self._place, self.natural = place, natural
        self._pattern = tuple(np.ascontiguousarray(a, np.int32) for a in (low, up, index, natural))
        self._where = np.full(n, -1, dtype=np.int32)
        longest = int((np.diff(L.indptr) + np.diff(U.indptr)[::-1]).max(initial=1))
        self._factors = native.aligned(index.size * BLOCK**2 // 2, np.uint32)
        self._row = native.aligned(longest * BLOCK**2, np.float32)
        self._work = native.aligned((n + 1) * BLOCK, np.float32)
        self._work[:] = 0.0

    def _int(self, values: Indices) -> Any:  # noqa: ANN401
        return self._cast("int *", values)

    def _cast(self, kind: str, values: npt.NDArray[Any]) -> Any:  # noqa: ANN401
        return self._ffi.cast(kind, values.ctypes.data)
