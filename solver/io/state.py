"""Restart states: independent of the number of ranks, written atomically.

A degree of freedom is known by the mesh-file numbers of the two vertices of its edge (a vertex: twice
the same), so that a state fits any partition and any geometric order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from solver.engine import MPI
from solver.inlets import ProfileInlet
from solver.io import rows
from solver.parallel import on_all
from solver.problem import FlowProblem
from solver.spaces import EDGES
from solver.system import FlowSystem

Array = npt.NDArray[Any]
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
            with path.open("rb") as file:
                while piece := file.read(1 << 24):
                    digest.update(piece)
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


# -- tables by key -----------------------------------------------------------------------------


def in_order(system: FlowSystem, keys: Keys, columns: Sequence[Array]) -> list[Array]:
    """Rows of all ranks by rising key: this rank's slab of the keys and of each column (collective)."""
    comm = system.comm
    mine, *values = rows.send(comm, _keeper(system, keys), keys, *columns)
    sizes = comm.allgather(len(mine))
    row = sum(sizes[: comm.rank]) + np.arange(len(mine), dtype=np.int64)
    order = np.argsort(mine)
    to = rows.holder(row, sum(sizes), comm.size)
    return rows.send(comm, to, mine[order], *(column[order] for column in values))


def at_keys(system: FlowSystem, held: Sequence[Array], wanted: Keys) -> list[Array]:
    """Values of wanted keys from slabs of keys and columns, in whatever order (collective).

    Args:
        system: The flow system.
        held: This rank's slab of the keys, then of each column.
        wanted: Keys.

    Raises:
        InputError: On every rank: some of them no rank holds.
    """
    comm = system.comm
    keys, *columns = rows.send(comm, _keeper(system, held[0]), *held)
    order = np.argsort(keys)
    keys, whom = keys[order], _keeper(system, wanted)

    def place(asked: Keys) -> Keys:
        found = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
        return np.where(keys[found] == asked, found, -1) if len(keys) else np.full(len(asked), -1)

    where = rows.ask(comm, whom, wanted, place)
    if not comm.allreduce(bool((where >= 0).all()), op=MPI.LAND):
        raise InputError(
            wanted="a state of this mesh",
            got="one that lacks some of its nodes",
            remedy="leave out --restart, or name the state.h5 of a run on this mesh",
        )
    return [rows.ask(comm, whom, where, column[order].__getitem__) for column in columns]


def _keeper(system: FlowSystem, keys: Keys) -> Keys:
    """The rank where rows of a key meet: by the first of its vertices."""
    nodes, size = system.mesh.nodes, system.comm.size
    return np.asarray(keys // nodes * size // nodes, dtype=np.int64)


# -- files -------------------------------------------------------------------------------------


def save(system: FlowSystem, path: Path, mark: str) -> None:
    """Write a restart state in SI units (collective)."""
    scales, tables = system.scales, dict[str, Array]()
    factor = {"velocity": (scales.velocity, 0.0), "pressure": (scales.pressure, scales.datum)}
    for name, space, degree, index in _columns(system):
        owned = space.dofmap.index_map.size_local
        keys = node_keys(system, space, degree)[:owned]
        scale, shift = factor[name]
        values = system.x.x.array[index[:owned]] * scale + shift
        tables[f"{name}_keys"], tables[name] = in_order(system, keys, [values])
    told = {
        "fingerprint": mark,
        "degree": system.space.degree,
        "Q_in": system.Q_in * scales.flow,
        "offset": system.offset * scales.pressure,
    }
    rows.write(system.comm, path, tables, attributes=told)


def mark_of(path: Path) -> str:
    """Fingerprint of the problem that a state belongs to (one process).

    Raises:
        InputError: The file is no state.
    """
    try:
        with h5py.File(path, "r") as f:
            return str(f.attrs["fingerprint"])
    except (OSError, KeyError) as error:
        raise _no_state(path, error) from error


def read(comm: MPI.Comm, path: Path) -> dict[str, Any]:
    """Read this rank's slabs of a restart state, and its numbers (collective).

    Raises:
        InputError: It is missing or is no state.
    """

    def load() -> dict[str, Any]:
        names = ("velocity_keys", "velocity", "pressure_keys", "pressure")
        try:
            slabs = rows.read(comm, path, *names)
            with h5py.File(path, "r", locking="best-effort") as f:
                told = {name: f.attrs[name] for name in ("degree", "Q_in", "offset")}
        except (OSError, KeyError) as error:
            raise _no_state(path, error) from error
        return dict(zip(names, slabs, strict=True)) | told

    return on_all(comm, load)


def _no_state(path: Path, error: Exception) -> InputError:
    return InputError(
        file=path,
        wanted="a restart state (state.h5)",
        got=str(error),
        remedy="leave out --restart, or name the state.h5 of a run on this mesh",
    )


def restore(system: FlowSystem, state: dict[str, Any]) -> None:
    """Put a state (as `read` returned it) into a system of the same degree (collective)."""
    scales = system.scales
    factor = {"velocity": (scales.velocity, 0.0), "pressure": (scales.pressure, scales.datum)}
    for name, space, degree, index in _columns(system):
        held, wanted = [state[f"{name}_keys"], state[name]], node_keys(system, space, degree)
        scale, shift = factor[name]
        system.x.x.array[index] = (at_keys(system, held, wanted)[0] - shift) / scale
    system.offset = np.array(state["offset"]) / scales.pressure
    if not system.prescribed:
        system.Q_in = float(state["Q_in"]) / scales.flow
    system.apply_inlet()
