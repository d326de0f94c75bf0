"""Nodal fields in the numbering of ``mesh.h5``, whatever the number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx
from solver.io.files import write_atomically
from solver.io.guess import Guess
from solver.system import FlowSystem
from solver.wall_shear import wall_shear_stress

Array = npt.NDArray[np.float64]


def at_mesh_nodes(system: FlowSystem, space: Any, values: Array) -> Array | None:  # noqa: ANN401
    """Values at the nodes of the mesh file, on rank 0 (None elsewhere).

    Args:
        system: The flow system.
        space: Scalar Lagrange space of the values.
        values: Local coefficients of each column, ``(n_local, m)``.
    """
    mesh, order = system.mesh.mesh, system.mesh.order
    target = dolfinx.fem.functionspace(mesh, ("Lagrange", order))
    source, image = dolfinx.fem.Function(space), dolfinx.fem.Function(target)
    geometry = mesh.geometry
    node, held = node_dofs(mesh, target)
    owned = held[held < geometry.index_map().size_local]
    columns = np.empty((owned.size, values.shape[1]))
    for k in range(values.shape[1]):
        source.x.array[:] = values[:, k]
        image.interpolate(source)
        image.x.scatter_forward()
        columns[:, k] = image.x.array[node[owned]]
    index = np.asarray(geometry.input_global_indices)[owned]
    return _gather(system, index, columns)


def node_dofs(mesh: Any, space: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:  # noqa: ANN401
    """Degree of freedom at each local node of a mesh (of the space of its own order), and the nodes that have one."""
    nodes = mesh.geometry.dofmaps[0].ravel()
    node = np.zeros(mesh.geometry.x.shape[0], dtype=np.int32)
    node[nodes] = space.dofmap.list.ravel()
    return node, np.unique(nodes)


def _gather(system: FlowSystem, index: npt.NDArray[np.int64], columns: Array) -> Array | None:
    pieces = system.comm.gather((index, columns), root=0)
    kept = system.mesh.kept
    if pieces is None or kept is None:
        return None
    whole = np.zeros((system.mesh.nodes, columns.shape[1]))
    for where, what in pieces:
        whole[kept[where]] = what
    return whole


def dimensional(system: FlowSystem) -> tuple[Array, Array]:
    """Velocity [m/s] at V's local nodes ``(n, 3)`` and pressure [Pa] at P's ``(m, 1)``."""
    x, scales = system.x.x.array, system.scales
    velocity = x[system.space.velocity] * scales.velocity
    pressure = x[system.space.pressure][:, None] * scales.pressure + scales.datum
    return velocity, pressure


def write(system: FlowSystem, path: Path) -> None:
    """Write ``fields.h5`` (collective; rank 0 writes, atomically)."""
    velocity, pressure = dimensional(system)
    shear = np.stack([c.x.array for c in wall_shear_stress(system)], axis=1)
    u = at_mesh_nodes(system, system.space.V, velocity)
    p = at_mesh_nodes(system, system.space.P, pressure)
    s = at_mesh_nodes(system, system.space.V, shear)
    if u is None or p is None or s is None:
        return
    data = {"velocity": u, "pressure": p[:, 0], "wall_shear_stress": s}
    write_atomically(path, data, {})


def take(system: FlowSystem, thickening: float) -> Guess | None:
    """The state of a system as a guess, on rank 0 (None elsewhere; collective)."""
    velocity, pressure = dimensional(system)
    u = at_mesh_nodes(system, system.space.V, velocity)
    p = at_mesh_nodes(system, system.space.P, pressure)
    if u is None or p is None:
        return None
    return Guess(u, p[:, 0], float(system.Q_in * system.scales.flow), thickening)


def put(system: FlowSystem, guess: Guess | None) -> float:
    """Put a guess (that rank 0 holds) into a system's state; return its factor on the viscosity (collective)."""
    comm, kept, scales = system.comm, system.mesh.kept, system.scales
    held = None
    if guess is not None and kept is not None:
        pressure = (guess.pressure[kept] - scales.datum) / scales.pressure
        values = np.column_stack([guess.velocity[kept] / scales.velocity, pressure])
        held = (values, guess.Q_in / scales.flow, guess.thickening)
    values, Q_in, thickening = comm.bcast(held, root=0)
    mesh, space = system.mesh.mesh, system.space
    nodal = dolfinx.fem.functionspace(mesh, ("Lagrange", system.mesh.order))
    node, local = node_dofs(mesh, nodal)
    index = np.asarray(mesh.geometry.input_global_indices)[local]
    columns = [(space.V, space.velocity[:, c], c) for c in range(3)] + [
        (space.P, space.pressure, 3)
    ]
    for target_space, place, c in columns:
        source, target = dolfinx.fem.Function(nodal), dolfinx.fem.Function(target_space)
        source.x.array[node[local]] = values[index, c]
        target.interpolate(source)
        target.x.scatter_forward()
        system.x.x.array[place] = target.x.array
    if not system.prescribed:
        system.Q_in = float(Q_in)
    system.apply_inlet()
    return float(thickening)
