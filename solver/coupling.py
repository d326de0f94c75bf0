r"""Low-rank terms in the linear system, exactly: $A = M + U V^T$.

Every outlet $p = p_0 + R Q$ adds $R\,v v^T$, $v = \int_{\Gamma} n\cdot\varphi$. A pressure inlet, whose
velocity is $Q$ times a known profile, keeps $Q$ in the slot of one inlet degree of freedom (identity row
and column in $M$) and adds two terms of rank one. All dot products of one application travel in one
reduction; the preconditioner is corrected by the Woodbury identity.

Reference:
    Moghadam et al. (2013), Comput. Mech. 52, 1141-1152, https://doi.org/10.1007/s00466-013-0868-1
    (outlet terms in the operator and in the preconditioner).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mpi4py import MPI

Array = npt.NDArray[np.float64]


class LowRank:
    """The pair ``U, V`` of a low-rank term; columns are the owned parts of distributed vectors.

    An outlet's columns are zero away from it: only the other rows are multiplied.
    """

    def __init__(self, comm: MPI.Comm, U: Array, V: Array) -> None:
        self.comm = comm
        self.U, self.V = np.asfortranarray(U), np.asfortranarray(V)
        self._u, self._v = _Rows(self.U), _Rows(self.V)

    @property
    def rank(self) -> int:
        """Number of terms."""
        return int(self.U.shape[1])

    def dots(self, x: Array) -> Array:
        """``V^T x`` in one reduction."""
        local = self._v.part.T @ x[self._v.rows]
        total = np.empty_like(local)
        self.comm.Allreduce(local, total)
        return total

    def add(self, coefficients: Array, y: Array) -> None:
        """``y <- y + U c``."""
        y[self._u.rows] += self._u.part @ coefficients


class _Rows:
    """The rows of a matrix that are not zero."""

    def __init__(self, matrix: Array) -> None:
        self.rows = np.flatnonzero(matrix.any(axis=1))
        self.part = np.ascontiguousarray(matrix[self.rows])


class Emphasis:
    r"""Gives one direction of the residual more weight: $T = I + (g - 1)\,c c^T$, $|c| = 1$.

    The total mass balance is one number among many in the residual's norm, and the last that a local
    preconditioner gets right. Solving $TA x = Tb$ makes the Krylov method see it.
    """

    def __init__(self, comm: MPI.Comm, direction: Array, gain: float) -> None:
        self.comm, self.direction, self.gain = comm, direction, gain

    def scale(self, x: Any, gain: float) -> None:  # noqa: ANN401
        """Scale the component of a PETSc vector along the direction by ``gain``, in place."""
        component = self.comm.allreduce(float(self.direction @ x.array_r))
        x.array[:] += (gain - 1.0) * component * self.direction

    def apply(self, x: Any) -> None:  # noqa: ANN401
        """``x <- T x``."""
        self.scale(x, self.gain)

    def undo(self, x: Any) -> None:  # noqa: ANN401
        """``x <- T^-1 x``."""
        self.scale(x, 1.0 / self.gain)


class LowRankOperator:
    """Shell matrix ``y = T (M x + U V^T x)``."""

    def __init__(self, M: Any, low_rank: LowRank, emphasis: Emphasis) -> None:  # noqa: ANN401
        self.M, self.low_rank, self.emphasis = M, low_rank, emphasis

    def mult(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply (called by PETSc)."""
        self.M.mult(x, y)
        self.low_rank.add(self.low_rank.dots(x.array_r), y.array)
        self.emphasis.apply(y)


class WoodburyPreconditioner:
    r"""Shell preconditioner $(P^{-1} - Z (I + V^T Z)^{-1} V^T P^{-1}) T^{-1}$ with $Z = P^{-1} U$."""

    def __init__(self, inner: Any, low_rank: LowRank, emphasis: Emphasis) -> None:  # noqa: ANN401
        self.inner, self.low_rank, self.emphasis = inner, low_rank, emphasis
        self.work: Any = None
        self.Z, self.S = low_rank.U, np.eye(low_rank.rank)

    def refresh(self, work: Any) -> None:  # noqa: ANN401
        """Recompute ``Z`` and the small matrix after the inner preconditioner or ``U, V`` changed."""
        low = self.low_rank
        self.Z = np.empty_like(low.U)
        x, y = work.duplicate(), work.duplicate()
        for k in range(low.rank):
            x.array[:] = low.U[:, k]
            self.inner.apply(x, y)
            self.Z[:, k] = y.array_r
        local = low.V.T @ self.Z
        total = np.empty_like(local)
        low.comm.Allreduce(local, total)
        self.S = np.eye(low.rank) + total
        x.destroy()
        y.destroy()

    def apply(self, _: Any, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply (called by PETSc)."""
        if self.work is None:
            self.work = x.duplicate()
        x.copy(self.work)
        self.emphasis.undo(self.work)
        self.inner.apply(self.work, y)
        coefficients = np.linalg.solve(self.S, self.low_rank.dots(y.array_r))
        y.array[:] -= self.Z @ coefficients
