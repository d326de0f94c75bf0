"""A beat through the pipeline: boundary conditions with the steady case's means, numbers, figure, page; bad input."""

import json
import shutil
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
        (f"inlet: {{flow_waveform_mL_per_min: {WAVE}}}", "goes with kind: flow"),
        ("inlet: {kind: flow}", "goes with kind: flow"),
        (f"inlet: {{kind: flow, flow_mL_per_min: 9, flow_waveform_mL_per_min: {WAVE}}}", "kind"),
        (
            "inlet: {kind: flow, flow_waveform_mL_per_min: [-1, 0, 0, 0, 0, 0, 0, 0]}",
            "mean above 0",
        ),
        ("inlet: {kind: flow, flow_waveform_mL_per_min: none.csv}", "inlet.flow_waveform.*no such"),
        ("physiology: {outlets: {LAD: {flow_mL_per_min: 9, share: 0.4}}}", "not both"),
        ("physiology: {outlets: {LAD: {share: 0.7}, LCx: {share: 0.4}}}", "add up to 1.1"),
        ("physiology: {outlets: {LAD: {flow_waveform_mL_per_min: {mean: 9}}}}", "LAD.flow_wave"),
        ("physiology: {target_flow_mL_per_min: 9, outlets: {LAD: {flow_mL_per_min: 9}}}", "shares"),
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


def test_flows_given(anatomy, tmp_path):
    """Through the inlet and an outlet, as values, constants and coefficients; steady, their means."""
    wave = {"flow_waveform_mL_per_min": WAVE}
    problem, _ = set_up(case_of(inlet={"kind": "flow", **wave}), anatomy)
    assert problem.inlet.kind == "flow"
    assert problem.inlet.Q.period == pytest.approx(60 / 70)
    assert problem.inlet.Q.mean() == pytest.approx(np.mean(WAVE) * 1e-6 / 60)
    assert problem.outlets["LAD"].kind == "coronary"  # it beats all the same
    problem, _ = set_up(case_of(inlet={"kind": "flow", **wave}, pulsatile=None), anatomy)
    assert pytest.approx(np.mean(WAVE) * 1e-6 / 60) == problem.inlet.Q
    problem, record = set_up(case_of(physiology={"outlets": {"LAD": wave}}), anatomy)
    assert problem.inlet.kind == "pressure"
    assert problem.outlets["LAD"].Q.values == pytest.approx(np.array(WAVE) * 1e-6 / 60)
    assert record["outlets"][0]["override"] == "flow_waveform_mL_per_min"
    assert record["outlets"][0]["resistance_mmHg_s_per_mL"] is None
    given = {"outlets": {"LAD": {"flow_mL_per_min": 60}}}
    problem, _ = set_up(case_of(physiology=given), anatomy)
    assert pytest.approx(1e-6) == problem.outlets["LAD"].Q
    with pytest.raises(InputError, match="something must say what the pressure is"):
        set_up(case_of(physiology=given, inlet={"kind": "flow", "flow_mL_per_min": 60}), anatomy)
    path = tmp_path / "case.yaml"
    coefficients = {"flow_waveform_mL_per_min": {"mean": 90, "cos": [-9], "sin": [4]}}
    text = {"input": PHANTOM, "physiology": {"outlets": {"LAD": coefficients}}}
    path.write_text(yaml.safe_dump(text))
    assert load(path).physiology.outlets["LAD"].flow == pytest.approx(90)


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
def test_a_beat_of_given_flows(run):
    """A measured flow in and another through one outlet: both are met, the other outlets share what is left."""
    folder = run / "flows"
    shutil.copytree(run / "steady", folder)
    case = yaml.safe_load((run / "steady.yaml").read_text())
    times = np.arange(32) / 32
    into = (150 + 60 * np.sin(2 * np.pi * times)).tolist()
    through = (40 - 15 * np.cos(2 * np.pi * times)).tolist()
    case |= {
        "inlet": {"kind": "flow", "flow_waveform_mL_per_min": into},
        "physiology": {"outlets": {"LCx": {"flow_waveform_mL_per_min": through}}},
        "pulsatile": {"steps": 80},
    }
    (run / "flows.yaml").write_text(yaml.safe_dump(case))
    command = [FFR3D, "run", run / "flows.yaml", "-o", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    told = numbers(folder)
    assert told["pulse"]["periodic"]
    flow = {name: np.array(Q) for name, Q in told["pulse"]["flow_mL_per_min"].items()}
    ends = {vessel["name"] for vessel in told["vessels"]}
    inlet = flow[next(name for name in flow if name not in ends)]
    at = np.array(told["pulse"]["times_s"]) / told["pulse"]["period_s"]
    assert inlet == pytest.approx(150 + 60 * np.sin(2 * np.pi * at), abs=0.5)
    error = flow["LCx"] - (40 - 15 * np.cos(2 * np.pi * at))
    assert np.abs(error).max() < 1.0  # of second order in the step
    others = sum(flow[name] for name in ends - {"LCx"})
    assert others == pytest.approx(inlet - flow["LCx"], abs=0.5)
    lcx = next(vessel for vessel in told["vessels"] if vessel["name"] == "LCx")
    assert lcx["outlet_flow_error"] == pytest.approx(np.sqrt(np.mean(error**2)) / 40, rel=1e-3)
    assert any("flow given" in check["check"] for check in told["checks"])
    assert lcx["outlet_resistance_mmHg_s_per_mL"] is None
    assert "flow_waveform_mL_per_min" in (folder / "report.html").read_text()


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
