"""Values at the nodes of the mesh file, out of and into functions of any Lagrange space on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx
from solver.io import rows
from solver.io.mesh import FlowMesh

Array = npt.NDArray[np.float64]


def gather(mesh: FlowMesh, space: Any, values: Array) -> Array:  # noqa: ANN401
    """This rank's slab (`solver.io.rows`) of values at the nodes of the mesh file (collective).

    Args:
        mesh: The mesh.
        space: Scalar Lagrange space of the values.
        values: Local coefficients of each column, ``(n_local, m)``.

    Returns:
        ``(n, m)``; zero at nodes that no cell uses.
    """
    target = dolfinx.fem.functionspace(mesh.mesh, ("Lagrange", mesh.order))
    source, image = dolfinx.fem.Function(space), dolfinx.fem.Function(target)
    geometry, comm = mesh.mesh.geometry, mesh.mesh.comm
    node, held = _node_dofs(mesh.mesh, target)
    owned = held[held < geometry.index_map().size_local]
    columns = np.empty((owned.size, values.shape[1]))
    for k in range(values.shape[1]):
        source.x.array[:] = values[:, k]
        image.interpolate(source)
        image.x.scatter_forward()
        columns[:, k] = image.x.array[node[owned]]
    index = np.asarray(geometry.input_global_indices, dtype=np.int64)[owned]
    where, what = rows.send(comm, rows.holder(index, mesh.nodes, comm.size), index, columns)
    first, end = rows.span(comm, mesh.nodes)
    slab = np.zeros((end - first, values.shape[1]))
    slab[where - first] = what
    return slab


def spread(mesh: FlowMesh, values: Array, spaces: Iterable[Any]) -> list[Array]:
    """Local coefficients, in each of the spaces, of one column of values at the nodes of the mesh file (collective).

    Args:
        mesh: The mesh.
        values: This rank's slab, ``(n, m)``.
        spaces: A scalar Lagrange space for each of the ``m`` columns.
    """
    comm = mesh.mesh.comm
    nodal = dolfinx.fem.functionspace(mesh.mesh, ("Lagrange", mesh.order))
    node, local = _node_dofs(mesh.mesh, nodal)
    index = np.asarray(mesh.mesh.geometry.input_global_indices, dtype=np.int64)[local]
    first, _ = rows.span(comm, mesh.nodes)
    whom = rows.holder(index, mesh.nodes, comm.size)
    held = rows.ask(comm, whom, index, lambda asked: values[asked - first])
    source, columns = dolfinx.fem.Function(nodal), []
    for column, space in zip(held.T, spaces, strict=True):
        target = dolfinx.fem.Function(space)
        source.x.array[node[local]] = column
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
