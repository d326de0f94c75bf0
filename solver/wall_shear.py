r"""Wall shear stress, $\tau = -\mu\,(I - nn^T)\,\partial_n u$, by L2 projection on the wall facets.

With the developed profile of a pipe it is $4\mu U/R$ along the flow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from solver.boundary import facets, solve_spd, tags
from solver.engine import JIT_OPTIONS, PETSc, dolfinx, ufl
from solver.system import FlowSystem


def wall_shear_stress(system: FlowSystem) -> Any:  # noqa: ANN401
    """Project the wall shear stress.

    Returns:
        Three scalar functions in the velocity's Lagrange space, [Pa]; zero off the wall.
    """
    V, mesh = system.space.V, system.mesh.mesh
    walls = tags(system.mesh, "wall")
    if not walls:
        return [dolfinx.fem.Function(V) for _ in range(3)]
    data = {"quadrature_degree": 2 * system.space.degree}
    ds = ufl.Measure("ds", domain=mesh, subdomain_data=system.mesh.facet_tags, metadata=data)(walls)
    n = ufl.FacetNormal(mesh)
    u, _ = system.space.split(system.x)
    slope = ufl.dot(ufl.grad(u), n)
    shear = -system.thinning() * (slope - ufl.dot(slope, n) * n)
    w, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    on_wall = system.space.nodes_on(facets(system.mesh, "wall"))
    mass = _mass(V, dolfinx.fem.form(w * v * ds, jit_options=JIT_OPTIONS), on_wall)
    unit = system.scales.viscosity * system.scales.velocity / system.scales.length
    components = []
    for c in range(3):
        b, out = dolfinx.fem.Function(V), dolfinx.fem.Function(V)
        form = dolfinx.fem.form(shear[c] * v * ds, jit_options=JIT_OPTIONS)
        dolfinx.fem.assemble_vector(b.x.array, form)
        b.x.scatter_reverse(dolfinx.la.InsertMode.add)
        b.x.array[:] = np.where(_mask(b.x.array.size, on_wall), b.x.array, 0.0)
        solve_spd(mass, b, out, 1e-10)
        out.x.array[:] *= unit
        components.append(out)
    mass.destroy()
    return components


def _mask(size: int, chosen: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    mask[chosen] = True
    return mask


def _mass(V: Any, form: Any, on_wall: npt.NDArray[np.int32]) -> Any:  # noqa: ANN401
    """Mass matrix of the wall facets, identity at all other nodes."""
    size = V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts
    off_wall = np.flatnonzero(~_mask(size, on_wall)).astype(np.int32)
    fixed = dolfinx.fem.dirichletbc(PETSc.ScalarType(0.0), off_wall, V)
    mass = dolfinx.fem.petsc.assemble_matrix(form, [fixed])
    mass.assemble()
    return mass
