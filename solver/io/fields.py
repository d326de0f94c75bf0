"""Nodal fields in the numbering of ``mesh.h5``, whatever the number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from solver.io import nodal
from solver.io.files import write_atomically
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
    """Write ``fields.h5`` (collective; rank 0 writes, atomically).

    Args:
        system: Its state is written.
        path: The file.
        more: Nodal fields in the numbering of ``mesh.h5`` on rank 0, in addition or in place of the state's own.
    """
    velocity, pressure = dimensional(system)
    shear = np.stack([c.x.array for c in wall_shear_stress(system)], axis=1)
    u = nodal.gather(system.mesh, system.space.V, velocity)
    p = nodal.gather(system.mesh, system.space.P, pressure)
    s = nodal.gather(system.mesh, system.space.V, shear)
    if u is None or p is None or s is None:
        return
    data = {"velocity": u, "pressure": p[:, 0], "wall_shear_stress": s, **(more or {})}
    write_atomically(path, data, {})


def take(system: FlowSystem, thickening: float) -> Guess | None:
    """The state of a system as a guess, on rank 0 (None elsewhere; collective)."""
    velocity, pressure = dimensional(system)
    u = nodal.gather(system.mesh, system.space.V, velocity)
    p = nodal.gather(system.mesh, system.space.P, pressure)
    if u is None or p is None:
        return None
    return Guess(u, p[:, 0], float(system.Q_in * system.scales.flow), thickening)


def put(system: FlowSystem, guess: Guess | None) -> float:
    """Put a guess (that rank 0 holds) into a system's state; return its factor on the viscosity (collective)."""
    space, scales = system.space, system.scales
    values, facts = None, None
    if guess is not None:
        pressure = (guess.pressure - scales.datum) / scales.pressure
        values = np.column_stack([guess.velocity / scales.velocity, pressure])
        facts = guess.Q_in / scales.flow, guess.thickening
    Q_in, thickening = system.comm.bcast(facts, root=0)
    places = [*space.velocity.T, space.pressure]
    columns = nodal.spread(system.mesh, values, [space.V, space.V, space.V, space.P])
    for place, column in zip(places, columns, strict=True):
        system.x.x.array[place] = column
    if not system.prescribed:
        system.Q_in = float(Q_in)
    system.apply_inlet()
    return float(thickening)
