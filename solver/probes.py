"""Velocity and pressure at points: the finite element functions themselves, not an interpolation of nodal values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]
NEAR = 0.02
"""A point outside by less than this part of an element is on the surface: walls are curved, points are rounded."""
PADDING = 0.05
"""Of the boxes in which cells are looked for, in reference lengths."""


def sample(system: FlowSystem, points: Array) -> tuple[Array, Array]:
    """Evaluate the state (collective).

    Args:
        system: The flow system.
        points: [m], ``(k, 3)``, the same on every rank.

    Returns:
        Velocity [m/s] ``(k, 3)`` and pressure [Pa] ``(k,)``, NaN at points outside the domain; the same on every rank.
    """
    where = np.ascontiguousarray(points / system.scales.length)
    cell, place, excess = _locate(system, where)
    comm = system.comm
    every = np.asarray(comm.allgather(excess))
    mine = (every.argmin(axis=0) == comm.rank) & (excess < NEAR)
    values = np.zeros((len(where), 5))
    for k in np.flatnonzero(mine):
        values[k] = [*_evaluate(system, int(cell[k]), place[k]), 1.0]
    values = np.asarray(comm.allreduce(values))
    values[values[:, 4] == 0.0] = np.nan
    scales = system.scales
    return values[:, :3] * scales.velocity, values[:, 3] * scales.pressure + scales.datum


def _locate(system: FlowSystem, points: Array) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """The nearest owned cell of each point: number, reference coordinates, and by how much it lies outside."""
    mesh = system.mesh.mesh
    cells = np.arange(mesh.topology.index_map(3).size_local, dtype=np.int32)
    tree = dolfinx.geometry.bb_tree(mesh, 3, padding=PADDING, entities=cells)
    candidates = dolfinx.geometry.compute_collisions_points(tree, points)
    shape, nodes, x = mesh.geometry.cmaps[0], mesh.geometry.dofmaps[0], mesh.geometry.x
    found = np.zeros(len(points), dtype=np.int64)
    place, excess = np.zeros((len(points), 3)), np.full(len(points), np.inf)
    for k, point in enumerate(points):
        for cell in candidates.links(k):
            try:
                X = shape.pull_back(point[None], x[nodes[cell]])[0]
            except RuntimeError:  # far outside a curved cell Newton's method need not converge
                continue
            out = max(-X.min(), X.sum() - 1.0)
            if out < excess[k]:
                found[k], place[k], excess[k] = cell, X, out
    return found, place, np.maximum(excess, 0.0)


def _evaluate(system: FlowSystem, cell: int, X: Array) -> Array:
    """Velocity and pressure (dimensionless) at reference coordinates of a cell, ``(4,)``."""
    space, x = system.space, system.x.x.array

    def at(scalar: dolfinx.fem.FunctionSpace) -> tuple[npt.NDArray[np.int32], Array]:
        basis = scalar.element.basix_element.tabulate(0, X[None])[0, 0, :, 0]
        return scalar.dofmap.cell_dofs(cell), basis

    nodes, weights = at(space.V)
    velocity = weights @ x[space.velocity[nodes]]
    nodes, weights = at(space.P)
    return np.append(velocity, weights @ x[space.pressure[nodes]])
