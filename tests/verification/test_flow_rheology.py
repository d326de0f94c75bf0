"""Shear-thinning flow of a tube against the exact one, from the force balance of its cylinders."""

import math

import h5py
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import quad
from scipy.optimize import brentq

from meshing.vessel import VesselMesh
from solver import solve
from solver.problem import FlowProblem
from solver.rheology import CarreauYasuda

D, L, Q = 3e-3, 18e-3, 2e-7
BLOOD = CarreauYasuda()


def _shear_rate(stress):
    """At which the fluid bears a shear stress [1/s]."""

    def too_much(rate):
        return BLOOD.viscosity * float(BLOOD.ratio(rate)) * rate - stress

    return brentq(too_much, 0.0, stress / BLOOD.viscosity)


def _flow(slope):
    """Of developed flow with a pressure gradient: pi times the integral of r^2 times the shear rate [m^3/s]."""
    return math.pi * quad(lambda r: r**2 * _shear_rate(0.5 * slope * r), 0.0, D / 2)[0]


def test_viscosity_between_its_limits():
    """At rest, fast, and half-way as the formula has it."""
    assert BLOOD.ratio(0.0) * BLOOD.viscosity == pytest.approx(BLOOD.zero_shear)
    assert BLOOD.ratio(1e12) == pytest.approx(1.0, abs=1e-4)
    at = (1 + (0.11 * 100) ** 0.644) ** ((0.392 - 1) / 0.644)
    assert BLOOD.ratio(100.0) * BLOOD.viscosity == pytest.approx(0.0022 + 0.0198 * at)
    with pytest.raises(ValidationError, match="must not be less"):
        CarreauYasuda(viscosity=0.1)


@pytest.mark.slow
def test_tube(flow_meshes, measured, tmp_path):
    """Pressure gradient to 0.5 % and wall shear stress (one order less) to 3 % in the developed part."""
    flow_meshes.tube(tmp_path, D=D, L=L, h=D / 4)
    line = {"start": [L / 2, 0, 0], "end": [0.8 * L, 0, 0], "count": 2}
    problem = FlowProblem.model_validate(
        {
            "mesh": tmp_path / "mesh.json",
            "rheology": {"kind": "carreau-yasuda"},
            "inlet": {"kind": "flow", "Q": Q},
            "outlets": {"out": {"kind": "pressure", "p": 8000.0}},
            "probes": {"axis": line},
        }
    )
    result = solve(problem, output=tmp_path)
    assert result.status == "converged"
    near, far = (row.p or math.nan for row in result.probes["axis"])
    exact = brentq(lambda slope: _flow(slope) / Q - 1, 1.0, 1e5)
    slope = (near - far) / (0.3 * L)
    newtonian = 128 * BLOOD.viscosity * Q / (math.pi * D**4)
    measured("pressure gradient over the exact one", slope / exact, "1 +- 0.005")
    assert slope == pytest.approx(exact, rel=5e-3)
    assert exact > 1.2 * newtonian
    points = VesselMesh.load(tmp_path / "mesh.json").arrays().points
    with h5py.File(tmp_path / "fields.h5") as f:
        shear = f["wall_shear_stress"][:]
    ring = (np.hypot(points[:, 1], points[:, 2]) > 0.4999 * D) & (
        abs(points[:, 0] / L - 0.65) < 0.1
    )
    tau = float(shear[ring, 0].mean() / (exact * D / 4))
    assert measured("wall shear over the exact one", tau, "1 +- 0.03") == pytest.approx(1, rel=0.03)
