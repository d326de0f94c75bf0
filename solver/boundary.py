"""The boundary of a flow problem: openings, fixed unknowns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.vessel import Role
from solver.coupling import Emphasis
from solver.engine import JIT_OPTIONS, MPI, PETSc, dolfinx, ufl
from solver.inlets import PressureInlet
from solver.io.mesh import FlowMesh
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
        flows: Whether the flow is given (`solver.outlets.flow`).
    """

    names: tuple[str, ...]
    flux: Array
    mean: Array
    area: Array
    p0: Array
    R: Array
    governed: npt.NDArray[np.bool_]
    flows: npt.NDArray[np.bool_]


def measure(mesh: FlowMesh, space: Space) -> Any:  # noqa: ANN401
    """Boundary measure with the patch tags."""
    data = {"quadrature_degree": 2 * space.degree + 1}
    return ufl.Measure("ds", domain=mesh.mesh, subdomain_data=mesh.facet_tags, metadata=data)


def compiled(form: Any) -> Any:  # noqa: ANN401
    """A form with the solver's compiler flags."""
    return dolfinx.fem.form(form, jit_options=JIT_OPTIONS)


def owned_part(space: Space, form: Any) -> Array:  # noqa: ANN401
    """Owned part of an assembled linear form on W."""
    b = dolfinx.fem.Function(space.W)
    dolfinx.fem.assemble_vector(b.x.array, compiled(form))
    b.x.scatter_reverse(dolfinx.la.InsertMode.add)
    return np.array(b.x.array[: space.owned])


def openings(problem: FlowProblem, mesh: FlowMesh, scales: Scales, space: Space) -> Openings:
    """Assemble the functionals of the open patches and scale their models."""
    ds, n = measure(mesh, space), ufl.FacetNormal(mesh.mesh)
    v, q = space.split(ufl.TestFunction(space.W))
    names = (mesh.inlet, *problem.outlets)
    tags = [mesh.patches[name].tag for name in names]
    flux = np.stack([owned_part(space, ufl.inner(v, n) * ds(tag)) for tag in tags], axis=1)
    mean = np.stack([owned_part(space, q * ds(tag)) for tag in tags], axis=1)
    area = np.asarray(mesh.mesh.comm.allreduce(mean.sum(axis=0)))
    models = [outlet.steady() for outlet in problem.outlets.values()]
    inlet = problem.inlet
    at_inlet = value(inlet.p, None) if isinstance(inlet, PressureInlet) else scales.datum
    R = np.array([0.0, *(R for _, R in models)]) * scales.flow / scales.pressure
    governs = [outlet.governs for outlet in problem.outlets.values()]
    governed = np.array([not inlet.prescribes_flow, *(what == "mean pressure" for what in governs)])
    flows = np.array([False, *(what == "flow" for what in governs)])
    p0 = np.array([at_inlet, *(p for p, _ in models)])
    p0 = np.where(flows, p0, p0 - scales.datum) / scales.pressure
    return Openings(names, flux, mean / area, area, p0, R, governed, flows)


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
