r"""An exact unsteady solution: order two in time (BDF2), with the elements' orders in space.

Reference:
    Ethier & Steinman (1994), Int. J. Numer. Meth. Fluids 19, 369-375, https://doi.org/10.1002/fld.1650190502, with
    $a = \pi/4$, $d = \pi/2$, viscosity one, on the cube $(-1, 1)^3$.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import ufl

from solver import terms
from solver.engine import MPI, dolfinx
from solver.spaces import build

A, D, NU = math.pi / 4, math.pi / 2, 1.0


def _velocity(x, t, m):
    """At coordinates ``x`` with the functions of module ``m`` (NumPy or UFL)."""

    def one(i, j, k):
        first = m.exp(A * x[i]) * m.sin(A * x[j] + D * x[k])
        return -A * (first + m.exp(A * x[k]) * m.cos(A * x[i] + D * x[j]))

    decay = m.exp(-(D**2) * NU * t)
    return [one(0, 1, 2) * decay, one(1, 2, 0) * decay, one(2, 0, 1) * decay]


def _pressure(x, t):
    e, s, c = ufl.exp, ufl.sin, ufl.cos
    total = sum(e(2 * A * x[i]) for i in range(3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        total += 2 * s(A * x[i] + D * x[j]) * c(A * x[k] + D * x[i]) * e(A * (x[j] + x[k]))
    return -(A**2) / 2 * total * e(-2 * D**2 * NU * t)


class Decay:
    """The discrete flow, its velocity given on the boundary."""

    def __init__(self, dirichlet, element, n, dt):
        corners = [np.full(3, -1.0), np.full(3, 1.0)]
        self.mesh = dolfinx.mesh.create_box(MPI.COMM_SELF, corners, [n, n, n])
        self.space = space = build(self.mesh, element)
        self.integral, self.dt, self.t = dirichlet.integral, dt, dt
        self.where = space.V.tabulate_dof_coordinates()
        self.x, self.history = dolfinx.fem.Function(space.W), dolfinx.fem.Function(space.W)
        self.before = self._exact(0.0)
        self.x.x.array[space.velocity] = self._exact(dt)
        u, p = space.split(self.x)
        v, q = space.split(ufl.TestFunction(space.W))
        h, _ = space.split(self.history)
        self.dx = ufl.Measure("dx", domain=self.mesh, metadata={"quadrature_degree": 6})
        rate, none = (1.5 * u - h) / dt, ufl.Measure("ds", domain=self.mesh)
        degree = space.degree
        fields = terms.Fields(u, p, v, q, u, u, rate, None, NU, 0.0, degree, self.dx, none)
        model = terms.EQUAL_ORDER if space.equal_order else terms.TAYLOR_HOOD
        F = terms.residual((*model, terms.inertia), fields)
        self.nodes = dirichlet.boundary_nodes(space)
        held = space.velocity[self.nodes].ravel()
        held = np.append(held, space.pressure[dirichlet.pressure_node(space)])
        self.newton = dirichlet.Newton(F, self.x, space, held)

    def _exact(self, t):
        return np.stack(_velocity(self.where.T, t, np), axis=1)

    def run(self, end):
        """March to a time, from the exact states at 0 and one step."""
        velocity = self.space.velocity
        while self.t < end - 1e-9:
            now = self.x.x.array[velocity].copy()
            self.history.x.array[velocity] = 2 * now - 0.5 * self.before
            self.before, self.t = now, self.t + self.dt
            self.x.x.array[velocity[self.nodes]] = self._exact(self.t)[self.nodes]
            self.newton.solve()
        return self

    def errors(self):
        """L2 errors of velocity and pressure (but for its mean)."""
        place = ufl.SpatialCoordinate(self.mesh)
        u, p = self.space.split(self.x)
        apart = u - ufl.as_vector(_velocity(place, self.t, ufl))
        off = p - _pressure(place, self.t)
        mean = self.integral(off * self.dx) / 8
        return (
            math.sqrt(self.integral(ufl.inner(apart, apart) * self.dx)),
            math.sqrt(self.integral((off - mean) ** 2 * self.dx)),
        )


def _orders(dirichlet, element, sizes):
    """Of velocity and pressure, cells and steps halved together."""
    first, second = (Decay(dirichlet, element, n, 0.3 / n).run(0.3).errors() for n in sizes)
    return [math.log2(a / b) for a, b in zip(first, second, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_order_in_space_and_time(dirichlet, element):
    """Two in both fields."""
    velocity, pressure = _orders(dirichlet, element, (3, 6))
    assert velocity >= 1.8
    assert pressure >= 1.8


@pytest.mark.slow
def test_order_of_linear_elements(dirichlet):
    """Two in the velocity."""
    assert _orders(dirichlet, "P1-P1", (6, 12))[0] >= 1.8


@pytest.mark.slow
@pytest.mark.xfail(
    reason="0.89: the viscous term drops out of the stabilisation of linear elements"
)
def test_pressure_order_of_linear_elements(dirichlet):
    """One in the pressure."""
    assert _orders(dirichlet, "P1-P1", (6, 12))[1] >= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_order_in_time(dirichlet, element):
    """On one mesh, steps halved twice: the differences fall by four."""
    states = [
        Decay(dirichlet, element, 2, 0.4 / steps).run(0.4).x.x.array.copy() for steps in (4, 8, 16)
    ]
    apart = [np.linalg.norm(a - b) for a, b in pairwise(states)]
    assert math.log2(apart[0] / apart[1]) >= 1.8
