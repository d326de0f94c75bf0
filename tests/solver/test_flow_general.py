"""The solver without the pipeline: another generator's mesh, other outlets."""

import math

import h5py
import numpy as np
import pytest

from meshing.tagged import from_tagged
from meshing.vessel import Role, VesselMesh
from solver import solve
from solver.problem import FlowProblem

MU, P_OUT = 3.5e-3, 8_000.0
DUCT = 28.454
"""Pressure gradient of developed flow in a square duct, mu Q / side^4 (White, Viscous Fluid Flow, ch. 3)."""


def test_square_duct(flow_meshes, tmp_path):
    """docs/solver.md's example: developed flow of a square duct on a Gmsh file, from its faces' names."""
    file = flow_meshes.tagged_box(tmp_path / "duct.msh", order=2)
    from_tagged(file, {"in": "inlet", "out": "outlet", "side": "wall"}, tmp_path, scale=1e-3)
    problem = FlowProblem.model_validate(
        {
            "mesh": tmp_path / "mesh.json",
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "flow", "Q": 1e-7},
            "outlets": {"out": {"kind": "pressure", "p": P_OUT}},
        }
    )
    result = solve(problem, output=tmp_path / "flow")
    drop = result.patches["in"].p - P_OUT
    assert result.status == "converged"
    assert drop == pytest.approx(DUCT * MU * 1e-7 / 1e-3**4 * 3e-3, rel=0.02)


@pytest.mark.parametrize("kind", ["pressure", "do-nothing"])
def test_outlets_without_resistance(tube, kind):
    """Developed flow: traction and mean pressure agree, and both outlets leave it undisturbed."""
    D, L, Q = 3e-3, 12e-3, 2e-6
    problem = FlowProblem.model_validate(
        {
            "mesh": tube,
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "flow", "Q": Q},
            "outlets": {"out": {"kind": kind, "p": P_OUT}},
        }
    )
    result = solve(problem)
    drop = 128 * MU * L * Q / (math.pi * D**4)
    allowed = 1e-9 * P_OUT if kind == "pressure" else 0.01 * drop
    assert result.patches["out"].p == pytest.approx(P_OUT, abs=allowed)
    assert result.patches["out"].residual < 1e-6 * P_OUT
    assert result.patches["inlet"].p - P_OUT == pytest.approx(drop, rel=0.01)


@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_plane_of_symmetry(flow_meshes, tmp_path, element):
    """Half a tube with a frictionless wall along its axis carries half a tube's flow; nothing crosses that wall."""
    D, L, Q = 3.0, 9.0, 1e-6
    roles: dict[str, Role] = {"in": "inlet", "out": "outlet", "side": "wall", "plane": "slip"}
    file = flow_meshes.tagged_half_tube(tmp_path / "half.msh", D=D, L=L, h=D / 4, tilt=0.4)
    from_tagged(file, roles, tmp_path, scale=1e-3)
    problem = FlowProblem.model_validate(
        {
            "mesh": tmp_path / "mesh.json",
            "element": element,
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "flow", "Q": Q},
            "outlets": {"out": {"kind": "pressure", "p": P_OUT}},
        }
    )
    result = solve(problem, output=tmp_path)
    drop = 128 * MU * 1e-3 * L * 2 * Q / (math.pi * (1e-3 * D) ** 4)
    assert result.status == "converged"
    assert result.mass_balance < 1e-8
    assert result.patches["in"].p - P_OUT == pytest.approx(drop, rel=0.01)
    vessel = VesselMesh.load(tmp_path / "mesh.json")
    arrays = vessel.arrays()
    plane = np.unique(arrays.facets[arrays.facet_tags == vessel.patch("plane").tag])
    with h5py.File(tmp_path / "fields.h5") as f:
        velocity = f["velocity"][:]
    normal = np.array([0.0, -math.sin(0.4), math.cos(0.4)])
    fast = 16 * Q / (math.pi * (1e-3 * D) ** 2)
    assert abs(velocity[plane] @ normal).max() < 0.02 * fast
    assert velocity[plane, 0].max() == pytest.approx(fast, rel=0.01)
