"""Restart states of a march in time: two states, the beds, and what is kept of the present period.

Independent of the number of ranks, as `solver.io.state`, and written atomically.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from solver.io.files import write_atomically
from solver.io.state import node_keys
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]


@dataclass(slots=True)
class Saved:
    """What a march needs to go on, dimensionless but for the beds [Pa] and the wall's shear [Pa].

    Attributes:
        vectors: Of all local unknowns, ``(n,)``, by name.
        nodal: At the local nodes of the velocity's space, ``(n, m)``, by name.
        pressures: At the local nodes of the pressure's space, ``(n, 1)``, by name.
        numbers: Small arrays, the same on all ranks, by name.
    """

    vectors: dict[str, Array]
    nodal: dict[str, Array]
    pressures: dict[str, Array]
    numbers: dict[str, Array]


def save(system: FlowSystem, saved: Saved, path: Path, mark: str) -> None:
    """Write a restart state (collective; rank 0 writes)."""
    data: dict[str, Any] = {f"numbers/{name}": value for name, value in saved.numbers.items()}
    for group, space, degree, columns in _columns(system, saved):
        owned = space.dofmap.index_map.size_local
        keys = node_keys(system, space, degree)[:owned]
        local = {name: values[:owned] for name, values in columns.items()}
        pieces = system.comm.gather((keys, local), root=0)
        if pieces is None:
            continue
        every = np.concatenate([piece[0] for piece in pieces])
        order = np.argsort(every)
        data[f"{group}/keys"] = every[order]
        for name in columns:
            whole = np.concatenate([piece[1][name] for piece in pieces])
            data[f"{group}/{name}"] = whole[order]
    if system.comm.rank == 0:
        write_atomically(path, data, {"fingerprint": mark})


def read(path: Path, mark: str) -> dict[str, Any] | None:
    """Read a restart state on one process; None where there is none of this problem."""
    if not path.exists():
        return None
    with h5py.File(path, "r") as f:
        if f.attrs["fingerprint"] != mark:
            return None
        return {group: {name: f[group][name][()] for name in f[group]} for group in f}


def restore(system: FlowSystem, state: dict[str, Any]) -> Saved:
    """A state (as `read` returned it, on every rank) for the partition there is."""
    saved = Saved({}, {}, {}, dict(state["numbers"]))
    size = system.x.x.array.size
    space = system.space
    for group, of, degree in _spaces(system):
        held = state[group]
        place = np.searchsorted(held["keys"], node_keys(system, of, degree))
        for name, values in held.items():
            if name == "keys":
                continue
            kind, _, short = name.partition(" ")
            if kind == "vector":
                vector = saved.vectors.setdefault(short, np.zeros(size))
                index = space.velocity if group == "velocity" else space.pressure[:, None]
                vector[index] = values[place]
            else:
                (saved.nodal if group == "velocity" else saved.pressures)[short] = values[place]
    return saved


def _spaces(system: FlowSystem) -> Iterator[tuple[str, Any, int]]:
    space = system.space
    yield "velocity", space.V, space.degree
    yield "pressure", space.P, space.degree if space.equal_order else 1


def _columns(system: FlowSystem, saved: Saved) -> Iterator[tuple[str, Any, int, dict[str, Array]]]:
    """Group, space, degree, and the values at its local nodes, ``(n, m)`` by name."""
    space = system.space
    for group, of, degree in _spaces(system):
        index = space.velocity if group == "velocity" else space.pressure[:, None]
        own = saved.nodal if group == "velocity" else saved.pressures
        yield (
            group,
            of,
            degree,
            {f"vector {name}": values[index] for name, values in saved.vectors.items()}
            | {f"field {name}": values for name, values in own.items()},
        )
