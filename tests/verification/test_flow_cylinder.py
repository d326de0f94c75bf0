"""The DFG benchmark 3D-1Z: laminar flow around a cylinder in a channel, Re 20 (drag, lift, pressure difference).

Reference:
    Schäfer & Turek (1996), Notes Numer. Fluid Mech. 52, 547-566, https://doi.org/10.1007/978-3-322-89849-4_39
    (problem, interval of the pressure difference); Bayraktar, Mierka & Turek (2012), Int. J. Comput. Sci. Eng. 7,
    253-266, https://doi.org/10.1504/IJCSE.2012.048245 (drag, lift).
"""

import numpy as np
import pytest

from meshing.tagged import from_tagged
from solver import solve
from solver.io.profile import Profile
from solver.problem import FlowProblem

H, D, MEAN = 0.41, 0.1, 0.2
DRAG, LIFT, DROP = 6.18533, 0.009401, (0.165, 0.175)


def _inflow(points):
    y, z = points[:, 1], points[:, 2]
    u = np.zeros_like(points)
    u[:, 0] = 16 * 0.45 * y * z * (H - y) * (H - z) / H**4
    return u


def _coefficients(flow_meshes, folder, h, growth):
    """Drag and lift coefficients, pressure difference [Pa]."""
    file = flow_meshes.tagged_cylinder(folder / "channel.msh", h=h, growth=growth)
    from_tagged(file, {"in": "inlet", "out": "outlet", "side": "wall", "cylinder": "wall"}, folder)
    Profile.of(folder / "mesh.json", _inflow).save(folder / "inflow.h5")
    problem = FlowProblem.model_validate(
        {
            "mesh": folder / "mesh.json",
            "density": 1.0,
            "rheology": {"kind": "newtonian", "viscosity": 1e-3},
            "inlet": {"kind": "profile", "file": folder / "inflow.h5"},
            "outlets": {"out": {"kind": "do-nothing"}},
            "forces": ["cylinder"],
            "probes": {"ends": [[0.45, 0.2, 0.205], [0.55, 0.2, 0.205]]},
        }
    )
    result = solve(problem, output=folder / "flow")
    assert result.status == "converged"
    drag, lift, _ = np.array(result.forces["cylinder"]) * 2 / (MEAN**2 * D * H)
    front, back = (row.p or np.nan for row in result.probes["ends"])
    return drag, lift, front - back


CASES = [
    pytest.param(0.015, 0.4, 3e-3 * DRAG, 0.01, id="16k", marks=pytest.mark.slow),
    pytest.param(0.0065, 0.2, 2e-4 * DRAG, 0.02 * LIFT, id="70k", marks=pytest.mark.verify),
]


@pytest.mark.parametrize(("h", "growth", "near_drag", "near_lift"), CASES)
def test_drag_lift_and_drop(flow_meshes, measured, tmp_path, h, growth, near_drag, near_lift):
    """Drag to 0.3 and 0.02 %, lift to 0.01 and 2 %; the pressure difference lies in the published interval."""
    drag, lift, drop = _coefficients(flow_meshes, tmp_path, h, growth)
    measured("drag", drag, f"{DRAG} +- {near_drag:.2g}")
    measured("lift", lift, f"{LIFT} +- {near_lift:.2g}")
    measured("pressure difference", drop, f"{DROP[0]} to {DROP[1]}")
    assert drag == pytest.approx(DRAG, abs=near_drag)
    assert lift == pytest.approx(LIFT, abs=near_lift)
    assert DROP[0] < drop < DROP[1]
