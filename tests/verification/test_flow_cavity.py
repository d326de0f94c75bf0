"""Lid-driven cavity, in a slice between two frictionless walls.

Reference:
    Re 100, 400: Ghia, Ghia & Shin (1982), J. Comput. Phys. 48, 387-411,
    https://doi.org/10.1016/0021-9991(82)90058-4, tables I, II. Re 1000: Botella & Peyret (1998), Comput. Fluids 27,
    421-433, https://doi.org/10.1016/S0045-7930(98)00002-4, tables 9, 10 (spectral; Ghia's are off by up to 0.018).
"""

import numpy as np
import pytest
import ufl

from solver import terms
from solver.engine import MPI, dolfinx
from solver.spaces import build

Y = (0.0547, 0.0625, 0.0703, 0.1016, 0.1719, 0.2813, 0.4531, 0.5, 0.6172, 0.7344, 0.8516)
X = (0.0625, 0.0703, 0.0781, 0.0938, 0.1563, 0.2266, 0.2344, 0.5, 0.8047, 0.8594, 0.9063, 0.9453)
U = {
    100: "-3717 -4192 -4775 -6434 -10150 -15662 -21090 -20581 -13641 332 23151",
    400: "-8186 -9266 -10338 -14612 -24299 -32726 -17119 -11477 2135 16256 29093",
    1000: "-18129 -20233 -22290 -30046 -38857 -28037 -10820 -6206 5702 18867 33722",
}
V = {
    100: "9233 10091 10890 12317 16077 17507 17527 5454 -24533 -22445 -16914 -10313",
    400: "18360 19713 20920 22965 28124 30203 30174 5186 -38598 -44993 nan -22847",
    1000: "28071 29627 30991 33304 37692 33399 32536 2580 -32021 -42645 -52644 -41038",
}
"""Velocities on the lines through the middle, in 1e-5 of the lid's. Left out: v at x = 0.9063 and Re 400, -0.23827
between neighbours of -0.44993 and -0.22847: a misprint (here: -0.390)."""


def _slice(n):
    """The unit square by one layer of cells, graded towards the walls."""
    corners = [np.zeros(3), np.array([1.0, 1.0, 1.0 / n])]
    mesh = dolfinx.mesh.create_box(MPI.COMM_SELF, corners, [n, n, 1])
    x = mesh.geometry.x
    x[:, :2] = 0.5 - 0.5 * np.cos(np.pi * x[:, :2])
    return mesh


def _cavity(dirichlet, n, reynolds):
    """Velocity at points, ``(k, 3)``, for each Reynolds number in turn."""
    mesh = _slice(n)
    space = build(mesh, "P2-P2")
    x, nu = dolfinx.fem.Function(space.W), dolfinx.fem.Constant(mesh, 1.0)
    u, p = space.split(x)
    v, q = space.split(ufl.TestFunction(space.W))
    mesh.topology.create_connectivity(2, 3)

    def sides(x):
        return np.isclose(x[2], 0.0) | np.isclose(x[2], 1.0 / n)

    facets = dolfinx.mesh.locate_entities_boundary(mesh, 2, sides)
    tags = dolfinx.mesh.meshtags(mesh, 2, facets, np.ones(facets.size, dtype=np.int32))
    dx = ufl.Measure("dx", domain=mesh, metadata={"quadrature_degree": 4})
    ds = ufl.Measure("ds", domain=mesh, subdomain_data=tags, metadata={"quadrature_degree": 5})
    fields = terms.Fields(u, p, v, q, u, u, None, None, nu, 0.0, 2, dx, ds(2), ds_slip=ds(1))
    F = terms.residual((*terms.EQUAL_ORDER, terms.slip), fields)
    where = space.V.tabulate_dof_coordinates()
    walls = np.isclose(where[:, :2], 0.0).any(axis=1) | np.isclose(where[:, :2], 1.0).any(axis=1)
    lid = np.isclose(where[:, 1], 1.0) & (where[:, 0] > 1e-9) & (where[:, 0] < 1 - 1e-9)
    x.x.array[space.velocity[lid, 0]] = 1.0
    corner = dirichlet.pressure_node(space)
    held = np.append(space.velocity[walls].ravel(), space.pressure[corner])
    newton = dirichlet.Newton(F, x, space, held)
    for number in reynolds:
        nu.value = 1.0 / number
        newton.solve()
        yield number, x, space, where


def _on_lines(x, space, where, n):
    """u over y in the middle of x, v over x in the middle of y, at mid-thickness (by quadratic interpolation)."""
    from scipy.interpolate import CubicSpline

    found = []
    for along, component in ((1, 0), (0, 1)):
        middle = np.isclose(where[:, 1 - along], 0.5) & np.isclose(where[:, 2], 0.5 / n)
        order = np.argsort(where[middle, along])
        values = x.x.array[space.velocity[middle, component]]
        found.append(CubicSpline(where[middle, along][order], values[order]))
    return found


def _numbers(row):
    return np.array([float(word) for word in row.split()]) * 1e-5


def _agrees(dirichlet, measured, n, allowed):
    """Both lines within so much of the lid's speed, by Reynolds number."""
    for number, x, space, where in _cavity(dirichlet, n, allowed):
        u, v = _on_lines(x, space, where, n)
        limit = allowed[number]
        apart = float(abs(u(Y) - _numbers(U[number])).max())
        assert measured(f"u at Re {number}", apart, f"< {limit}") < limit
        apart = float(np.nanmax(abs(v(X) - _numbers(V[number]))))
        assert measured(f"v at Re {number}", apart, f"< {limit}") < limit


@pytest.mark.slow
def test_cavity(dirichlet, measured):
    """Re 100 and 400: within 1 %, which is what the tables are good for."""
    _agrees(dirichlet, measured, 24, {100: 0.01, 400: 0.01})


@pytest.mark.verify
def test_fast_cavity(dirichlet, measured):
    """Re 1000 against the spectral solution."""
    _agrees(dirichlet, measured, 32, {100: 0.01, 400: 0.01, 1000: 0.003})
