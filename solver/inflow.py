"""The velocity over the inlet: as given, or that of developed flow on the inlet's own section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

from meshing.errors import InputError
from solver.boundary import compiled, facets, measure
from solver.engine import dolfinx, ufl
from solver.inlets import FlowInlet, ProfileInlet
from solver.io import nodal, rows
from solver.io import profile as profile_file
from solver.io.mesh import FlowMesh
from solver.parallel import on_root
from solver.problem import FlowProblem
from solver.scales import Scales
from solver.spaces import Space
from solver.waveform import value

Array = npt.NDArray[np.float64]


def inlet_velocity(
    problem: FlowProblem, mesh: FlowMesh, scales: Scales, space: Space, flux: Array
) -> tuple[Array, float]:
    """Velocity (all local unknowns) that carries a unit flow into the domain, and the flow given (zero if none is).

    Args:
        problem: The problem.
        mesh: The mesh.
        scales: The scales.
        space: The space.
        flux: The flow through the inlet as a functional of the owned unknowns, outward positive.

    Raises:
        InputError: A profile given does not carry anything in.
    """
    inlet = problem.inlet
    file = inlet.file if isinstance(inlet, ProfileInlet) else None
    shape = _given(file, mesh, scales, space) if file else _developed(mesh, space)
    Q = -mesh.mesh.comm.allreduce(float(flux @ shape[: space.owned]))
    if isinstance(inlet, FlowInlet):
        return shape / Q, value(inlet.Q, None) / scales.flow
    if not isinstance(inlet, ProfileInlet):
        return shape / Q, 0.0
    if not Q > 0.0:
        raise InputError(
            file=inlet.file,
            field="velocity",
            wanted="a profile that flows into the domain",
            got=f"a flow of {Q * scales.flow:.4g} m^3/s into it",
            remedy="turn its sign; velocities are vectors in the mesh's coordinates",
        )
    return shape / Q, Q


def _unknowns(space: Space, velocity: Array) -> Array:
    """Vector of all local unknowns with a velocity at V's local nodes, ``(n, 3)``."""
    W = space.W.dofmap
    values = np.zeros((W.index_map.size_local + W.index_map.num_ghosts) * W.index_map_bs)
    values[space.velocity] = velocity
    return values


def _given(file: Path, mesh: FlowMesh, scales: Scales, space: Space) -> Array:
    """Velocity of a profile file on the inlet, zero on the wall and off the inlet."""
    comm = mesh.mesh.comm
    profile = on_root(comm, lambda: profile_file.load(file))
    first, end = rows.span(comm, mesh.nodes)
    values = profile.at_nodes(first, end) / scales.velocity
    velocity = np.stack(nodal.spread(mesh, values, [space.V] * 3), axis=1)
    inside = np.setdiff1d(
        space.nodes_on(mesh.facets(mesh.inlet)), space.nodes_on(facets(mesh, "wall"))
    )
    kept = np.zeros_like(velocity)
    kept[inside] = velocity[inside]
    return _unknowns(space, kept)


def _developed(mesh: FlowMesh, space: Space) -> Array:
    """Velocity along the inlet's mean normal with the shape of developed flow."""
    section = InletSection.of(mesh, space)
    w = splu(section.stiffness).solve(section.load)
    return _unknowns(space, section.along(w).real)


@dataclass(frozen=True, slots=True)
class InletSection:
    r"""Finite elements on the inlet's facets, zero on its rim; the matrices are the same on every rank.

    Attributes:
        stiffness: Of $-\Delta_\Gamma$, ``(m, m)``, the ``m`` nodes inside the rim.
        mass: ``(m, m)``.
        load: Of one, ``(m,)``.
        nodes: V's local nodes (ghosts too) among them, ``(k,)``.
        row: The matrices' row of each, ``(k,)``.
        count: V's local nodes in all.
        inwards: Unit vector: the inlet's mean normal, into the domain.
    """

    stiffness: csc_array
    mass: csc_array
    load: Array
    nodes: npt.NDArray[np.int32]
    row: npt.NDArray[np.intp]
    count: int
    inwards: Array

    @classmethod
    def of(cls, mesh: FlowMesh, space: Space) -> InletSection:
        """Assemble, and gather on every rank (collective)."""
        V, comm, tag = space.V, mesh.mesh.comm, mesh.patches[mesh.inlet].tag
        ds, n = measure(mesh, space)(tag), ufl.FacetNormal(mesh.mesh)
        w, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        slope = ufl.grad(w) - ufl.dot(ufl.grad(w), n) * n
        numbers = V.dofmap.index_map
        on_inlet = space.nodes_on(mesh.facets(mesh.inlet))
        nodes = np.setdiff1d(on_inlet, space.nodes_on(facets(mesh, "wall")))
        numbered = np.asarray(numbers.local_to_global(nodes))
        inside = np.unique(np.concatenate(comm.allgather(numbered)))
        row = np.searchsorted(inside, numbered)
        owned = nodes < numbers.size_local
        mine, row_of_mine = nodes[owned], row[owned]

        def gathered(form: Any) -> csc_array:  # noqa: ANN401
            A = dolfinx.fem.petsc.assemble_matrix(compiled(form))
            A.assemble()
            first, column, values = A.getValuesCSR()
            A.destroy()
            local = csr_array((values, column, first), shape=(len(first) - 1, numbers.size_global))
            part = local[mine][:, inside].tocoo()
            parts = comm.allgather((row_of_mine[part.row], part.col, part.data))
            rows, columns, data = (np.concatenate(each) for each in zip(*parts, strict=True))
            return csc_array((data, (rows, columns)), shape=(len(inside), len(inside)))

        b = dolfinx.fem.Function(V)
        dolfinx.fem.assemble_vector(b.x.array, compiled(v * ds))
        b.x.scatter_reverse(dolfinx.la.InsertMode.add)
        load = np.zeros(len(inside))
        for where, values in comm.allgather((row_of_mine, b.x.array[mine])):
            load[where] = values
        facing = [dolfinx.fem.assemble_scalar(compiled(n[i] * ds)) for i in range(3)]
        normal = np.asarray(comm.allreduce(np.array(facing)))
        return cls(
            stiffness=gathered(ufl.inner(slope, ufl.grad(v)) * ds),
            mass=gathered(w * v * ds),
            load=load,
            nodes=nodes,
            row=row,
            count=int(numbers.size_local + numbers.num_ghosts),
            inwards=-normal / np.linalg.norm(normal),
        )

    def along(self, w: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Velocity of size ``w`` ``(m,)`` along the normal at V's local nodes, ``(count, 3)``."""
        out = np.zeros((self.count, 3), w.dtype)
        out[self.nodes] = w[self.row][:, None] * self.inwards
        return out
