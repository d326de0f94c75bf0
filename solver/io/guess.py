"""Fields to begin a search with, at the nodes of the mesh file: those of another mesh, say, carried over.

``guess.h5`` holds datasets ``velocity (n, 3)`` [m/s] and ``pressure (n,)`` [Pa], one row a node of ``mesh.h5`` in its
numbering, and attributes ``Q_in`` [m^3/s] (flow into the domain) and ``thickening`` (the fields solve the flow of a
fluid so many times as viscous, about).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from solver.io.files import write_atomically

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guess:
    """Fields to begin with.

    Attributes:
        velocity: At the nodes of the mesh file, or at a rank's slab of them [m/s], ``(n, 3)``.
        pressure: [Pa], ``(n,)``.
        Q_in: Flow into the domain [m^3/s].
        thickening: Factor on the viscosity, one or more.
    """

    velocity: Array
    pressure: Array
    Q_in: float
    thickening: float

    def save(self, path: Path) -> None:
        """Write ``guess.h5`` atomically (one process)."""
        data = {"velocity": self.velocity, "pressure": self.pressure}
        write_atomically(path, data, {"Q_in": self.Q_in, "thickening": self.thickening})


def read(path: Path, nodes: int, first: int = 0, end: int | None = None) -> Guess:
    """Read ``guess.h5`` for a mesh of so many nodes, all of them or those from ``first`` to ``end`` (one process).

    Raises:
        InputError: It is missing, is no such file, or belongs to another mesh.
    """
    try:
        with h5py.File(path, "r", locking="best-effort") as f:
            shapes = f["velocity"].shape, f["pressure"].shape
            velocity, pressure = (
                np.array(f["velocity"][first:end]),
                np.array(f["pressure"][first:end]),
            )
            made = Guess(velocity, pressure, float(f.attrs["Q_in"]), float(f.attrs["thickening"]))
    except (OSError, KeyError) as error:
        fault = str(error)
    else:
        finite = np.isfinite(velocity).all() and np.isfinite(pressure).all()
        if shapes == ((nodes, 3), (nodes,)) and finite:
            return made
        fault = f"velocity {shapes[0]}, pressure {shapes[1]}" if finite else "NaN or inf"
    raise InputError(
        file=path,
        field="guess",
        wanted=f"finite velocity ({nodes}, 3) and pressure ({nodes},), attributes Q_in and thickening",
        got=fault,
        remedy="leave it out of the problem, or run: ffr3d run CASE --from solve",
    )
