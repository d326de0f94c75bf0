r"""Force of the fluid on a patch, from the residual: what the fixed velocities of its nodes take up.

With $\varphi$ one on the patch's nodes and zero on all others, the residual tested with $\varphi e_i$ is
$\int_{\partial\Omega} (\sigma n)_i\,\varphi$; the force $-\int_\Gamma \sigma n$ on a patch $\Gamma$ is minus that,
without the share of its neighbours along its rim.
It converges twice as fast as the traction integrated over the patch.

Reference:
    Gresho et al. (1987), Int. J. Numer. Meth. Fluids 7, 371-394, https://doi.org/10.1002/fld.1650070406
    (consistent fluxes); John (2002), Int. J. Numer. Meth. Fluids 40, 775-798, https://doi.org/10.1002/fld.377 (drag and
    lift by volume integrals).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from solver import boundary
from solver.engine import JIT_OPTIONS, dolfinx, ufl
from solver.system import FlowSystem

Array = npt.NDArray[np.float64]


def on_patch(system: FlowSystem, name: str) -> Array:
    """Force of the fluid on a patch, pressure as it is (not relative to another), ``(3,)`` [N] (collective)."""
    space, scales, comm = system.space, system.scales, system.comm
    nodes = space.nodes_on(system.mesh.facets(name))
    owned = space.velocity[nodes]
    owned = owned[owned[:, 0] < space.owned]
    system.linearise_about_state()
    reaction = system.reaction()
    taken = comm.allreduce(reaction[owned].sum(axis=0))
    relative = _elsewhere(system, name, nodes) - taken
    pressure = scales.datum * _area_vector(system, name)
    return np.asarray((relative * scales.pressure + pressure) * scales.length**2)


def _elsewhere(system: FlowSystem, name: str, nodes: npt.NDArray[np.int32]) -> Array:
    """Traction on the other patches, weighted with the hat functions of this one's nodes."""
    space, n = system.space, ufl.FacetNormal(system.mesh.mesh)
    patches = system.mesh.patches.values()
    others = tuple(patch.tag for patch in patches if patch.name != name and patch.role != "slip")
    hat = dolfinx.fem.Function(space.V)
    hat.x.array[nodes] = 1.0
    u, p = space.split(system.x)
    viscosity = system.nu * system.thinning()
    traction = viscosity * ufl.dot(ufl.grad(u), n) - p * n
    ds = boundary.measure(system.mesh, space)(others)
    return _vector(system, [traction[i] * hat * ds for i in range(3)])


def _area_vector(system: FlowSystem, name: str) -> Array:
    """Outward normal integrated over a patch."""
    n = ufl.FacetNormal(system.mesh.mesh)
    ds = boundary.measure(system.mesh, system.space)(system.mesh.patches[name].tag)
    return _vector(system, [n[i] * ds for i in range(3)])


def _vector(system: FlowSystem, forms: list[Any]) -> Array:
    local = [
        dolfinx.fem.assemble_scalar(dolfinx.fem.form(form, jit_options=JIT_OPTIONS))
        for form in forms
    ]
    return np.asarray(system.comm.allreduce(np.array(local)))
