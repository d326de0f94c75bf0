"""Run on ranks by `test_flow_sections.py`: the sections of a fork, by the nodes of its mesh file."""

import json
import sys
from pathlib import Path

import numpy as np

from solver.engine import MPI
from solver.sections import cut
from tests.solver.problems import system_on


def vertices_of(system):
    """Number in the mesh file of each of this rank's vertices."""
    geometry, V = system.mesh.mesh.geometry, system.space.V.dofmap
    number = np.zeros(V.index_map.size_local + V.index_map.num_ghosts, dtype=np.int64)
    file = np.asarray(geometry.input_global_indices)
    number[V.list.ravel()] = file[geometry.dofmaps[0][:, :4]].ravel()
    return number[: V.index_map.size_local]


def main(path, comm=MPI.COMM_WORLD):
    """Print sections and weights in the order of the mesh file."""
    system = system_on(comm, path, "P1-P1")
    made = cut(system)
    mine = vertices_of(system), made.index, made.weight
    pieces = comm.gather(mine)
    if pieces is not None:
        node, index, weight = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        order = np.argsort(node)
        told = {"nodes": node[order], "index": index[order], "weight": weight[order]}
        told |= {"near": made.near, "colour": made.colour}
        sys.stdout.write(json.dumps({k: v.tolist() for k, v in told.items()}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
