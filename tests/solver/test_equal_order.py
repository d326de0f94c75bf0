"""The kernels of the residual and the Jacobian against the terms and their derivative."""

import numpy as np
import pytest
import ufl

from solver import terms
from solver.engine import MPI, dolfinx
from solver.engine import element as lagrange
from solver.equal_order import CellTerms
from solver.spaces import build

CELLS_ONLY = tuple(term for term in terms.EQUAL_ORDER if term not in terms.ON_FACETS)


def _mesh(curved):
    """A few cells of the unit cube; curved: every edge bent."""
    cube = dolfinx.mesh.create_unit_cube(MPI.COMM_SELF, 2, 1, 1)
    if not curved:
        return cube
    V = dolfinx.fem.functionspace(cube, ("Lagrange", 2))
    x = V.tabulate_dof_coordinates()
    bent = x + 0.06 * np.sin(2.5 * np.roll(x, -1, axis=1)) + 0.03 * np.roll(x, 1, axis=1) ** 2
    order_two = lagrange("Lagrange", "tetrahedron", 2, shape=(3,))
    return dolfinx.mesh.create_mesh(MPI.COMM_SELF, V.dofmap.list.astype(np.int64), order_two, bent)


@pytest.mark.parametrize("rate", [0.0, 4.0])
@pytest.mark.parametrize("newton", [0.0, 1.0])
@pytest.mark.parametrize(
    ("element", "curved"), [("P1-P1", False), ("P2-P2", False), ("P2-P2", True), ("P1-P1", True)]
)
def test_kernels_are_the_terms_and_their_derivative(element, curved, newton, rate):
    """To rounding, for four functions that have nothing to do with each other, with a pseudo-time step."""
    mesh = _mesh(curved)
    space, random = build(mesh, element), np.random.default_rng(3)
    functions = [dolfinx.fem.Function(space.W) for _ in range(4)]
    for function in functions:
        function.x.array[:] = random.normal(size=function.x.array.size)
    constants = [dolfinx.fem.Constant(mesh, c) for c in (0.07, newton, 0.3, rate)]
    nu, switch, pseudo, per_step = constants
    degree = 2 * space.degree
    dx = ufl.Measure("dx", domain=mesh, metadata={"quadrature_degree": degree})
    x, advecting, frozen, _ = functions
    (u, p), (w, _), (f, _), (h, _) = (space.split(function) for function in functions)
    v, q = space.split(ufl.TestFunction(space.W))
    acceleration = per_step * (1.5 * u - h) if rate else None
    fields = terms.Fields(u, p, v, q, w, f, acceleration, None, nu, 0.0, space.degree, dx, None)
    model = (*CELLS_ONLY, terms.inertia) if rate else CELLS_ONLY
    F, trial = terms.residual(model, fields), ufl.TrialFunction(space.W)
    J = ufl.derivative(F, x, trial)
    J += switch * (ufl.derivative(F, advecting, trial) + ufl.derivative(F, frozen, trial))
    J += pseudo * terms.rate(fields) * ufl.inner(space.split(trial)[0], v) * dx
    made = CellTerms(space.W, functions, constants, degree)
    wanted = dolfinx.fem.assemble_vector(dolfinx.fem.form(F)).array
    got = np.zeros_like(wanted)
    made.add_residual(got)
    assert np.abs(got - wanted).max() < 1e-12 * np.abs(wanted).max()
    wanted = dolfinx.fem.assemble_matrix(dolfinx.fem.form(J)).to_dense()
    got = dolfinx.fem.assemble_matrix(made.tangent(made.cells)).to_dense()
    assert np.abs(got - wanted).max() < 1e-12 * np.abs(wanted).max()
