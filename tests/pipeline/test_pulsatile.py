"""A beat through the pipeline: boundary conditions with the steady case's means, numbers, figure, page; bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from meshing.errors import InputError
from pipeline.case import Case
from pipeline.case_file import load
from pipeline.physiology import MMHG, MMHG_S_PER_ML, flow_problem

FFR3D = Path(sys.executable).parent / "ffr3d"
WAVE = [80, 90, 100, 110, 105, 100, 90, 85]
PHANTOM = {"kind": "phantom", "seed": 1, "inlet_diameter_mm": 4.2, "min_diameter_mm": 1.8}


def case_of(**more):
    return Case.model_validate({"input": PHANTOM, "pulsatile": {}, **more})


def set_up(case, anatomy):
    return flow_problem(case, anatomy, Path("mesh.json"))


@pytest.fixture
def anatomy(tube_run):
    """The tube's anatomy: one outlet, LAD."""
    from pipeline.anatomy.types import Anatomy

    return Anatomy.load(tube_run[0] / "anatomy" / "anatomy.json")


@pytest.mark.parametrize("bed", ["coronary", "windkessel", "resistance"])
def test_beds_have_the_means_of_the_steady_case(anatomy, bed):
    steady, _ = set_up(case_of(pulsatile=None), anatomy)
    problem, record = set_up(case_of(physiology={"bed": bed}), anatomy)
    assert problem.outlets["LAD"].kind == bed
    assert problem.outlets["LAD"].steady() == pytest.approx(steady.outlets["LAD"].steady())
    assert problem.inlet.p.mean() == pytest.approx(steady.inlet.p, rel=1e-6)
    assert problem.pulse.period == pytest.approx(60 / 70)
    names = {quantity["name"] for quantity in record["pulse"]["quantities"]}
    assert ("compliance of the beds" in names) == (bed != "resistance")
    json.dumps(record)


def test_sides(anatomy):
    left, right = (
        set_up(case_of(input=PHANTOM | {"tree": side}), anatomy)[0].outlets["LAD"]
        for side in ("left", "right")
    )
    assert left.Cim > right.Cim
    assert max(right.Pim.values) == pytest.approx(0.2 * max(left.Pim.values))
    assert max(left.Pim.values) / MMHG == pytest.approx(110, abs=25)


def test_pressures(anatomy):
    given = case_of(physiology={"systolic_mmHg": 140, "diastolic_mmHg": 80})
    problem, _ = set_up(given, anatomy)
    values = np.array(problem.inlet.p.values) / MMHG
    assert np.ptp(values) == pytest.approx(60)
    assert problem.inlet.p.mean() / MMHG == pytest.approx(80 + 0.4 * 60)
    wave = (90 + 20 * np.sin(2 * np.pi * np.arange(40) / 40)).tolist()
    beat = {"aortic_waveform_mmHg": wave, "heart_rate_per_min": 60}
    problem, record = set_up(case_of(physiology=beat), anatomy)
    assert problem.inlet.p.period == 1.0
    assert problem.inlet.p.mean() / MMHG == pytest.approx(90)
    assert record["quantities"][0]["value"] == pytest.approx(90)
    R = problem.outlets["LAD"].steady()[1] / MMHG_S_PER_ML
    assert pytest.approx(record["outlets"][0]["resistance_mmHg_s_per_mL"]) == R


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("physiology: {heart_rate_per_min: 300}", "heart_rate_per_min"),
        ("physiology: {bed: rcl}", "bed"),
        ("pulsatile: {steps: 3}", "steps"),
        ("pulsatile: {}\ninlet: {kind: flow, flow_mL_per_min: 100}", "inlet.kind: pressure"),
        ("physiology: {aortic_waveform_mmHg: [90, 100]}", "aortic_waveform_mmHg"),
        (f"physiology: {{aortic_waveform_mmHg: {WAVE}, pulse_pressure_mmHg: 30}}", "not both"),
        (f"physiology: {{aortic_waveform_mmHg: {WAVE}, systolic_mmHg: 120}}", "not both"),
    ],
)
def test_bad_input(tmp_path, text, message):
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({"input": PHANTOM}) + text)
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A coarse phantom tree over a beat, and the same steady; without a lesion, whose jet need not repeat itself."""
    folder = tmp_path_factory.mktemp("beat")
    case = {
        "input": PHANTOM | {"side_branches": 1},
        "mesh": {"order": 1, "elements_per_diameter": 3, "elements_across_throat": 4},
        "solver": {"element": "P1-P1", "ranks": 1},
    }  # fmt: skip
    (folder / "steady.yaml").write_text(yaml.safe_dump(case))
    (folder / "beat.yaml").write_text(yaml.safe_dump(case | {"pulsatile": {"steps": 40}}))
    for name, last in (("steady", "ffr"), ("beat", "report")):
        command = [FFR3D, "run", folder / f"{name}.yaml", "-o", folder / name, "--to", last]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return folder


def numbers(folder):
    return json.loads((folder / "ffr" / "ffr.json").read_text())


@pytest.mark.slow
def test_a_beat(run):
    told, steady = numbers(run / "beat"), numbers(run / "steady")
    pulse = told["pulse"]
    assert pulse["periodic"]
    assert pulse["cycles"] <= 3
    assert steady["pulse"] is None
    for vessel, other in zip(told["vessels"], steady["vessels"], strict=True):
        assert vessel["name"] == other["name"]
        assert vessel["ffr"] == pytest.approx(other["ffr"], abs=0.03)
        assert 0.3 < vessel["wave_free_ratio"] <= 1.02
        assert vessel["flow_mL_per_min"] == pytest.approx(
            np.mean(pulse["flow_mL_per_min"][vessel["name"]]), rel=1e-6
        )
    assert min(pulse["diastolic_share"].values()) > 0.6  # diastole is 0.6 of the beat
    failed, before = (
        {check["check"] for check in one["checks"] if not check["passed"]} for one in (told, steady)
    )
    assert failed == before  # the mesh is coarse


@pytest.mark.slow
def test_what_is_written(run):
    import pyvista as pv

    wall = pv.read(run / "beat" / "ffr" / "wall.vtp")
    assert {"tawss_Pa", "osi", "rrt_per_Pa"} <= set(wall.point_data.keys())
    volume = pv.read(run / "beat" / "ffr" / "volume.vtu")
    assert not {"tawss_Pa", "osi"} & set(volume.point_data.keys())
    page = (run / "beat" / "report.html").read_text()
    assert "The beat" in page
    assert "Wave-free ratio" in page
    assert "largest left ventricular pressure" in page
    assert (run / "beat" / "figures" / "beat.png").exists()


@pytest.mark.slow
def test_from_steady_to_a_beat_the_mesh_stays(run):
    told = [json.loads((run / name / "run.json").read_text()) for name in ("steady", "beat")]
    assert (
        told[0]["stages"]["mesh"]["outputs"].keys() == told[1]["stages"]["mesh"]["outputs"].keys()
    )
