"""The boundary of a flow problem: openings, fixed unknowns, the inlet's profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import Role
from solver.coupling import Emphasis
from solver.engine import JIT_OPTIONS, MPI, PETSc, dolfinx, ufl
from solver.inlets import FlowInlet, PressureInlet, ProfileInlet
from solver.io import nodal
from solver.io import profile as profile_file
from solver.io.mesh import FlowMesh
from solver.parallel import on_root
from solver.problem import FlowProblem
from solver.scales import Scales
from solver.spaces import Space
from solver.waveform import value

Array = npt.NDArray[np.float64]
MASS_WEIGHT = 3.0
"""What an imbalance of one reference flow counts in a residual norm."""


@dataclass(frozen=True, slots=True)
class Openings:
    """The open patches, inlet first, and their functionals as columns over the owned unknowns.

    Attributes:
        names: Patch names.
        flux: ``flux[:, i] @ x`` is the flow out of patch i.
        mean: ``mean[:, i] @ x`` is the mean pressure over patch i.
        area: Dimensionless areas.
        p0: Dimensionless offset of each model (of the inlet: the given pressure, or zero).
        R: Dimensionless resistances (zero for the inlet).
        governed: Whether the mean pressure, not only the traction, follows the model.
    """

    names: tuple[str, ...]
    flux: Array
    mean: Array
    area: Array
    p0: Array
    R: Array
    governed: npt.NDArray[np.bool_]


def measure(mesh: FlowMesh, space: Space) -> Any:  # noqa: ANN401
    """Boundary measure with the patch tags."""
    data = {"quadrature_degree": 2 * space.degree + 1}
    return ufl.Measure("ds", domain=mesh.mesh, subdomain_data=mesh.facet_tags, metadata=data)


def _compile(form: Any) -> Any:  # noqa: ANN401
    return dolfinx.fem.form(form, jit_options=JIT_OPTIONS)


def _owned(space: Space, form: Any) -> Array:  # noqa: ANN401
    """Owned part of an assembled linear form on W."""
    b = dolfinx.fem.Function(space.W)
    dolfinx.fem.assemble_vector(b.x.array, _compile(form))
    b.x.scatter_reverse(dolfinx.la.InsertMode.add)
    return np.array(b.x.array[: space.owned])


def openings(problem: FlowProblem, mesh: FlowMesh, scales: Scales, space: Space) -> Openings:
    """Assemble the functionals of the open patches and scale their models."""
    ds, n = measure(mesh, space), ufl.FacetNormal(mesh.mesh)
    v, q = space.split(ufl.TestFunction(space.W))
    names = (mesh.inlet, *problem.outlets)
    tags = [mesh.patches[name].tag for name in names]
    flux = np.stack([_owned(space, ufl.inner(v, n) * ds(tag)) for tag in tags], axis=1)
    mean = np.stack([_owned(space, q * ds(tag)) for tag in tags], axis=1)
    area = np.asarray(mesh.mesh.comm.allreduce(mean.sum(axis=0)))
    models = [outlet.steady() for outlet in problem.outlets.values()]
    inlet = problem.inlet
    at_inlet = value(inlet.p, None) if isinstance(inlet, PressureInlet) else scales.datum
    p0 = (np.array([at_inlet, *(p for p, _ in models)]) - scales.datum) / scales.pressure
    R = np.array([0.0, *(R for _, R in models)]) * scales.flow / scales.pressure
    governed = [outlet.governs_mean_pressure for outlet in problem.outlets.values()]
    governed = [not inlet.prescribes_flow, *governed]
    return Openings(names, flux, mean / area, area, p0, R, np.array(governed))


def tags(mesh: FlowMesh, role: Role) -> tuple[int, ...]:
    """Tags of the patches with a role."""
    return tuple(patch.tag for patch in mesh.patches.values() if patch.role == role)


def facets(mesh: FlowMesh, *roles: Role) -> npt.NDArray[np.int32]:
    """Local facets of all patches with one of the roles."""
    found = [mesh.facets(patch.name) for patch in mesh.patches.values() if patch.role in roles]
    return np.unique(np.concatenate([np.empty(0, np.int32), *found])).astype(np.int32)


def fixed(mesh: FlowMesh, space: Space) -> npt.NDArray[np.int32]:
    """Owned and ghost velocity unknowns on the wall and the inlet (no freedom of their own)."""
    nodes = space.nodes_on(facets(mesh, "wall", "inlet"))
    return np.unique(space.velocity[nodes].ravel())


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
    held: list[Array] = []
    on_root(mesh.mesh.comm, lambda: held.append(profile_file.load(file).at_nodes(mesh.nodes)))
    values = held[0] / scales.velocity if held else None
    velocity = np.stack(nodal.spread(mesh, values, [space.V] * 3), axis=1)
    inside = np.setdiff1d(
        space.nodes_on(mesh.facets(mesh.inlet)), space.nodes_on(facets(mesh, "wall"))
    )
    kept = np.zeros_like(velocity)
    kept[inside] = velocity[inside]
    return _unknowns(space, kept)


def _developed(mesh: FlowMesh, space: Space) -> Array:
    """Velocity along the inlet's mean normal with the shape of developed flow."""
    comm, tag = mesh.mesh.comm, mesh.patches[mesh.inlet].tag
    ds, n = measure(mesh, space), ufl.FacetNormal(mesh.mesh)
    parts = [dolfinx.fem.assemble_scalar(_compile(n[i] * ds(tag))) for i in range(3)]
    normal = np.asarray(comm.allreduce(np.array(parts)))
    return _unknowns(space, -np.outer(_membrane(mesh, space), normal / np.linalg.norm(normal)))


def _membrane(mesh: FlowMesh, space: Space) -> Array:
    r"""Solve $-\Delta_\Gamma w = 1$ on the inlet, $w = 0$ on its rim; values at V's local nodes."""
    V, tag = space.V, mesh.patches[mesh.inlet].tag
    ds, n = measure(mesh, space)(tag), ufl.FacetNormal(mesh.mesh)
    w, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    slope = ufl.grad(w) - ufl.dot(ufl.grad(w), n) * n
    on_inlet = space.nodes_on(mesh.facets(mesh.inlet))
    inside = np.setdiff1d(on_inlet, space.nodes_on(facets(mesh, "wall")))
    count = V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts
    outside = np.setdiff1d(np.arange(count, dtype=np.int32), inside)
    K = dolfinx.fem.petsc.assemble_matrix(
        _compile(ufl.inner(slope, ufl.grad(v)) * ds),
        [dolfinx.fem.dirichletbc(PETSc.ScalarType(0.0), outside, V)],
    )
    K.assemble()
    b, solution = dolfinx.fem.Function(V), dolfinx.fem.Function(V)
    dolfinx.fem.assemble_vector(b.x.array, _compile(v * ds))
    b.x.scatter_reverse(dolfinx.la.InsertMode.add)
    b.x.array[outside] = 0.0
    solve_spd(K, b, solution, 1e-13)
    K.destroy()
    return np.array(solution.x.array)


def solve_spd(K: Any, b: Any, x: Any, rtol: float) -> None:  # noqa: ANN401
    """Solve a small well-conditioned symmetric system for a function (conjugate gradients)."""
    ksp = PETSc.KSP().create(K.comm)
    ksp.setOperators(K)
    ksp.setType("cg")
    ksp.getPC().setType("jacobi")
    ksp.setTolerances(rtol=rtol, max_it=10000)
    ksp.setErrorIfNotConverged(True)
    ksp.solve(b.x.petsc_vec, x.x.petsc_vec)
    x.x.scatter_forward()
    ksp.destroy()


def slot(space: Space, profile: Array) -> int | None:
    """Local index of the inlet unknown that holds Q, on the one rank that has it; else None."""
    comm = space.W.mesh.comm
    mine = np.flatnonzero(profile[: space.owned])
    rank = comm.allreduce(comm.rank if mine.size else comm.size, op=MPI.MIN)
    return int(mine[0]) if rank == comm.rank else None


def balance(space: Space) -> Emphasis:
    """Weight of the total mass balance in residual norms."""
    comm = space.W.mesh.comm
    pressure = space.pressure[space.pressure < space.owned]
    direction = np.zeros(space.owned)
    root = float(np.sqrt(comm.allreduce(pressure.size)))
    direction[pressure] = 1.0 / root
    return Emphasis(comm, direction, MASS_WEIGHT * root)
