"""Fields from one mesh of a vessel to the next: what the solver begins with there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from meshing.vessel import MeshArrays
from solver.io.files import write_atomically
from solver.io.guess import Guess, read
from solver.problem import BranchEnd

Floats = npt.NDArray[np.float64]
VTK_TETRA = {4: 10, 10: 24}


def keep(mesh: MeshArrays, solve: Path, end: BranchEnd, path: Path) -> None:
    """Write a mesh with fields on it that a search on another one can begin with.

    Where the branch of steady states ended, that is a state well before: a jet that has begun to bend bends in another
    way on another mesh.

    Args:
        mesh: The mesh [m].
        solve: Folder of the solver's results.
        end: Where the solver ended.
        path: File to write.
    """
    if end.factor > 1.0 and (solve / "earlier.h5").is_file():
        guess = read(solve / "earlier.h5", len(mesh.points))
    else:
        with h5py.File(solve / "fields.h5") as f:
            velocity, pressure = np.array(f["velocity"]), np.array(f["pressure"])
        guess = Guess(velocity, pressure, sum(end.outflow.values()), end.factor)
    data = {
        "points": mesh.points,
        "cells": mesh.cells,
        "velocity": guess.velocity,
        "pressure": guess.pressure,
    }
    write_atomically(path, data, {"thickening": guess.thickening, "Q_in": guess.Q_in})


def carry(state: Path, mesh: MeshArrays) -> Guess:
    """Interpolate fields that `keep` wrote to the nodes of another mesh.

    Inside the old mesh with its shape functions; outside (the walls are not quite the same) from the nearest node.

    Args:
        state: The file.
        mesh: The mesh to carry them to [m].
    """
    import pyvista as pv
    from scipy.spatial import KDTree

    with h5py.File(state) as f:
        points, cells = np.array(f["points"]), np.array(f["cells"])
        fields = np.column_stack([f["velocity"], f["pressure"]])
        factor, Q_in = float(f.attrs["thickening"]), float(f.attrs["Q_in"])
    size = cells.shape[1]
    flat = np.column_stack([np.full(len(cells), size), cells]).ravel()
    grid = pv.UnstructuredGrid(flat, np.full(len(cells), VTK_TETRA[size]), points * 1e3)
    grid.point_data["fields"] = fields
    probed = pv.PolyData(mesh.points * 1e3).sample(grid)
    values = np.array(probed.point_data["fields"], dtype=np.float64)
    outside = np.asarray(probed.point_data["vtkValidPointMask"]) == 0
    used = np.unique(cells)
    _, nearest = KDTree(points[used]).query(mesh.points[outside])
    values[outside] = fields[used[nearest]]
    return Guess(np.ascontiguousarray(values[:, :3]), values[:, 3].copy(), Q_in, factor)
