"""Real vessels from surface to FFR (`make verify`); they are not part of the project and skipped where absent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from pipeline.phantom import exact_surface, tube
from pipeline.surface.mesh import write_stl

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.verify, pytest.mark.timeout(7200)]


def test_left_coronary(ffr3d, shared):
    """An 84 % lesion on the way to BC1 and BC2; four healthy branches; one and two ranks agree."""
    assert shared.is_dir()
    case = ROOT / "configs" / "left_coronary.yaml"
    two = ffr3d(case, "two", "--set", "solver.ranks=2")
    two.check_conservation()
    assert two.flow["status"] == "converged"
    (lesion,) = two.ffr["lesions"]
    assert set(lesion["outlets"]) == {"BC1", "BC2"}
    for name in ("BC1", "BC2"):
        assert two.vessels[name]["ffr"] < 0.75
    for name in ("BC3", "BC4", "BC5", "BC6"):
        assert two.vessels[name]["ffr"] > 0.80

    one = ffr3d(case, "one", "--set", "solver.ranks=1")
    for name, vessel in two.vessels.items():
        assert one.vessels[name]["ffr"] == pytest.approx(vessel["ffr"], abs=1e-4)


def test_open_ended_phantom(ffr3d, shared):
    """Seven open ends: caps are made, the inlet is the largest."""
    run = ffr3d(
        {
            "name": "open",
            "input": {
                "kind": "surface",
                "path": str(shared / "coronary_phantom/phantom_coarse.stl"),
            },
            "physiology": {"resting": {"flow_mL_per_min": 150}},
        }
    )
    run.check_conservation()
    assert len(run.vessels) == 6
    assert run.ffr["inlet"]["diameter_mm"] == pytest.approx(6.1, abs=0.3)


def test_tube_along_a_clinical_centreline(ffr3d, shared, tmp_path):
    """The longest branch of 227A as a tube: noisy path, varying radius."""
    lines: Any = pv.read(shared / "coronary_centrelines" / "227A_Centreline.vtk")
    longest = max((lines.get_cell(i) for i in range(lines.n_cells)), key=lambda c: c.n_points)
    keep = np.arange(0, longest.n_points, 8)
    points, radii = longest.points[keep].astype(float), lines["radii"][longest.point_ids][keep]
    write_stl(exact_surface(tube(points, radii)), tmp_path / "tube.stl")
    run = ffr3d(
        {
            "name": "tube",
            "input": {"kind": "surface", "path": str(tmp_path / "tube.stl")},
            "physiology": {"resting": {"flow_mL_per_min": 30}},
        }
    )
    run.check_conservation()
    assert len(run.vessels) == 1
