"""Finite element spaces: equal order in one blocked space, or Taylor-Hood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx, mixed_element, ufl
from solver.engine import element as lagrange

EDGES = ((2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1))
"""Basix' edge numbering of a tetrahedron."""
DEGREES = {"P1-P1": (1, 1), "P2-P2": (2, 2), "P2-P1": (2, 1)}


@dataclass(frozen=True, slots=True)
class Space:
    """Velocity and pressure in one space, and where each scalar degree of freedom lies in it.

    Attributes:
        W: The coupled space.
        V: Scalar Lagrange space of the velocity's degree.
        P: Scalar Lagrange space of the pressure's degree (the same object for equal order).
        velocity: Index in W's local vector of component ``c`` at V's local node ``i``, ``(n, 3)``.
        pressure: Index in W's local vector of the pressure at P's local node ``i``, ``(m,)``.
        degree: Degree of the velocity.
        equal_order: One blocked space, stabilised; else Taylor-Hood.
    """

    W: Any
    V: Any
    P: Any
    velocity: npt.NDArray[np.int32]
    pressure: npt.NDArray[np.int32]
    degree: int
    equal_order: bool

    @property
    def dofs(self) -> int:
        """Global number of unknowns."""
        return int(self.W.dofmap.index_map.size_global * self.W.dofmap.index_map_bs)

    @property
    def owned(self) -> int:
        """Number of unknowns on this rank."""
        return int(self.W.dofmap.index_map.size_local * self.W.dofmap.index_map_bs)

    def split(self, x: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """Velocity and pressure of a function or an argument of W, as UFL expressions."""
        if not self.equal_order:
            u, p = ufl.split(x)
            return u, p
        return ufl.as_vector((x[0], x[1], x[2])), x[3]

    def nodes_on(self, facets: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """V's local nodes (ghosts too) on facets of any rank."""
        found: npt.NDArray[np.int32] = dolfinx.fem.locate_dofs_topological(self.V, 2, facets)
        return found


def build(mesh: Any, element: str) -> Space:  # noqa: ANN401
    """Build the space of an element name such as ``"P2-P2"``."""
    degree, pressure_degree = DEGREES[element]
    equal = degree == pressure_degree
    V = dolfinx.fem.functionspace(mesh, lagrange("Lagrange", "tetrahedron", degree))
    if equal:
        blocked = lagrange("Lagrange", "tetrahedron", degree, shape=(4,))
        W = dolfinx.fem.functionspace(mesh, blocked)
        node = _match(V.dofmap.list, W.dofmap.list)
        velocity = 4 * node[:, None] + np.arange(3, dtype=np.int32)
        return Space(W, V, V, velocity.astype(np.int32), 4 * node + 3, degree, equal)
    P = dolfinx.fem.functionspace(mesh, lagrange("Lagrange", "tetrahedron", pressure_degree))
    mixed = mixed_element(
        [
            lagrange("Lagrange", "tetrahedron", degree, shape=(3,)),
            lagrange("Lagrange", "tetrahedron", pressure_degree),
        ]
    )
    W = dolfinx.fem.functionspace(mesh, mixed)
    Vu, to_W = W.sub(0).collapse()  # one map a cell type
    blocks = np.concatenate([np.ravel(part) for part in to_W]).astype(np.int32).reshape(-1, 3)
    nodes = blocks[_match(V.dofmap.list, Vu.dofmap.list)]
    Pc, p_to_W = W.sub(1).collapse()
    of_node = np.concatenate([np.ravel(part) for part in p_to_W]).astype(np.int32)
    pressure = of_node[_match(P.dofmap.list, Pc.dofmap.list)]
    return Space(W, V, P, nodes, pressure, degree, equal)


def _match(source: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Node of ``target`` for each node of ``source``: two maps of the same element on the same cells."""
    node = np.zeros(int(source.max(initial=-1)) + 1, dtype=np.int32)
    node[source.ravel()] = target.ravel()
    return node
