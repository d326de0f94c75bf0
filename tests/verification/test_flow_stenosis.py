"""Stenoses from mild to severe converge from rest with the defaults; pressure drops in a sanity band."""

import math

import numpy as np
import pytest

from solver.problem import FlowProblem
from solver.run import solve

MU, RHO, D, Q = 3.5e-3, 1060.0, 3e-3, 1.5e-6


def band(reduction, Q):
    """Least and largest plausible pressure drop of a cosine stenosis and 11 diameters of pipe.

    Least: Poiseuille's resistance along the lumen and a sudden expansion's loss (Borda-Carnot, Kt = 1).
    Largest: blunt plugs, Kt = 1.52.

    Reference: Young & Tsai (1973), https://doi.org/10.1016/0021-9290(73)90099-7; Seeley & Young (1976),
    https://doi.org/10.1016/0021-9290(76)90086-5.
    """
    U, ratio = Q / (math.pi * D**2 / 4), 1 / (1 - reduction) ** 2
    x = np.linspace(-D, D, 2001)
    diameter = D * (1 - reduction * 0.5 * (1 + np.cos(math.pi * x / D)))
    lumen = 128 * MU * Q / math.pi * np.trapezoid(diameter**-4.0, x)
    pipe = 32 * MU * U * 11 / D
    expansion = 0.5 * RHO * (ratio - 1) ** 2 * U**2
    length = 0.83 * 2 * D + 1.64 * D * (1 - reduction)
    plug = 32 * (length / D) * ratio**2 * MU * U / D
    return pipe + lumen + expansion, pipe + plug + 1.52 * expansion


@pytest.mark.verify
@pytest.mark.parametrize("percent", [30, 40, 50, 60, 70, 80])
@pytest.mark.parametrize("element", ["P1-P1", "P2-P2"])
def test_stenosis_series(flow_meshes, measured, tmp_path, percent, element):
    flow_meshes.stenosis(tmp_path, D=D, reduction=percent / 100, h=D / 4)
    given = {
        "mesh": str(tmp_path / "mesh.json"),
        "element": element,
        "rheology": {"kind": "newtonian", "viscosity": MU},
        "inlet": {"kind": "pressure", "p": 12_000.0},
        "outlets": {"out": {"kind": "resistance", "R": 9600 / Q}},
    }
    result = solve(FlowProblem.model_validate(given), output=tmp_path)
    out = result.patches["out"]
    assert measured("mass balance", result.mass_balance, "< 1e-6") < 1e-6
    assert out.residual < 1e-6 * 12_000.0
    least, largest = band(percent / 100, out.Q)
    margin = 0.2 if element == "P2-P2" else 1.0  # linear elements are coarse here
    low, high = (1 - min(margin, 0.3)) * least, (1 + margin) * largest
    drop = measured("pressure drop [Pa]", 12_000.0 - out.p, f"{low:.0f} to {high:.0f}")
    assert low < drop < high
