"""Pipe flow at the reference setting and with linear elements: pressure drop, wall shear, orders."""

import math

import h5py
import numpy as np
import pytest

from meshing.vessel import VesselMesh
from solver.problem import FlowProblem
from solver.run import solve

MU, D, L, Q = 3.5e-3, 3e-3, 24e-3, 2e-6
DROP = 128 * MU * L * Q / (math.pi * D**4)
SHEAR = 32 * MU * Q / (math.pi * D**3)


def _flow(mesh, element, output=None):
    given = {
        "mesh": str(mesh),
        "element": element,
        "rheology": {"kind": "newtonian", "viscosity": MU},
        "inlet": {"kind": "flow", "Q": Q},
        "outlets": {"out": {"kind": "resistance", "R": 5e9}},
    }
    return solve(FlowProblem.model_validate(given), output=output)


@pytest.mark.slow
def test_reference_setting(flow_meshes, measured, tmp_path):
    """P2-P2 on a curved mesh with five elements across: dp to 0.2 %, shear to 2 %, flow to 1e-6."""
    flow_meshes.tube(tmp_path, D=D, L=L, h=D / 5)
    result = _flow(tmp_path / "mesh.json", "P2-P2", tmp_path)
    inlet, out = result.patches["inlet"], result.patches["out"]
    measured("pressure drop over the exact one", (inlet.p - out.p) / DROP, "1 +- 0.002")
    assert inlet.p - out.p == pytest.approx(DROP, rel=2e-3)
    assert pytest.approx(-Q, rel=1e-6) == inlet.Q
    assert pytest.approx(Q, rel=1e-6) == out.Q
    assert measured("outlet off its line, over p", out.residual / out.p, "< 1e-6") < 1e-6
    points = VesselMesh.load(tmp_path / "mesh.json").arrays().points
    with h5py.File(tmp_path / "fields.h5") as f:
        tau = f["wall_shear_stress"][:]
    radius = np.hypot(points[:, 1], points[:, 2])
    wall = (radius > 0.4999 * D) & (abs(points[:, 0] - L / 2) < 0.45 * L)
    measured("wall shear over the exact one", float(tau[wall, 0].mean() / SHEAR), "1 +- 0.005")
    assert tau[wall, 0].mean() == pytest.approx(SHEAR, rel=5e-3)
    assert np.sqrt(((tau[wall, 0] / SHEAR - 1) ** 2).mean()) < 2e-2


@pytest.mark.slow
def test_linear_elements_converge(flow_meshes, measured, tmp_path):
    """P1-P1 on straight meshes: order at least 1.8 in the pressure drop."""
    errors, sizes = [], (5, 10)
    for n in sizes:
        folder = tmp_path / str(n)
        flow_meshes.tube(folder, D=D, L=L / 2, h=D / n, order=1)
        patches = _flow(folder / "mesh.json", "P1-P1").patches
        errors.append(2 * (patches["inlet"].p - patches["out"].p) / DROP - 1)
    order = math.log2(errors[0] / errors[1])
    assert measured("order of pressure drop", order, ">= 1.8") >= 1.8
