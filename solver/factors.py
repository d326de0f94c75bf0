"""Factors of a matrix, exact or incomplete, and how a coarse level goes before them."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from solver.engine import PETSc
from solver.single import SingleCopy

FACTORS = "solver.ilu.IncompleteFactors"
_COUNT = itertools.count()


class Level(Protocol):
    """A coarse level."""

    def correct(self, x: Any, y: Any, *, transposed: bool = False) -> None:  # noqa: ANN401
        """Put the correction of a residual ``x`` (or its transpose's) into ``y`` (PETSc vectors)."""


def exact(A: Any) -> Any:  # noqa: ANN401
    """Sparse exact factors of a matrix, made when first applied."""
    factors = PETSc.PC().create(A.comm)
    factors.setOperators(A, A)
    factors.setType("lu")
    factors.setFactorSolverType("mumps")
    return factors


def incomplete(A: Any) -> Any:  # noqa: ANN401
    """Incomplete factors of a matrix of blocks (`solver.ilu`), of overlapping parts on several ranks."""
    factors, options = PETSc.PC().create(A.comm), PETSc.Options()
    prefix = f"flow{next(_COUNT)}_"
    factors.setOptionsPrefix(prefix)
    factors.setOperators(A, A)
    if A.comm.size == 1:
        factors.setType("python")
        options[f"{prefix}pc_python_type"] = FACTORS
    else:
        factors.setType("asm")
        options[f"{prefix}pc_asm_overlap"] = 1
        options[f"{prefix}sub_pc_type"] = "python"
        options[f"{prefix}sub_pc_python_type"] = FACTORS
    factors.setFromOptions()
    return factors


def renew(factors: Any, A: Any) -> None:  # noqa: ANN401
    """Factorise the present matrix; until the next time the factors stay, whatever becomes of it."""
    factors.setReusePreconditioner(False)
    factors.setOperators(A, A)
    factors.setUp()
    factors.setReusePreconditioner(True)


class TwoLevel:
    """Coarse correction, then factors on what is left: ``y = z + F (x - M z)``, ``z = C x``."""

    def __init__(self, M: Any, coarse: Level, fine: Any) -> None:  # noqa: ANN401
        self.M, self.coarse, self.fine = M, coarse, fine
        self.left, self.step = M.createVecs()

    def apply(self, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply to a PETSc vector."""
        self.coarse.correct(x, y)
        self.M.mult(y, self.left)
        self.left.aypx(-1.0, x)
        self.fine.apply(self.left, self.step)
        y.axpy(1.0, self.step)

    def applyTranspose(self, x: Any, y: Any) -> None:  # noqa: ANN401, N802 - as PETSc's
        """Apply the transpose: ``y = z + C^T (x - M^T z)``, ``z = F^T x``."""
        self.fine.applyTranspose(x, y)
        self.M.multTranspose(y, self.left)
        self.left.aypx(-1.0, x)
        self.coarse.correct(self.left, self.step, transposed=True)
        y.axpy(1.0, self.step)

    def destroy(self) -> None:
        """Free the work vectors (collective); matrix, level and factors are the caller's."""
        self.left.destroy()
        self.step.destroy()


class FewIterations:
    """A few iterations of a flexible Krylov method in place of a preconditioner's single application."""

    def __init__(self, M: SingleCopy, preconditioner: Any, most: int, rtol: float) -> None:  # noqa: ANN401
        """Take at most so many iterations, fewer where the residual falls by ``rtol`` before."""
        self.preconditioner = preconditioner
        self.operator = PETSc.Mat().createPython(M.A.getSizes(), _Multiplied(M), M.A.comm)
        self.operator.setUp()
        self.ksp = PETSc.KSP().create(M.A.comm)
        self.ksp.setOperators(self.operator)
        self.ksp.setType("fgmres")
        self.ksp.setPCSide(PETSc.PC.Side.RIGHT)
        self.ksp.setTolerances(rtol=rtol, atol=1e-300, max_it=most)
        self.ksp.getPC().setType("python")
        self.ksp.getPC().setPythonContext(_Applied(preconditioner))

    def apply(self, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply to a PETSc vector."""
        self.ksp.solve(x, y)

    def applyTranspose(self, x: Any, y: Any) -> None:  # noqa: ANN401, N802 - as PETSc's
        """Apply the preconditioner's transpose, once."""
        self.preconditioner.applyTranspose(x, y)

    def destroy(self) -> None:
        """Free the Krylov method (collective)."""
        self.ksp.destroy()
        self.operator.destroy()


class _Multiplied:
    """A matrix as PETSc multiplies with it."""

    def __init__(self, M: SingleCopy) -> None:
        self.M = M

    def mult(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        self.M.mult(x, y)


class _Applied:
    """A preconditioner as PETSc calls it."""

    def __init__(self, preconditioner: Any) -> None:  # noqa: ANN401
        self.preconditioner = preconditioner

    def apply(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        self.preconditioner.apply(x, y)
