"""Restart states of a march in time: two states, the beds, and what is kept of the present period.

Independent of the number of ranks, as `solver.io.state`, and written atomically.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from solver.io import rows
from solver.io.state import at_keys, in_order, node_keys
from solver.system import FlowSystem

if TYPE_CHECKING:
    from mpi4py import MPI

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
    """Write a restart state (collective)."""
    tables = dict[str, Array]()
    for group, space, degree, columns in _columns(system, saved):
        owned = space.dofmap.index_map.size_local
        keys = node_keys(system, space, degree)[:owned]
        ordered = in_order(system, keys, [values[:owned] for values in columns.values()])
        names = [f"{group}/{name}" for name in ("keys", *columns)]
        tables |= zip(names, ordered, strict=True)
    numbers = {f"numbers/{name}": value for name, value in saved.numbers.items()}
    rows.write(system.comm, path, tables, numbers, {"fingerprint": mark})


def names_of(path: Path, mark: str) -> tuple[str, ...]:
    """Datasets of a restart state of this problem (one process); none where there is none."""
    if not path.exists():
        return ()
    with h5py.File(path, "r") as f:
        if f.attrs["fingerprint"] != mark:
            return ()
        return tuple(f"{group}/{name}" for group in f for name in f[group])


def read(comm: MPI.Comm, path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Numbers, and this rank's slabs of tables, by ``group/name``."""
    tables = [name for name in names if not name.startswith("numbers/")]
    held = dict(zip(tables, rows.read(comm, path, *tables), strict=True))
    with h5py.File(path, "r", locking="best-effort") as f:
        return held | {name: f[name][()] for name in names if name not in held}


def restore(system: FlowSystem, state: dict[str, Any]) -> Saved:
    """A state (as `read` returned it) for the partition there is (collective)."""
    numbers = {
        name.partition("/")[2]: value
        for name, value in state.items()
        if name.startswith("numbers/")
    }
    saved = Saved({}, {}, {}, numbers)
    size, space = system.x.x.array.size, system.space
    for group, of, degree in _spaces(system):
        names = [name for name in state if name.startswith(f"{group}/") and name[-5:] != "/keys"]
        held = [state[f"{group}/keys"], *(state[name] for name in names)]
        found = at_keys(system, held, node_keys(system, of, degree))
        for name, values in zip(names, found, strict=True):
            kind, _, short = name.partition("/")[2].partition(" ")
            if kind == "vector":
                vector = saved.vectors.setdefault(short, np.zeros(size))
                index = space.velocity if group == "velocity" else space.pressure[:, None]
                vector[index] = values
            else:
                (saved.nodal if group == "velocity" else saved.pressures)[short] = values
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
