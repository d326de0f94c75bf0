import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshing.errors import ComputationError
from meshing.vessel import MeshArrays, Patch, VesselMesh
from pipeline import ffr
from pipeline.anatomy.types import Anatomy, End
from pipeline.ffr.curves import flow_mismatch, trace
from pipeline.ffr.lesions import distal_window, proximal_window
from pipeline.ffr.load import load
from pipeline.ffr.masks import extension_nodes
from pipeline.ffr.sections import Sectioner

MMHG = 133.322387415


def compute(folder, case):
    ffr.run(folder, case)
    return json.loads((folder / "ffr" / "ffr.json").read_text())


@pytest.fixture
def numbers(make_run, make_tube):
    tube = make_tube(reduction=0.5)
    folder, case = make_run(tube)
    return folder, tube, compute(folder, case)


def test_ffr_refers_to_the_prescribed_aortic_pressure(numbers):
    _, tube, found = numbers
    assert found["reference"]["Pa_mmHg"] == pytest.approx(93.0)
    assert "prescribed" in found["reference"]["Pa_origin"]
    at_inlet = tube.pressure(0.0) / MMHG / 93.0
    assert found["reference"]["ffr_at_anatomical_inlet"] == pytest.approx(at_inlet, abs=1e-9)
    assert found["vessels"][0]["ffr"] == pytest.approx(tube.pressure(40.0) / MMHG / 93.0, abs=1e-9)
    assert found["vessels"][0]["ffr_min_abscissa_mm"] == pytest.approx(40.0)


def test_with_a_flow_inlet_ffr_refers_to_the_anatomical_inlet(make_run, make_tube):
    tube = make_tube(
        case={"inlet": {"kind": "flow", "flow_mL_per_min": 120}}, inlet_pressure=11000.0
    )
    found = compute(*make_run(tube))
    assert found["reference"]["Pa_mmHg"] == pytest.approx(tube.pressure(0.0) / MMHG)
    assert found["reference"]["ffr_at_anatomical_inlet"] == pytest.approx(1.0)
    assert found["vessels"][0]["ffr"] == pytest.approx(tube.pressure(40.0) / tube.pressure(0.0))


def test_lesion_numbers_of_a_linear_pressure(numbers):
    _, tube, found = numbers
    (lesion,) = found["lesions"]
    # shoulders at 16 and 24 mm, reference 3 mm: windows 13..16 and 30..33, means at 14.5 and 31.5
    drop = (tube.pressure(14.5) - tube.pressure(31.5)) / MMHG
    assert lesion["pressure_drop_mmHg"] == pytest.approx(drop, abs=1e-9)
    assert lesion["ffr_distal"] == pytest.approx(tube.pressure(31.5) / MMHG / 93, abs=1e-9)
    assert lesion["ffr_drop"] == pytest.approx(drop / 93)
    assert lesion["distal_window"] == {"start_mm": 30.0, "stop_mm": 33.0, "limited_by": None}
    assert lesion["flow_mL_per_min"] == pytest.approx(120.0)


def test_throat_numbers_of_poiseuille_flow(numbers):
    _, _, found = numbers
    (lesion,) = found["lesions"]
    mean = 2e-6 / (math.pi * 0.75e-3**2)
    assert lesion["throat_mean_velocity_m_per_s"] == pytest.approx(mean)
    assert lesion["peak_velocity_m_per_s"] == pytest.approx(2 * mean, rel=0.02)
    assert lesion["throat_reynolds"] == pytest.approx(1060 * mean * 1.5e-3 / 0.0035)
    assert 2 < lesion["elements_across_throat"] < 9


def test_wall_shear_stress_of_poiseuille_flow(numbers):
    _, _, found = numbers
    shear = found["lesions"][0]["wall_shear_stress"]
    at_throat = 4 * 0.0035 * 2e-6 / (math.pi * 0.75e-3**3)
    at_shoulder = at_throat / 8
    assert shear["max_Pa"] == pytest.approx(at_throat, rel=0.1)  # means over triangles
    assert shear["min_Pa"] == pytest.approx(at_shoulder, rel=0.02)
    assert at_shoulder < shear["mean_Pa"] < at_throat
    radius = lambda z: 1.5 * (1 - 0.25 * (1 - math.cos(2 * math.pi * (z - 16) / 8)))  # noqa: E731
    lateral = sum(2 * math.pi * radius(16 + 0.01 * k) * 0.01 for k in range(800))
    assert shear["area_mm2"] == pytest.approx(lateral, rel=0.1)


def test_flow_through_the_sections_is_the_outflow(numbers):
    _, _, found = numbers
    mismatch = found["evidence"]["section_flow_mismatch"]
    assert mismatch["sections"] > 100
    assert mismatch["median"] < 0.005
    assert mismatch["p95"] < 0.02


def test_outlet_line_is_told(numbers):
    _, tube, found = numbers
    vessel = found["vessels"][0]
    line = 5.0 + vessel["outlet_resistance_mmHg_s_per_mL"] * 2.0
    expected = abs(tube.pressure(46.0) / MMHG - line)
    assert vessel["outlet_line_error_mmHg"] == pytest.approx(expected, rel=1e-6)


def test_evidence_and_notice_are_there(numbers):
    _, _, found = numbers
    assert found["notice"] == "Research use only. Not a medical device."
    assert found["evidence"]["solver"]["residual"] == 1e-9
    assert found["evidence"]["mesh"]["geometric_order"] == 2
    assert found["evidence"]["versions"]["numpy"] == np.__version__
    assert any("default of 93 mmHg" in note for note in found["notes"])


def test_checks_have_verdicts(numbers):
    _, _, found = numbers
    verdict = {check["check"]: check["passed"] for check in found["checks"]}
    assert verdict["steady state"]
    assert verdict["mass balance |sum Q| / Q in"]
    assert verdict["|FFR - 1| at the anatomical inlet"]
    assert verdict["median flow mismatch of the cross-sections"]
    # the synthetic outlet pressure is not on the outlet's line, and the mesh is coarse
    assert not verdict["largest |p - pd - R Q| of an outlet over its pressure"]
    assert not verdict["fewest elements across a throat"]


def test_tables_for_the_terminal(numbers):
    _, _, found = numbers
    vessels, lesions = ffr.summary_rows(found)
    for _, head, rows in (vessels, lesions):
        assert all(len(row) == len(head) for row in rows)
    assert vessels[2][0][:2] == ("LAD", f"{found['vessels'][0]['ffr']:.3f}")
    assert lesions[2][0][:3] == ("LAD-1", "50%", f"{found['lesions'][0]['ffr_distal']:.3f}")
    assert len(ffr.summary_rows(found | {"lesions": []})) == 1


def test_straight_cells_work_as_well(make_run, make_tube):
    import pyvista as pv

    tube = make_tube(order=1, layers=30)
    folder, case = make_run(tube)
    found = compute(folder, case)
    assert found["vessels"][0]["ffr"] == pytest.approx(tube.pressure(40.0) / MMHG / 93, abs=1e-9)
    assert set(pv.read(folder / "ffr" / "volume.vtu").celltypes) == {10}
    assert pv.read(folder / "ffr" / "wall.vtp").n_cells == 2 * 24 * 30


def test_a_drop_before_the_inlet_is_noted(make_run, make_tube):
    found = compute(*make_run(make_tube(gradient=120e3)))
    assert any("FFR at the anatomical inlet is 0.9" in note for note in found["notes"])


def test_volume_keeps_quadratic_cells_and_masks_extensions(numbers):
    import pyvista as pv

    folder, tube, _ = numbers
    grid: Any = pv.read(folder / "ffr" / "volume.vtu")
    assert set(grid.celltypes) == {24}
    z = grid.points[:, 2]
    outside = (z < -1e-2) | (z > 40 + 1e-2)
    assert np.isnan(grid["ffr"][outside]).all()
    assert (grid.point_data["extension"] == outside).all()
    inside = ~outside
    assert grid["pressure_mmHg"][inside] == pytest.approx(tube.pressure(z[inside]) / MMHG, rel=1e-6)
    assert grid.cell_data["extension"].sum() == pytest.approx(grid.n_cells * 12 / 52, rel=0.1)
    cylinder = np.pi * 1.5**2 * 52
    assert 0.85 * cylinder < grid.volume < cylinder


def test_wall_is_the_lateral_surface(numbers):
    import pyvista as pv

    folder, _, _ = numbers
    wall: Any = pv.read(folder / "ffr" / "wall.vtp")
    rho = np.linalg.norm(wall.points[:, :2], axis=1)
    away = (wall.points[:, 2] < 15) | (wall.points[:, 2] > 25)
    assert rho[away] == pytest.approx(1.5, rel=1e-6)
    assert "velocity_m_per_s" not in wall.point_data
    assert np.nanmin(wall["wall_shear_stress_Pa"]) > 0


def test_centrelines_go_back_through_their_file(numbers):
    import pyvista as pv

    folder, tube, _ = numbers
    line: Any = pv.read(folder / "ffr" / "centerlines.vtp")
    assert list(line.field_data["outlet_names"]) == ["LAD"]
    inside = line["extension"] == 0
    s = line["abscissa_mm"][inside]
    assert line["ffr"][inside] == pytest.approx(tube.pressure(s) / MMHG / 93, abs=1e-9)
    assert np.isnan(line["ffr"][~inside]).all()
    assert np.nanmedian(line["flow_mL_per_s"]) == pytest.approx(2.0, rel=0.005)


def test_fields_of_another_mesh_are_refused(make_run, make_tube):
    import h5py

    folder, case = make_run(make_tube(layers=20))
    with h5py.File(folder / "solve" / "fields.h5", "r+") as f:
        del f["pressure"]
        f["pressure"] = np.zeros(7)
    with pytest.raises(ComputationError, match="7 rows"):
        ffr.run(folder, case)


def test_fields_that_are_not_finite_are_refused(make_run, make_tube):
    import h5py

    folder, case = make_run(make_tube(layers=20))
    with h5py.File(folder / "solve" / "fields.h5", "r+") as f:
        f["velocity"][3, 1] = np.nan
    with pytest.raises(ComputationError, match="velocity has 1 values"):
        ffr.run(folder, case)


@pytest.mark.parametrize(
    ("limit", "start", "stop", "cut"),
    [
        (50.0, 16.0, 19.0, None),
        (18.0, 16.0, 18.0, "x"),
        (13.0, 13.0, 13.0, "x"),
        (9.0, 10.0, 10.0, "x"),
    ],
)
def test_distal_window_stops_at_its_limit(limit, start, stop, cut):
    window = distal_window(10.0, 3.0, limit, "x")
    assert (window.start_mm, window.stop_mm, window.limited_by) == (start, stop, cut)


@pytest.mark.parametrize(
    ("limit", "start", "cut"), [(0.0, 7.0, None), (8.5, 8.5, "x"), (11.0, 10.0, "x")]
)
def test_proximal_window_stops_at_its_limit(limit, start, cut):
    window = proximal_window(10.0, 3.0, limit, "x")
    assert (window.start_mm, window.stop_mm, window.limited_by) == (start, 10.0, cut)


def test_shared_stems_are_cut_once(make_run, make_tube, monkeypatch):
    folder, _ = make_run(make_tube(layers=20))
    solution = load(folder)
    calls = []
    original = Sectioner.section

    def counted(self, *arguments):
        calls.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(Sectioner, "section", counted)
    sectioner = Sectioner(
        solution.points_mm, solution.mesh.cells, solution.pressure_mmHg, solution.velocity_m_per_s
    )
    line = solution.centerlines[0]
    one, two = trace([line, line], sectioner)
    assert len(calls) == len(line.abscissa_mm)
    assert one.pressure_mmHg == pytest.approx(two.pressure_mmHg, abs=0)
    assert np.abs(flow_mismatch([one], {"LAD": 1.0}) - 1.0).max() < 0.05


def test_an_extension_does_not_mask_a_vessel_that_crosses_its_plane(make_tube_mesh):
    """A second tube runs 3.2 mm beside the first one's extension: beyond the plane, near the axis, not joined."""
    one = make_tube_mesh(lambda z: 1.5e-3, 20e-3, 3, 20, 2)
    n = len(one.points)
    mesh = MeshArrays(
        np.concatenate([one.points, one.points + np.array([3.2e-3, 0, 0])]),
        np.concatenate([one.cells, one.cells + n]),
        np.concatenate([one.facets, one.facets + n]),
        np.concatenate([one.facet_tags, np.where(one.facet_tags > 0, one.facet_tags + 2, 0)]),
    )
    patches = (
        Patch("wall", "wall", 0, 1e-4),
        Patch("inlet", "inlet", 1, 7e-6),
        Patch("A", "outlet", 2, 7e-6),
    )
    vessel = VesselMesh(Path("mesh.h5"), patches)
    ends = (
        End("inlet", "inlet", 1, (0, 0, 0), (0, 0, -1.0), 7.07, 3.0, 0.0),
        End("A", "outlet", 2, (0, 0, 12.0), (0, 0, 1.0), 7.07, 3.0, 8.0),
    )
    mask = extension_nodes(mesh.points * 1e3, mesh, vessel, Anatomy(ends, (), 100.0))
    z = mesh.points[:, 2] * 1e3
    first = np.arange(len(mesh.points)) < n
    assert (mask == (first & (z > 12.0 + 3e-3))).all()
    assert mask.any()
