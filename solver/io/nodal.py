"""Values at the nodes of the mesh file, out of and into functions of any Lagrange space on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx
from solver.io.mesh import FlowMesh

Array = npt.NDArray[np.float64]


def gather(mesh: FlowMesh, space: Any, values: Array) -> Array | None:  # noqa: ANN401
    """Values at the nodes of the mesh file, on rank 0 (None elsewhere; collective).

    Args:
        mesh: The mesh.
        space: Scalar Lagrange space of the values.
        values: Local coefficients of each column, ``(n_local, m)``.
    """
    target = dolfinx.fem.functionspace(mesh.mesh, ("Lagrange", mesh.order))
    source, image = dolfinx.fem.Function(space), dolfinx.fem.Function(target)
    geometry = mesh.mesh.geometry
    node, held = _node_dofs(mesh.mesh, target)
    owned = held[held < geometry.index_map().size_local]
    columns = np.empty((owned.size, values.shape[1]))
    for k in range(values.shape[1]):
        source.x.array[:] = values[:, k]
        image.interpolate(source)
        image.x.scatter_forward()
        columns[:, k] = image.x.array[node[owned]]
    index = np.asarray(geometry.input_global_indices)[owned]
    return _collect(mesh, index, columns)


def spread(mesh: FlowMesh, values: Array | None, spaces: Iterable[Any]) -> list[Array]:
    """Local coefficients, in each of the spaces, of one column of values that rank 0 holds (collective).

    Args:
        mesh: The mesh.
        values: At the nodes of the mesh file, ``(n, m)``; None on other ranks.
        spaces: A scalar Lagrange space for each of the ``m`` columns.
    """
    held = None if values is None or mesh.kept is None else values[mesh.kept]
    held = mesh.mesh.comm.bcast(held, root=0)
    nodal = dolfinx.fem.functionspace(mesh.mesh, ("Lagrange", mesh.order))
    node, local = _node_dofs(mesh.mesh, nodal)
    index = np.asarray(mesh.mesh.geometry.input_global_indices)[local]
    source, columns = dolfinx.fem.Function(nodal), []
    for column, space in zip(held.T, spaces, strict=True):
        target = dolfinx.fem.Function(space)
        source.x.array[node[local]] = column[index]
        target.interpolate(source)
        target.x.scatter_forward()
        columns.append(np.array(target.x.array))
    return columns


def _node_dofs(mesh: Any, space: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:  # noqa: ANN401
    """Degree of freedom at each local node of a mesh (of the space of its own order), and the nodes that have one."""
    nodes = mesh.geometry.dofmaps[0].ravel()
    node = np.zeros(mesh.geometry.x.shape[0], dtype=np.int32)
    node[nodes] = space.dofmap.list.ravel()
    return node, np.unique(nodes)


def _collect(mesh: FlowMesh, index: npt.NDArray[np.int64], columns: Array) -> Array | None:
    pieces = mesh.mesh.comm.gather((index, columns), root=0)
    if pieces is None or mesh.kept is None:
        return None
    whole = np.zeros((mesh.nodes, columns.shape[1]))
    for where, what in pieces:
        whole[mesh.kept[where]] = what
    return whole
