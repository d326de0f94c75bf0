"""The numbers of an assembled matrix of 4 x 4 blocks, in place: what PETSc does one entry, one row at a time.

Cells all of whose nodes are this rank's go straight to their blocks, whose places are found once; the others and the
facets go through PETSc. Why: docs/decisions/0018-blocks-in-place.md.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from solver import native
from solver.engine import MPI, PETSc

if TYPE_CHECKING:
    from solver.equal_order import CellTerms

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
SOURCE = Path(__file__).with_suffix(".c")
DECLARATIONS = """
int blocks_locate(int count, int n, const int *cell, const int *nodes, const int *first, const int *column, int *where);
void blocks_multiply(int count, const int *place, const int *row, const int *column, int turned, const double *value,
                     const double *x, double *y);
void blocks_fix(int count, const int *place, const uint8_t *kind, double *value);
"""
BLOCK = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks of this rank's rows: those in its own columns, or those in columns of other ranks.

    Attributes:
        handle: Address of PETSc's ``seqbaij`` matrix.
        first: Where each row of blocks begins, ``(rows + 1,)``.
        column: Column of each block: of its own the node, of others a place in `Blocks.far`.
        row: Row of each block.
    """

    handle: int
    first: Indices
    column: Indices
    row: Indices


@dataclass(frozen=True, slots=True)
class Some:
    """A few blocks of a part, and the vector they are multiplied with."""

    part: Part
    place: Indices
    row: Indices
    column: Indices
    x: Array

    @classmethod
    def of(cls, part: Part, which: npt.NDArray[np.bool_], x: Array) -> Some:
        """Those that are marked."""
        place = np.flatnonzero(which).astype(np.int32)
        return cls(part, place, part.row[place], part.column[place], x)


@dataclass(frozen=True, slots=True)
class Strip:
    """The blocks in the columns of a vector's nodes and those in their rows, a part each."""

    columns: tuple[Some, ...]
    rows: tuple[Some, ...]


class Blocks:
    """The blocks of an assembled ``seqbaij`` or ``mpibaij`` matrix whose rows and columns are a space's nodes.

    Attributes:
        near: A vector of the owned unknowns.
        far: One of the others that this rank's rows meet.
    """

    def __init__(self, A: Any, fixed: Indices) -> None:  # noqa: ANN401
        """Find the blocks (collective).

        Args:
            A: Matrix, with all the entries it will ever have.
            fixed: Owned velocity unknowns without freedom; all three at a node.
        """
        self.A = A
        self.parts, columns = parts(A)
        module = native.load(MPI.COMM_SELF, "blocks", DECLARATIONS, SOURCE.read_text())
        self._lib, self._ffi = module.lib, module.ffi
        self.near = A.createVecRight()
        self.far = PETSc.Vec().createSeq(BLOCK * len(columns))
        there = PETSc.IS().createBlock(BLOCK, columns, comm=MPI.COMM_SELF)
        self.scatter = PETSc.Scatter().create(self.near, there, self.far, None)
        self.where: Indices | None = None
        self._find_fixed(fixed)

    def _find_fixed(self, fixed: Indices) -> None:
        """Blocks in rows and columns of fixed unknowns, and which of the two it is."""
        self.near.set(0.0)
        self.near.array[fixed] = 1.0
        self._send()
        held = [vector.array_r[::BLOCK].astype(np.uint8) for vector in (self.near, self.far)]
        self._held = []
        for part, columns in zip(self.parts, held, strict=False):
            kind = held[0][part.row] + 2 * columns[part.column]
            if columns is held[0]:
                kind = kind + 4 * (part.row == part.column)
            place = np.flatnonzero(kind & 3).astype(np.int32)
            self._held.append((place, kind[place].astype(np.uint8)))

    def _send(self) -> None:
        """Fill `far` from `near` (collective)."""
        self.scatter.scatter(self.near, self.far, mode=PETSc.ScatterMode.FORWARD)

    def add(self, made: CellTerms) -> None:
        """Add the Jacobian of the cells inside."""
        if self.where is None:
            self.where = self._locate(made.inside, made.nodes)
        made.add_tangent(self.where, self._values(self.parts[0]))

    def _locate(self, cells: Indices, nodes: Indices) -> Indices:
        """Place of the block of each pair of nodes of cells whose nodes are this rank's, ``(m, n, n)``."""
        own, n = self.parts[0], nodes.shape[1]
        where = np.empty((len(cells), n, n), dtype=np.int32)
        fault = self._lib.blocks_locate(
            len(cells), n, self._int(cells), self._int(nodes), self._int(own.first),
            self._int(own.column), self._int(where),
        )  # fmt: skip
        if fault >= 0:
            raise ValueError(f"the matrix has no place for cell {fault}")
        return where

    def strip(self, x: Array) -> Strip:
        """The rows and columns of a vector of few nodes (owned unknowns; collective)."""
        self.near.array[:] = x
        self._send()
        given = np.array(self.near.array_r), np.array(self.far.array_r)
        there = [values.reshape(-1, BLOCK).any(axis=1) for values in given]
        columns, rows = [], []
        for part, values, here in zip(self.parts, given, there, strict=False):
            columns.append(Some.of(part, here[part.column], values))
            rows.append(Some.of(part, there[0][part.row], given[0]))
        return Strip(tuple(columns), tuple(rows))

    def multiply(self, strip: Strip) -> Array:
        """``A x`` over the owned unknowns for the ``x`` of a strip."""
        y = np.zeros(self.near.array_r.size)
        for some in strip.columns:
            self._multiply(some, y, turned=False)
        return y

    def multiply_transposed(self, strip: Strip) -> Array:
        """``A^T x`` over the owned unknowns for the ``x`` of a strip (collective)."""
        made = np.zeros(self.near.array_r.size), np.zeros(self.far.array_r.size)
        for some, y in zip(strip.rows, made, strict=False):
            self._multiply(some, y, turned=True)
        self.near.array[:], self.far.array[:] = made
        self.scatter.scatter(
            self.far, self.near, addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE
        )
        return np.array(self.near.array_r)

    def _multiply(self, some: Some, y: Array, *, turned: bool) -> None:
        """Add some blocks' product with a vector to ``y``."""
        self._lib.blocks_multiply(
            len(some.place), self._int(some.place), self._int(some.row), self._int(some.column),
            turned, self._values(some.part), self._double(some.x), self._double(y),
        )  # fmt: skip

    def fix(self) -> None:
        """Make the rows and columns of fixed unknowns those of the identity."""
        for part, (place, kind) in zip(self.parts, self._held, strict=True):
            kinds = self._ffi.cast("uint8_t *", kind.ctypes.data)
            self._lib.blocks_fix(len(place), self._int(place), kinds, self._values(part))
        self.A.stateIncrease()

    def destroy(self) -> None:
        """Free the PETSc objects, but for the matrix (collective)."""
        for thing in (self.scatter, self.near, self.far):
            thing.destroy()

    def _int(self, values: Indices) -> Any:  # noqa: ANN401
        return self._ffi.cast("int *", values.ctypes.data)

    def _double(self, values: Array) -> Any:  # noqa: ANN401
        return self._ffi.cast("double *", values.ctypes.data)

    def _values(self, part: Part) -> Any:  # noqa: ANN401
        return self._ffi.cast("double *", address(part.handle))


def _petsc() -> Any:  # noqa: ANN401
    """PETSc's own functions, for what petsc4py does not hand out."""
    return ctypes.CDLL(sys.modules["petsc4py.PETSc"].__file__)


def address(handle: int) -> int:
    """Address of the numbers of a ``seqbaij`` matrix."""
    library, at = _petsc(), ctypes.c_void_p()
    fault = library.MatSeqBAIJGetArray(ctypes.c_void_p(handle), ctypes.byref(at))
    if fault:
        raise RuntimeError(f"PETSc gives no access to the numbers of a matrix (error {fault})")
    numbers = at.value or 0  # null: no blocks
    library.MatSeqBAIJRestoreArray(ctypes.c_void_p(handle), ctypes.byref(at))
    return numbers


def parts(A: Any) -> tuple[tuple[Part, ...], Indices]:  # noqa: ANN401
    """The parts of a matrix, and the column of blocks that each place of the second one's stands for."""
    if A.type == "seqbaij":
        return (_part(A.handle),), np.empty(0, np.int32)
    inner, outer, columns = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.POINTER(ctypes.c_int)()
    fault = _petsc().MatMPIBAIJGetSeqBAIJ(
        ctypes.c_void_p(A.handle),
        ctypes.byref(inner),
        ctypes.byref(outer),
        ctypes.byref(columns),
    )
    if fault:
        raise RuntimeError(f"PETSc does not split a matrix of type {A.type} (error {fault})")
    far = _part(outer.value or 0)
    count = int(far.column.max(initial=-1)) + 1
    names = np.ctypeslib.as_array(columns, (count,)) if count else np.empty(0, np.int32)
    return (_part(inner.value or 0), far), names


def _rows(handle: int) -> tuple[Indices, Indices]:
    """Compressed rows of blocks of a ``seqbaij`` matrix, as PETSc has them: where each begins, and its columns."""
    rows, found = ctypes.c_int(), ctypes.c_int()
    first, column = ctypes.POINTER(ctypes.c_int)(), ctypes.POINTER(ctypes.c_int)()
    fault = _petsc().MatGetRowIJ(
        ctypes.c_void_p(handle), 0, 0, 1,
        ctypes.byref(rows), ctypes.byref(first), ctypes.byref(column), ctypes.byref(found),
    )  # fmt: skip
    if fault or not first:
        raise RuntimeError(f"PETSc gives no access to the rows of a matrix (error {fault})")
    begins = np.ctypeslib.as_array(first, (rows.value + 1,))
    count = int(begins[-1])
    return begins, np.ctypeslib.as_array(column, (count,)) if count else np.empty(0, np.int32)


def _part(handle: int) -> Part:
    first, column = _rows(handle)
    row = np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first))
    return Part(handle, first, column, row)
