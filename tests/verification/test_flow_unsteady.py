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

from solver.engine import MPI, dolfinx

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


def _decay(dirichlet, element, n, dt):
    """The discrete flow, its velocity given on the boundary."""
    corners = [np.full(3, -1.0), np.full(3, 1.0)]
    mesh = dolfinx.mesh.create_box(MPI.COMM_SELF, corners, [n, n, n])
    return dirichlet.March(
        mesh, element, lambda x, t: np.stack(_velocity(x.T, t, np), axis=1), NU, dt
    )


def _errors(dirichlet, flow):
    """L2 errors of velocity and pressure (but for its mean)."""
    place, dx = ufl.SpatialCoordinate(flow.space.V.mesh), flow.dx
    u, p = flow.space.split(flow.x)
    apart = u - ufl.as_vector(_velocity(place, flow.t, ufl))
    off = p - _pressure(place, flow.t)
    mean = dirichlet.integral(off * dx) / 8
    return (
        math.sqrt(dirichlet.integral(ufl.inner(apart, apart) * dx)),
        math.sqrt(dirichlet.integral((off - mean) ** 2 * dx)),
    )


def _orders(dirichlet, element, sizes):
    """Of velocity and pressure, cells and steps halved together."""
    first, second = (
        _errors(dirichlet, _decay(dirichlet, element, n, 0.3 / n).run(0.3)) for n in sizes
    )
    return [math.log2(a / b) for a, b in zip(first, second, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_order_in_space_and_time(dirichlet, measured, element):
    """Two in both fields."""
    velocity, pressure = _orders(dirichlet, element, (3, 6))
    assert measured("order of velocity", velocity, ">= 1.8") >= 1.8
    assert measured("order of pressure", pressure, ">= 1.8") >= 1.8


@pytest.mark.slow
def test_order_of_linear_elements(dirichlet, measured):
    """Two in the velocity, one in the pressure."""
    velocity, pressure = _orders(dirichlet, "P1-P1", (6, 12))
    assert measured("order of velocity", velocity, ">= 1.8") >= 1.8
    assert measured("order of pressure", pressure, ">= 1") >= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_order_in_time(dirichlet, measured, element):
    """On one mesh, steps halved twice: the differences fall by four."""
    states = [
        _decay(dirichlet, element, 2, 0.4 / steps).run(0.4).x.x.array.copy() for steps in (4, 8, 16)
    ]
    apart = [np.linalg.norm(a - b) for a, b in pairwise(states)]
    assert measured("order in time", math.log2(apart[0] / apart[1]), ">= 1.8") >= 1.8
