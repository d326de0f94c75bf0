"""Resistances found for a wanted flow, with the tree in the loop: three phantom trees with lesions and a real one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FFR3D = Path(sys.executable).parent / "ffr3d"
COARSE = {
    "mesh": {"order": 1, "elements_per_diameter": 3, "elements_across_throat": 4},
    "solver": {"element": "P1-P1", "ranks": 1},
}
PRESSURE = 93.0
pytestmark = [pytest.mark.verify, pytest.mark.timeout(3600)]


def lesion(branch, reduction, position=0.35):
    return {
        "branch": branch,
        "position": position,
        "diameter_reduction": reduction,
        "length_mm": 10,
    }


@pytest.mark.parametrize(
    ("tree", "flow"),
    [
        ({"seed": 1, "stenoses": [lesion("LAD", 0.6)]}, 180.0),
        ({"seed": 2, "stenoses": [lesion("LCx", 0.5), lesion("LAD", 0.45)]}, 260.0),
        ({"seed": 5, "tree": "right", "stenoses": [lesion("RCA", 0.55)]}, 150.0),
    ],
)
def test_phantoms(tmp_path, measured, tree, flow):
    check(tmp_path, measured, {"input": {"kind": "phantom", **tree}}, flow)


def test_the_left_coronary(tmp_path, measured, shared):
    """Untuned 168 mL/min; from about 230 on the branches behind its 84 % lesion cannot carry their part."""
    assert shared.is_dir()
    case = yaml.safe_load((ROOT / "configs" / "left_coronary.yaml").read_text())
    source = case["input"]
    source["path"] = str((ROOT / "configs" / source["path"]).resolve())
    source["caps"] = {
        name: str((ROOT / "configs" / path).resolve()) for name, path in source["caps"].items()
    }
    check(tmp_path, measured, case, 190.0)


def check(folder, measured, case, flow):
    """Flow and aortic pressure within 1 %, in at most three solves."""
    case = {**case, **COARSE}
    case["physiology"] = {"mean_aortic_pressure_mmHg": PRESSURE, "target_flow_mL_per_min": flow}
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    command = [FFR3D, "run", folder / "case.yaml", "-o", folder / "run", "--to", "ffr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    ffr = json.loads((folder / "run" / "ffr" / "ffr.json").read_text())
    told = json.loads((folder / "run" / "solve" / "physiology.json").read_text())["tuning"]
    assert measured("solves", len(told["runs"]), "<= 3") <= 3
    off = abs(ffr["inlet"]["flow_mL_per_min"] / flow - 1)
    assert measured("error of the flow", off, "<= 0.01") <= 0.01
    pressure = ffr["reference"]["Pa_mmHg"]
    off = abs(pressure / PRESSURE - 1)
    assert measured("error of the mean pressure", off, "<= 0.01") <= 0.01
