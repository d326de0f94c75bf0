"""Linear solves: GMRES; incomplete factors of the operator's sparse part, and a coarse level.

With incomplete factors GMRES multiplies in single precision first; what it finds is held against the operator itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from solver.coarse import CoarseLevel
from solver.coupling import Emphasis, LowRank, LowRankOperator, WoodburyPreconditioner
from solver.engine import PETSc
from solver.factors import TwoLevel, exact, incomplete, renew
from solver.sections import SectionLevel
from solver.single import SingleCopy

ROUNDED = 1e-6
"""Tolerances below are not for rounded products."""
SLACK = 1.5
"""Over its tolerance, a solution found with rounded products may leave so much; else it goes on with exact ones."""


@dataclass(frozen=True, slots=True)
class LinearOptions:
    """How the linear systems are solved.

    Attributes:
        direct: Factorise (MUMPS) instead of incomplete factors; for Taylor-Hood and small problems.
        rtol: Relative tolerance.
        max_iterations: Give up after so many.
        restart: Length of the Krylov basis.
    """

    direct: bool = False
    rtol: float = 1e-3
    max_iterations: int = 400
    restart: int = 120


class Turned:
    """The transpose of a matrix or a preconditioner, for whoever multiplies with it or applies it."""

    def __init__(self, of: Any) -> None:  # noqa: ANN401
        self.of = of

    def mult(self, x: Any, y: Any) -> None:  # noqa: ANN401
        """Multiply with the transpose."""
        self.of.multTranspose(x, y)

    def apply(self, x: Any, y: Any) -> None:  # noqa: ANN401
        """Apply the transpose."""
        self.of.applyTranspose(x, y)


class LinearSolver:
    """Solves ``(M + U V^T) x = b``; factors are rebuilt by `factor` only."""

    def __init__(
        self,
        M: Any,  # noqa: ANN401
        low_rank: LowRank,
        emphasis: Emphasis,
        options: LinearOptions,
        coarse: CoarseLevel | SectionLevel | None = None,
    ) -> None:
        self.M, self.low_rank, self.options = M, low_rank, options
        self.seconds = {"factor": 0.0, "solve": 0.0}
        self.inner, self.coarse = (exact if options.direct else incomplete)(M), coarse
        self.quick = None if options.direct else SingleCopy(M)
        self.two = None if coarse is None else TwoLevel(self.quick or M, coarse, self.inner)
        self.preconditioner = inner = self.two or self.inner
        self.operator = PETSc.Mat().createPython(M.getSizes(), comm=M.comm)
        self.emphasis = emphasis
        self.context = LowRankOperator(M, low_rank, emphasis)
        self.operator.setPythonContext(self.context)
        self.operator.setUp()
        self.woodbury = WoodburyPreconditioner(inner, low_rank, emphasis)
        self.ksp = PETSc.KSP().create(M.comm)
        self.ksp.setOperators(self.operator, M)
        self.ksp.setType("fgmres")
        self.ksp.setGMRESRestart(options.restart)
        self.ksp.setPCSide(PETSc.PC.Side.RIGHT)
        self.ksp.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
        self.ksp.setTolerances(rtol=options.rtol, atol=1e-300, max_it=options.max_iterations)
        self.ksp.getPC().setType("python")
        self.ksp.getPC().setPythonContext(self.woodbury)
        self.rhs, self.work = M.createVecs()
        self.corrected = False

    def factor(self) -> None:
        """Factorise the present matrix.

        Exact factors get a new correction for the low-rank terms each time. Incomplete ones keep the first, which
        costs an application for each term: it is as good for the real jet as for a thick fluid (decision 0016).
        """
        start = perf_counter()
        renew(self.inner, self.M)
        if self.quick is not None:
            self.quick.update()
        if self.coarse is not None:
            self.coarse.factor()
        self.seconds["factor"] += perf_counter() - start
        if self.options.direct or not self.corrected:
            self._correct()

    def couple(self, low_rank: LowRank) -> None:
        """Take new low-rank terms into the operator; the preconditioner keeps those it has, if it has as many."""
        self.low_rank = self.context.low_rank = low_rank
        if low_rank.rank != self.woodbury.low_rank.rank:
            self._correct()

    def _correct(self) -> None:
        start, self.corrected = perf_counter(), True
        self.woodbury.low_rank = self.low_rank
        self.woodbury.refresh(self.work)
        self.seconds["factor"] += perf_counter() - start

    def solve(
        self,
        b: Any,  # noqa: ANN401
        x: Any,  # noqa: ANN401
        rtol: float,
        limit: int | None = None,
        *,
        go_on: bool = False,
    ) -> tuple[int, bool]:
        """Solve; return the iterations and whether the tolerance was met.

        Args:
            b: Right-hand side.
            x: Solution.
            rtol: Relative tolerance.
            limit: Most iterations; the options' without.
            go_on: Begin with the ``x`` given (where it is finite), not with zero.
        """
        start = perf_counter()
        most = self.options.max_iterations
        self.ksp.setTolerances(rtol=rtol, max_it=most if limit is None else min(limit, most))
        self.ksp.setInitialGuessNonzero(go_on and math.isfinite(x.norm()))
        self.ksp.setUp()
        b.copy(self.rhs)
        self.emphasis.apply(self.rhs)
        rough = self.quick is not None and rtol > ROUNDED
        if self.quick is not None:
            self.quick.update()
            self.context.M = self.quick if rough else self.M
        iterations, good = self._run(x)
        self.context.M = self.M
        if rough and good and self._residual(x) > SLACK * rtol * self.rhs.norm():
            self.ksp.setInitialGuessNonzero(True)
            more, good = self._run(x)
            iterations += more
        self.seconds["solve"] += perf_counter() - start
        return iterations, good

    def _run(self, x: Any) -> tuple[int, bool]:  # noqa: ANN401
        """The Krylov method by itself: its iterations, and whether it met its tolerance."""
        self.ksp.solve(self.rhs, x)
        return int(self.ksp.getIterationNumber()), int(self.ksp.getConvergedReason()) > 0

    def _residual(self, x: Any) -> float:  # noqa: ANN401
        """Norm of what the operator itself leaves of the right-hand side."""
        self.operator.mult(x, self.work)
        self.work.aypx(-1.0, self.rhs)
        return float(self.work.norm())

    def solve_transposed(self, b: Any, x: Any, rtol: float) -> None:  # noqa: ANN401
        """Solve ``(M + U V^T)^T x = b`` with the transposed factors, to a tolerance or the iteration limit."""
        start = perf_counter()
        turned = LowRank(self.low_rank.comm, self.low_rank.V, self.low_rank.U)
        plain = Emphasis(turned.comm, self.emphasis.direction, 1.0)
        operator = PETSc.Mat().createPython(
            self.M.getSizes(), LowRankOperator(Turned(self.M), turned, plain)
        )
        operator.setUp()
        woodbury = WoodburyPreconditioner(Turned(self.preconditioner), turned, plain)
        woodbury.refresh(self.work)
        ksp = PETSc.KSP().create(self.M.comm)
        ksp.setOperators(operator)
        ksp.setType("fgmres")
        ksp.setGMRESRestart(self.options.restart)
        ksp.setPCSide(PETSc.PC.Side.RIGHT)
        ksp.setTolerances(rtol=rtol, atol=1e-300, max_it=self.options.max_iterations)
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(woodbury)
        ksp.solve(b, x)
        ksp.destroy()
        operator.destroy()
        self.seconds["solve"] += perf_counter() - start

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        for thing in (
            self.ksp,
            self.operator,
            self.two,
            self.inner,
            self.quick,
            self.rhs,
            self.work,
            self.coarse,
        ):
            if thing is not None:
                thing.destroy()
