"""Manufactured steady solutions: orders of convergence of the terms, element by element."""

import math

import numpy as np
import pytest
import ufl

from solver import terms
from solver.engine import MPI, dolfinx
from solver.engine import element as lagrange
from solver.rheology import CarreauYasuda
from solver.spaces import build

NU = 0.05


def _exact(x):
    """A divergence-free velocity and a pressure on the unit cube."""
    a, b, c = (math.pi * x[i] for i in range(3))
    s, k = ufl.sin, ufl.cos
    u = ufl.as_vector((s(a) * k(b) * k(c), k(a) * s(b) * k(c), -2 * k(a) * k(b) * s(c)))
    return u, s(a) * k(b) + 0.3 * x[2] ** 2


def _bulged(n):
    """The unit cube with every face bent, in curved tetrahedra of order two."""
    cube = dolfinx.mesh.create_unit_cube(MPI.COMM_SELF, n, n, n)
    V = dolfinx.fem.functionspace(cube, ("Lagrange", 2))
    x = V.tabulate_dof_coordinates()
    bent = x + 0.1 * np.sin(math.pi * np.roll(x, -1, axis=1))
    order_two = lagrange("Lagrange", "tetrahedron", 2, shape=(3,))
    return dolfinx.mesh.create_mesh(MPI.COMM_SELF, V.dofmap.list.astype(np.int64), order_two, bent)


def _errors(dirichlet, element, n, curved, rheology=None):
    mesh = _bulged(n) if curved else dolfinx.mesh.create_unit_cube(MPI.COMM_SELF, n, n, n)
    space = build(mesh, element)
    x = dolfinx.fem.Function(space.W)
    u, p = space.split(x)
    v, q = space.split(ufl.TestFunction(space.W))
    exact_u, exact_p = _exact(ufl.SpatialCoordinate(mesh))
    advection = ufl.dot(ufl.grad(exact_u), exact_u)

    def nu(velocity):
        return NU * rheology.ratio(terms.shear_rate(velocity)) if rheology else NU

    stress = nu(exact_u) * 2 * ufl.sym(ufl.grad(exact_u))
    force = advection - ufl.div(stress) + ufl.grad(exact_p)
    dx = ufl.Measure("dx", domain=mesh, metadata={"quadrature_degree": 2 * space.degree + 2})
    none = ufl.Measure("ds", domain=mesh)
    degree, varies = space.degree, rheology is not None
    fields = terms.Fields(
        u, p, v, q, u, u, None, force, nu(u), 0.0, degree, dx, none(1), varies=varies
    )
    model = terms.EQUAL_ORDER if space.equal_order else terms.TAYLOR_HOOD
    model = (*model, terms.transposed_stress) if varies else model
    F = terms.residual((*model, terms.body_force), fields)
    nodes, corner = dirichlet.boundary_nodes(space), dirichlet.pressure_node(space)
    x.x.array[space.velocity[nodes]] = _velocity(space.V.tabulate_dof_coordinates()[nodes])
    held = np.append(space.velocity[nodes].ravel(), space.pressure[corner])
    dirichlet.Newton(F, x, space, held).solve()
    found_u, found_p = space.split(x)
    integral = dirichlet.integral
    volume = integral(dolfinx.fem.Constant(mesh, 1.0) * dx)
    mean = integral((found_p - exact_p) * dx) / volume
    return (
        math.sqrt(integral(ufl.inner(found_u - exact_u, found_u - exact_u) * dx)),
        math.sqrt(integral((found_p - exact_p - mean) ** 2 * dx)),
    )


def _velocity(points):
    a, b, c = math.pi * points.T
    s, k = np.sin, np.cos
    return np.stack([s(a) * k(b) * k(c), k(a) * s(b) * k(c), -2 * k(a) * k(b) * s(c)], axis=1)


ORDERS = [
    ("P1-P1", False, (8, 16), 1.8, 1.0),
    ("P2-P2", False, (4, 8), 2.7, 1.8),
    ("P2-P1", False, (4, 8), 2.7, 1.8),
    ("P2-P2", True, (4, 8), 2.7, 1.8),
    ("P2-P1", True, (4, 8), 2.7, 1.8),
]


THINNING = CarreauYasuda(viscosity=1.0, zero_shear=10.0, time=0.5, n=0.4, a=1.0)
"""Between four and ten times its least viscosity here."""


@pytest.mark.slow
@pytest.mark.parametrize(("element", "curved", "sizes", "order_u", "order_p"), ORDERS)
def test_orders(dirichlet, measured, element, curved, sizes, order_u, order_p):
    (u0, p0), (u1, p1) = (_errors(dirichlet, element, n, curved) for n in sizes)
    assert measured("order of velocity", math.log2(u0 / u1), f">= {order_u}") >= order_u
    assert measured("order of pressure", math.log2(p0 / p1), f">= {order_p}") >= order_p


@pytest.mark.slow
@pytest.mark.parametrize(
    ("element", "sizes", "order_u", "order_p"),
    [("P1-P1", (8, 16), 1.8, 1.0), ("P2-P2", (4, 8), 2.7, 1.8), ("P2-P1", (4, 8), 2.7, 1.8)],
)
def test_orders_of_a_thinning_fluid(dirichlet, measured, element, sizes, order_u, order_p):
    """A viscosity that varies costs no order."""
    (u0, p0), (u1, p1) = (_errors(dirichlet, element, n, False, THINNING) for n in sizes)
    assert measured("order of velocity", math.log2(u0 / u1), f">= {order_u}") >= order_u
    assert measured("order of pressure", math.log2(p0 / p1), f">= {order_p}") >= order_p
