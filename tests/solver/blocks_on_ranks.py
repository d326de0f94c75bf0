"""``mpiexec -n N python -m tests.solver.blocks_on_ranks MESH.json ELEMENT``: blocks in place against PETSc's way."""

import json
import sys
from pathlib import Path

import numpy as np

from solver.engine import MPI, dolfinx
from solver.single import SingleCopy
from tests.solver.problems import system_on


def differences(path, element, comm=MPI.COMM_WORLD):
    """Of the matrix, of ``A w`` and of ``A^T w``, relative; and the share of cells that go through PETSc."""
    system = system_on(comm, path, element)
    x = system.x.x
    node = system.space.W.dofmap.index_map.local_to_global(
        np.arange(len(x.array) // 4, dtype=np.int32)
    )
    x.array[:] += np.sin(node[:, None] + np.arange(4.0)).ravel()
    system.linearise_about_state()
    low = system.jacobian(0.3, 1.0)

    cells = system.equations.cells
    assert cells is not None
    wanted = system.A.duplicate()
    wanted.zeroEntries()
    for form in (cells.tangent(cells.cells), system.compiled.jacobian[-1]):
        dolfinx.fem.petsc.assemble_matrix(wanted, form)
    wanted.assemble()
    owned = system.space.owned
    held = system.held
    w, product = wanted.createVecs()
    w.array[:] = system.profile[:owned]
    gaps = {}
    for name, multiply, made in (
        ("A w", wanted.mult, low.U[:, -2]),
        ("A^T w", wanted.multTranspose, low.V[:, -1]),
    ):
        multiply(w, product)
        product.array[held] = 0.0
        size = product.norm()
        difference = made - product.array_r
        if system.slot is not None:
            difference[system.slot] = 0.0
        gaps[name] = float(np.sqrt(comm.allreduce(float(difference @ difference)))) / size
    first = wanted.getOwnershipRange()[0]
    wanted.zeroRowsColumns((held + first).astype(np.int32), diag=1.0)
    size = wanted.norm()
    wanted.axpy(-1.0, system.A)
    gaps["A"] = wanted.norm() / size
    gaps |= {f"single {name}": gap for name, gap in _rounded(system).items()}
    edge = comm.allreduce(len(cells.edge)) / comm.allreduce(len(cells.cells))
    system.destroy()
    return gaps, edge


def _rounded(system):
    """Products of the matrix in single precision against its own, after the matrix changed; relative."""
    quick = SingleCopy(system.A)
    quick.update()
    system.jacobian(0.2, 1.0)
    quick.update()
    x, y = system.A.createVecs()
    z = x.duplicate()
    x.array[:] = np.cos(np.arange(*x.getOwnershipRange()))
    gaps = {}
    for name, exact, rounded in (
        ("A x", system.A.mult, quick.mult),
        ("A^T x", system.A.multTranspose, quick.multTranspose),
    ):
        exact(x, y)
        rounded(x, z)
        z.axpy(-1.0, y)
        gaps[name] = z.norm() / y.norm()
    quick.destroy()
    return gaps


if __name__ == "__main__":
    told = differences(Path(sys.argv[1]), sys.argv[2])
    if MPI.COMM_WORLD.rank == 0:
        sys.stdout.write(json.dumps(told))
