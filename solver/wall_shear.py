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

Array = npt.NDArray[np.float64]


class WallShear:
    """The projection, made once for states that change.

    Attributes:
        nodes: Local nodes of the velocity's Lagrange space on the wall.
    """

    def __init__(self, system: FlowSystem) -> None:
        self.system = system
        V, mesh = system.space.V, system.mesh.mesh
        self.nodes = system.space.nodes_on(facets(system.mesh, "wall"))
        walls = tags(system.mesh, "wall")
        self._mass: Any = None
        if not walls:
            return
        data = {"quadrature_degree": 2 * system.space.degree}
        ds = ufl.Measure("ds", mesh, subdomain_data=system.mesh.facet_tags, metadata=data)(walls)
        n = ufl.FacetNormal(mesh)
        u, _ = system.space.split(system.x)
        slope = ufl.dot(ufl.grad(u), n)
        shear = -system.thinning() * (slope - ufl.dot(slope, n) * n)
        w, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        self._mass = _mass(V, dolfinx.fem.form(w * v * ds, jit_options=JIT_OPTIONS), self.nodes)
        self._loads = [
            dolfinx.fem.form(shear[c] * v * ds, jit_options=JIT_OPTIONS) for c in range(3)
        ]

    def components(self) -> list[Any]:
        """Three scalar functions in the velocity's Lagrange space, [Pa]; zero off the wall (collective)."""
        system = self.system
        V, scales = system.space.V, system.scales
        if self._mass is None:
            return [dolfinx.fem.Function(V) for _ in range(3)]
        found = []
        for load in self._loads:
            b, out = dolfinx.fem.Function(V), dolfinx.fem.Function(V)
            dolfinx.fem.assemble_vector(b.x.array, load)
            b.x.scatter_reverse(dolfinx.la.InsertMode.add)
            b.x.array[:] = np.where(_mask(b.x.array.size, self.nodes), b.x.array, 0.0)
            solve_spd(self._mass, b, out, 1e-10)
            out.x.array[:] *= scales.viscosity * scales.velocity / scales.length
            found.append(out)
        return found

    def values(self) -> Array:
        """The same at the local nodes, ``(n, 3)`` (collective)."""
        return np.stack([part.x.array for part in self.components()], axis=1)

    def destroy(self) -> None:
        """Free the matrix (collective)."""
        if self._mass is not None:
            self._mass.destroy()


def wall_shear_stress(system: FlowSystem) -> list[Any]:
    """Project the wall shear stress of a state.

    Returns:
        Three scalar functions in the velocity's Lagrange space, [Pa]; zero off the wall.
    """
    shear = WallShear(system)
    found = shear.components()
    shear.destroy()
    return found


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
