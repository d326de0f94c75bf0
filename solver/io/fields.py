"""Nodal fields in the numbering of ``mesh.h5``, whatever the number of ranks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from solver.engine import dolfinx
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
    node = np.zeros(geometry.x.shape[0], dtype=np.int32)
    node[geometry.dofmaps[0].ravel()] = target.dofmap.list.ravel()
    held = np.unique(geometry.dofmaps[0].ravel())
    owned = held[held < geometry.index_map().size_local]
    columns = np.empty((owned.size, values.shape[1]))
    for k in range(values.shape[1]):
        source.x.array[:] = values[:, k]
        image.interpolate(source)
        image.x.scatter_forward()
        columns[:, k] = image.x.array[node[owned]]
    index = np.asarray(geometry.input_global_indices)[owned]
    return _gather(system, index, columns)


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


def write_atomically(path: Path, data: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Write datasets to a new file, then put it in place of the old (one process)."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with h5py.File(fresh, "w") as f:
        for name, value in data.items():
            f.create_dataset(name, data=value, compression="gzip", compression_opts=1, shuffle=True)
        for name, value in attributes.items():
            f.attrs[name] = value
    fresh.replace(path)
