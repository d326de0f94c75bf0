"""Restart states: independent of the number of ranks, written atomically.

A degree of freedom is known by the mesh-file numbers of the two vertices of its edge (a vertex: twice
the same), so that a state fits any partition and any geometric order.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from solver.inlets import ProfileInlet
from solver.io.files import write_atomically
from solver.problem import FlowProblem
from solver.spaces import EDGES
from solver.system import FlowSystem

Keys = npt.NDArray[np.int64]


def fingerprint(problem: FlowProblem) -> str:
    """Hash of everything that decides the answer: problem (not how it is sought) and mesh."""
    told = problem.model_dump_json(
        exclude={
            **dict.fromkeys(
                ("mesh", "steady", "element", "stop_at_branch_end", "guess", "probes", "forces"),
                True,
            ),
            "inlet": {"file"},
        }
    )
    digest = hashlib.sha256(told.encode())
    files = [problem.mesh, problem.mesh.with_suffix(".h5")]
    files += [problem.inlet.file] if isinstance(problem.inlet, ProfileInlet) else []
    for path in files:
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def node_keys(system: FlowSystem, space: Any, degree: int) -> Keys:  # noqa: ANN401
    """Key of each local node of a scalar Lagrange space, ``(n,)``."""
    geometry = system.mesh.mesh.geometry
    vertices = np.asarray(geometry.input_global_indices)[geometry.dofmaps[0][:, :4]]
    pairs = [(i, i) for i in range(4)] + (list(EDGES) if degree == 2 else [])
    imap = space.dofmap.index_map
    keys = np.zeros(imap.size_local + imap.num_ghosts, dtype=np.int64)
    for column, (i, j) in enumerate(pairs):
        low = np.minimum(vertices[:, i], vertices[:, j])
        high = np.maximum(vertices[:, i], vertices[:, j])
        keys[space.dofmap.list[:, column]] = low * system.mesh.nodes + high
    return keys


def _columns(system: FlowSystem) -> list[tuple[str, Any, int, npt.NDArray[np.int32]]]:
    space = system.space
    return [
        ("velocity", space.V, space.degree, space.velocity),
        ("pressure", space.P, space.degree if space.equal_order else 1, space.pressure[:, None]),
    ]


def save(system: FlowSystem, path: Path, mark: str) -> None:
    """Write a restart state in SI units (collective; rank 0 writes)."""
    scales, data = system.scales, {}
    factor = {"velocity": (scales.velocity, 0.0), "pressure": (scales.pressure, scales.datum)}
    for name, space, degree, index in _columns(system):
        owned = space.dofmap.index_map.size_local
        keys = node_keys(system, space, degree)[:owned]
        scale, shift = factor[name]
        values = system.x.x.array[index[:owned]] * scale + shift
        pieces = system.comm.gather((keys, values), root=0)
        if pieces is not None:
            data[f"{name}_keys"] = np.concatenate([piece[0] for piece in pieces])
            data[name] = np.concatenate([piece[1] for piece in pieces])
    if system.comm.rank == 0:
        attributes = {
            "fingerprint": mark,
            "degree": system.space.degree,
            "Q_in": system.Q_in * scales.flow,
            "offset": system.offset * scales.pressure,
        }
        write_atomically(path, data, attributes)


def read(path: Path) -> dict[str, Any]:
    """Read a restart state (one process).

    Raises:
        InputError: It is missing or is no state.
    """
    try:
        with h5py.File(path, "r") as f:
            names = ("velocity_keys", "velocity", "pressure_keys", "pressure")
            state = {name: f[name][:] for name in names}
            return {**state, **{name: f.attrs[name] for name in f.attrs}}
    except (OSError, KeyError) as error:
        raise InputError(
            file=path,
            wanted="a restart state (state.h5)",
            got=str(error),
            remedy="leave out --restart, or name the state.h5 of a run on this mesh",
        ) from error


def restore(system: FlowSystem, state: dict[str, Any]) -> None:
    """Put a state (as `read` returned it, on every rank) into a system of the same degree."""
    scales = system.scales
    factor = {"velocity": (scales.velocity, 0.0), "pressure": (scales.pressure, scales.datum)}
    for name, space, degree, index in _columns(system):
        order = np.argsort(state[f"{name}_keys"])
        found = np.searchsorted(state[f"{name}_keys"][order], node_keys(system, space, degree))
        scale, shift = factor[name]
        system.x.x.array[index] = (state[name][order[found]] - shift) / scale
    system.offset = np.array(state["offset"]) / scales.pressure
    if not system.prescribed:
        system.Q_in = float(state["Q_in"]) / scales.flow
    system.apply_inlet()
