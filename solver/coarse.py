r"""Linear elements as the coarse space of quadratic ones: what incomplete factors cannot carry along a vessel.

Quadratic elements contain the linear ones on the same tetrahedra, so that prolongation is exact: a vertex keeps its
value, the middle of an edge has the mean of its ends. The coarse operator is the linear elements' own Jacobian at
the fine state. Where it is small its exact factors are used; else a few iterations with its incomplete ones after its
own coarse level (`solver.sections`): three levels. Why: docs/decisions/0014-linear-elements-as-the-coarse-level.md and
0019-three-levels.md.

Reference:
    Helenbrook & Atkins (2006), AIAA Journal 44, 566-575, https://doi.org/10.2514/1.15497 (linear elements as the
    coarse level of higher degrees, called p-multigrid).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from solver.engine import dolfinx
from solver.factors import FewIterations, TwoLevel, exact, incomplete, renew
from solver.sections import SectionLevel, Sections
from solver.single import SingleCopy
from solver.spaces import EDGES
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]


EXACT_UNKNOWNS = 20_000
"""Linear elements with more have incomplete factors and sections, which take less time and memory from there on."""
ITERATIONS, REDUCTION = 4, 0.3
"""Of the coarse solve without exact factors: most iterations, and the reduction of the residual that ends them."""


class CoarseLevel:
    """The correction ``y = P B P^T x`` of a fine system by a coarse one on the same mesh, ``B`` about its inverse.

    Attributes:
        low_rank: Low-rank terms of the coarse system where it was last factorised.
    """

    def __init__(
        self, fine: FlowSystem, coarse: FlowSystem, sections: Sections | None = None
    ) -> None:
        """Connect the systems (collective); ``sections`` are the coarse one's, if they have been cut."""
        self.fine, self.coarse = fine, coarse
        self._connect()
        self.values = dolfinx.fem.Function(coarse.space.W)
        self.b, self.x = coarse.A.createVecs()
        self.level: SectionLevel | None = None
        self.quick: SingleCopy | None = None
        self.two: TwoLevel | None = None
        self.few: FewIterations | None = None
        if coarse.space.dofs <= EXACT_UNKNOWNS:
            self.inner = self.factors = exact(coarse.A)
        else:
            self.level = SectionLevel(coarse, sections)
            self.inner, self.quick = incomplete(coarse.A), SingleCopy(coarse.A)
            self.two = TwoLevel(self.quick, self.level, self.inner)
            self.factors = self.few = FewIterations(self.quick, self.two, ITERATIONS, REDUCTION)

    def _connect(self) -> None:
        """Prolongation of nodes (owned fine ones from all local coarse ones), and the fine node of each vertex."""
        fine, coarse = self.fine.space, self.coarse.space
        cells, corners = fine.V.dofmap.list, coarse.V.dofmap.list
        rows = [*(cells[:, i] for i in range(4)), *(cells[:, 4 + k // 2] for k in range(12))]
        columns = [*(corners[:, i] for i in range(4)), *(corners[:, v] for e in EDGES for v in e)]
        row = fine.velocity[np.concatenate(rows), 0] // 4
        column = coarse.velocity[np.concatenate(columns), 0] // 4
        shape = (fine.velocity.shape[0], coarse.velocity.shape[0])
        P = coo_array((np.ones(row.size), (row, column)), shape=shape).tocsr()
        P.data[:] = 1.0
        P = P[: fine.owned // 4]
        self.P = coo_array(P.multiply(1.0 / P.sum(axis=1)[:, None])).tocsr()
        self.PT = self.P.T.tocsr()
        self.vertex = np.zeros(shape[1], dtype=np.int32)  # of W's blocks
        for i in range(4):
            at = coarse.velocity[corners[:, i], 0] // 4
            self.vertex[at] = fine.velocity[cells[:, i], 0] // 4

    def factor(self) -> None:
        """Assemble the coarse Jacobian where the fine one is, and factorise it."""
        self.coarse.mimic(self.fine, self.vertex)
        inverse_cfl, newton = float(self.fine.inverse_cfl.value), float(self.fine.newton.value)
        self.low_rank = self.coarse.jacobian(inverse_cfl, newton)
        renew(self.inner, self.coarse.A)
        if self.quick is not None:
            self.quick.update()
        if self.level is not None:
            self.level.follow(self.coarse.x.x.array[: self.coarse.space.owned])
            self.level.factor()

    def correct(self, x: Any, y: Any, *, transposed: bool = False) -> None:  # noqa: ANN401
        """Put the correction of a fine residual ``x`` (or its transpose's) into ``y`` (PETSc vectors)."""
        take, local = np.array(x.array_r), self.values.x
        take[self.fine.held] = 0.0
        local.array[:] = (self.PT @ take.reshape(-1, 4)).ravel()
        local.scatter_reverse(dolfinx.la.InsertMode.add)
        self.b.array[:] = local.array[: self.coarse.space.owned]
        self.b.array[self.coarse.held] = 0.0
        apply = self.factors.applyTranspose if transposed else self.factors.apply
        apply(self.b, self.x)
        y.array[:] = self.prolong(self.x.array_r)

    def prolong(self, values: Array) -> Array:
        """Owned unknowns of a coarse vector at the fine ones, zero at fixed ones."""
        local = self.values.x
        local.array[: self.coarse.space.owned] = values
        local.scatter_forward()
        give = (self.P @ local.array.reshape(-1, 4)).ravel()
        give[self.fine.held] = 0.0
        return np.asarray(give)

    def destroy(self) -> None:
        """Free the PETSc objects (collective); the coarse system is the caller's."""
        for thing in (self.few, self.two, self.inner, self.quick, self.level, self.b, self.x):
            if thing is not None:
                thing.destroy()
