"""Run on ranks by `test_slabs.py`: tables in slabs of a few rows, so that a small mesh lies on all ranks."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

from meshing.errors import InputError
from solver.engine import MPI
from solver.io import fields, guess, rows, state
from solver.io import mesh as mesh_file
from tests.solver.problems import system_on

rows.BLOCK = 32
comm = MPI.COMM_WORLD


def tables(folder):
    """Whether a table comes back as it was written, and its rows lie on every rank."""
    first, end = rows.span(comm, 1000)
    whole = np.random.default_rng(3).normal(size=(1000, 3))
    rows.write(
        comm, folder / "t.h5", {"a": whole[first:end], "none": whole[:0]}, {"b": 4}, {"c": 5}
    )
    (slab,) = rows.read(comm, folder / "t.h5", "a")
    with h5py.File(folder / "t.h5") as f:
        told = np.array_equal(f["a"][:], whole) and f["none"].shape == (0, 3) and f["b"][()] == 4
        told = told and f.attrs["c"] == 5
    least = comm.allreduce(len(slab), op=MPI.MIN)
    return bool(np.array_equal(slab, whole[first:end]) and told), least


def carried(mesh, folder):
    """Largest difference of a state and of fields written by these ranks and read by them, and to what was put in."""
    system = system_on(comm, mesh, "P2-P2")
    made = system.mesh
    system.apply_inlet()
    place = system.space.V.tabulate_dof_coordinates()
    x = system.x.x.array
    x[system.space.velocity] = place @ [[1.0, 2.0, 0.5], [0.3, -1.0, 0.0], [0.0, 0.2, 1.0]]
    x[system.space.pressure] = place @ [1.0, -2.0, 0.7]
    before = x.copy()
    state.save(system, folder / "state.h5", "mark")
    fields.write(system, folder / "fields.h5")
    fields.save_guess(system, 1.0, folder / "guess.h5")
    x[:] = 0.0
    state.restore(system, state.read(comm, folder / "state.h5"))
    free = np.arange(len(x)) < system.space.owned
    free[system.held] = False  # at the inlet the state is what it was given
    restored = np.abs(x - before)[free].max()
    first, end = rows.span(comm, made.nodes)
    x[:] = 0.0
    fields.put(system, guess.read(folder / "guess.h5", made.nodes, first, end))
    again = np.abs(x - before)[free].max()
    return [float(comm.allreduce(value, op=MPI.MAX)) for value in (restored, again)]


def fault(mesh):
    """What is said of a mesh; the same on every rank."""
    try:
        mesh_file.read(comm, mesh)
    except InputError as error:
        told = comm.allgather(error.got)
        assert len(set(told)) == 1
        return told[0]
    return ""


if __name__ == "__main__":
    good, folder, *bad = map(Path, sys.argv[1:])
    same, least = tables(folder)
    told = {"same": same, "least": least, "carried": carried(good, folder)}
    told["faults"] = [fault(one) for one in bad]
    if comm.rank == 0:
        sys.stdout.write(json.dumps(told) + "\n")
