"""Nodal fields in the numbering of ``mesh.h5``, whatever the number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from solver.io import nodal, rows
from solver.io.guess import Guess
from solver.system import FlowSystem
from solver.wall_shear import wall_shear_stress

Array = npt.NDArray[np.float64]


def dimensional(system: FlowSystem) -> tuple[Array, Array]:
    """Velocity [m/s] at V's local nodes ``(n, 3)`` and pressure [Pa] at P's ``(m, 1)``."""
    x, scales = system.x.x.array, system.scales
    velocity = x[system.space.velocity] * scales.velocity
    pressure = x[system.space.pressure][:, None] * scales.pressure + scales.datum
    return velocity, pressure


def write(system: FlowSystem, path: Path, more: dict[str, Array] | None = None) -> None:
    """Write ``fields.h5`` (collective; atomically).

    Args:
        system: Its state is written.
        path: The file.
        more: This rank's slabs of nodal fields (`solver.io.nodal.gather`), in addition or in place of the state's own.
    """
    velocity, pressure = dimensional(system)
    shear = np.stack([c.x.array for c in wall_shear_stress(system)], axis=1)
    own = {
        "velocity": nodal.gather(system.mesh, system.space.V, velocity),
        "pressure": nodal.gather(system.mesh, system.space.P, pressure)[:, 0],
        "wall_shear_stress": nodal.gather(system.mesh, system.space.V, shear),
    }
    rows.write(system.comm, path, {**own, **(more or {})})


def save_guess(system: FlowSystem, thickening: float, path: Path) -> None:
    """Write the state of a system as a guess (collective; atomically)."""
    velocity, pressure = dimensional(system)
    own = {
        "velocity": nodal.gather(system.mesh, system.space.V, velocity),
        "pressure": nodal.gather(system.mesh, system.space.P, pressure)[:, 0],
    }
    told = {"Q_in": float(system.Q_in * system.scales.flow), "thickening": thickening}
    rows.write(system.comm, path, own, attributes=told)


def put(system: FlowSystem, guess: Guess) -> float:
    """Put a guess (this rank's slab) into a system's state; return its factor on the viscosity (collective)."""
    space, scales = system.space, system.scales
    pressure = (guess.pressure - scales.datum) / scales.pressure
    values = np.column_stack([guess.velocity / scales.velocity, pressure])
    places = [*space.velocity.T, space.pressure]
    columns = nodal.spread(system.mesh, values, [space.V, space.V, space.V, space.P])
    for place, column in zip(places, columns, strict=True):
        system.x.x.array[place] = column
    if not system.prescribed:
        system.Q_in = guess.Q_in / scales.flow
    system.apply_inlet()
    return guess.thickening
