"""The axisymmetric reference against exact solutions and conservation laws, on coarse grids."""

import math

import pytest

MU = 3.5e-3


def test_poiseuille_is_exact(axisymmetric):
    """Without a narrowing: Q from the resistances in series, the pressure linear."""
    tube, given = axisymmetric.Tube(0.0), axisymmetric.Conditions()
    flow = axisymmetric.solve(tube, given, axisymmetric.Grid(factor=0.3))
    length = tube.length + tube.inlet_extension + tube.outlet_extension
    per_mm = 128 * MU * 1e-3 / (math.pi * (tube.diameter * 1e-3) ** 4)
    Q = (given.p - given.pd) / (given.R + per_mm * length)
    assert pytest.approx(Q * 1e6, rel=1e-8) == flow.Q
    assert flow.drop == pytest.approx(per_mm * 12 * tube.diameter * Q, rel=1e-6)
    assert flow.drop == pytest.approx(flow.expected(1.52), rel=1e-6)
    assert flow.ffr == pytest.approx(1 - per_mm * (tube.inlet_extension + 45) * Q / given.p)


def test_balances_close(axisymmetric):
    """Mass, axial momentum and mechanical power of a jet close, from the fields alone; the outlet's line holds."""
    given = axisymmetric.Conditions()
    flow = axisymmetric.solve(axisymmetric.Tube(0.4), given, axisymmetric.Grid(factor=0.5))
    assert flow.mass < 1e-9
    assert abs(flow.section_flow / flow.Q - 1).max() < 5e-3
    assert abs(flow.momentum) < 2e-3
    assert abs(flow.energy) < 1e-3
    assert flow.pressure[-1] == pytest.approx(given.pd + given.R * flow.Q * 1e-6, rel=1e-9)
    assert flow.reversed_flow.max() > 1e-3 * flow.Q
    assert 0.8 * flow.expected(1.0) < flow.drop < 1.2 * flow.expected(1.52)
