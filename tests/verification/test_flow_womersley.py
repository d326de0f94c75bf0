r"""Oscillating flow of a tube at several Womersley numbers against Bessel functions.

With radius, density and angular frequency one the viscosity is $1/\alpha^2$; a pressure gradient $-\cos t$ drives
$u = \mathrm{Re}\,\bigl(-i\,(1 - J_0(i^{3/2} \alpha r) / J_0(i^{3/2} \alpha))\,e^{it}\bigr)$.

Reference:
    Womersley (1955), J. Physiol. 127, 553-563, https://doi.org/10.1113/jphysiol.1955.sp005276.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import jv

from solver.engine import MPI, dolfinx
from solver.io import mesh as mesh_file

LENGTH, END = 0.6, 1.0


def _exact(alpha):
    """Velocity at points and a time; the tube lies along x."""

    def velocity(x, t):
        turned = 1j**1.5 * alpha
        r = np.hypot(x[:, 1], x[:, 2])
        profile = -1j * (1 - jv(0, turned * r) / jv(0, turned))
        return np.stack([(profile * np.exp(1j * t)).real, 0 * r, 0 * r], axis=1)

    return velocity


@pytest.fixture(scope="module")
def mesh(flow_meshes, tmp_path_factory):
    """Curved tetrahedra, five to a diameter."""
    folder = tmp_path_factory.mktemp("womersley")
    flow_meshes.tube(folder, D=2.0, L=LENGTH, h=0.4)
    return mesh_file.load(MPI.COMM_SELF, folder / "mesh.json", 1.0).mesh


def _states(dirichlet, mesh, alpha, counts):
    """The flow at time one after so many steps."""
    velocity = _exact(alpha)
    return [
        dirichlet.March(mesh, "P2-P2", velocity, 1 / alpha**2, END / count).run(END)
        for count in counts
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "within"), [(1, 5e-4), (3, 1e-3), (10, 2e-2)])
def test_velocity_pressure_and_order_in_time(dirichlet, measured, mesh, alpha, within):
    """Root mean square to the largest of a period; gradient to 2 %; steps halved twice: differences fall by four."""
    flows = _states(dirichlet, mesh, alpha, (5, 10, 20))
    values = [flow.x.x.array[flow.space.velocity] for flow in flows]
    apart = [np.linalg.norm(a - b) for a, b in pairwise(values)]
    assert measured("order in time", math.log2(apart[0] / apart[1]), ">= 1.8") >= 1.8
    last = flows[-1]
    exact = [last.exact(last.where, t) for t in (last.t, *np.linspace(0, math.pi, 50))]
    largest = max(np.linalg.norm(u) for u in exact)
    error = float(np.linalg.norm(values[-1] - exact[0]) / largest)
    assert measured("error of velocity", error, f"< {within}") < within
    _, p = last.space.split(last.x)
    volume = dirichlet.integral(dolfinx.fem.Constant(mesh, 1.0) * last.dx)
    gradient = dirichlet.integral(p.dx(0) * last.dx) / volume
    off = abs(gradient / -math.cos(last.t) - 1)
    assert measured("error of pressure gradient", off, "< 0.02") < 0.02
