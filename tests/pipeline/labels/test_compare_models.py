"""A model, and numbers from a file, against a data set: pairs, page, and bad files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.compare.models import compare_models
from pipeline.compare.predictions import from_file, from_vtp
from pipeline.fast.vessel import read

FFR3D = Path(sys.executable).parent / "ffr3d"
CASES = [f"d-{k:05d}" for k in range(3)]


def test_the_network_against_the_labels(written, tmp_path):
    dataset, _ = written
    told = compare_models(dataset, "network", split=None, output=tmp_path / "out")
    assert told["cases"] == 3
    assert told["vessels"]["n"] == 3
    assert told["lesions"]["n"] == 3
    assert told["points"]["n"] > 100
    assert -1 < told["vessels"]["bias"] < 1
    assert 0 < told["seconds_per_case"] < 5
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == told
    assert len((tmp_path / "out" / "pairs.csv").read_text().splitlines()) == 7
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count("<svg") == 3
    assert re.search(r'(src|href)="https?:', page) is None  # nothing is fetched
    assert "ICC(A,1)" in page


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_numbers_from_a_file(written, tmp_path, kind):
    dataset, _ = written
    path = tmp_path / f"mine.{kind}"
    if kind == "csv":
        lines = [f"{case},LAD,0.79,0.02,1.5" for case in CASES[:2]]
        path.write_text("case,name,ffr,std,seconds\n" + "\n".join(lines) + "\n")
    else:
        path.write_text(json.dumps({case: {"LAD": 0.79} for case in CASES[:2]}))
    told = compare_models(dataset, str(path), split=None)
    assert told["missing"] == CASES[2:]
    assert told["vessels"]["n"] == 2
    assert told["vessels"]["flips"] == 2  # the labels are above 0.80
    assert told["seconds_per_case"] == (1.5 if kind == "csv" else 0.0)
    assert {row["other"] for row in told["worst"]} == {0.79}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "case,ffr\nx,0.8\n", "no column name"),
        ("a.csv", "case,name,ffr\nx,LAD,high\n", "line 2"),
        ("a.csv", "case,name,ffr,std\nx,LAD,0.8,wide\n", "line 2: std"),
        ("a.csv", "case,name,ffr,conditions\nx,LAD,0.8,mine\n", "line 2: conditions"),
        ("a.json", "[1, 2]", "predictions"),
        ("a.json", "{", "predictions"),
        ("none.csv", None, "predictions"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        from_file(tmp_path / name)


def test_no_such_model_split_or_case(written, tmp_path):
    dataset, _ = written
    with pytest.raises(InputError, match="one of network"):
        compare_models(dataset, "oracle", split=None)
    with pytest.raises(InputError, match="a split with cases"):
        compare_models(dataset, "network", split="holiday")
    (tmp_path / "other.json").write_text('{"x": {"LAD": 0.8}}')
    with pytest.raises(InputError, match="none of them"):
        compare_models(dataset, str(tmp_path / "other.json"), split=None)


def test_from_the_command_line(written, tmp_path):
    command = [FFR3D, "compare", written[0], "--model", "network", "--split", "all", "-o", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "vessel ends" in done.stdout
    assert (tmp_path / "comparison.html").exists()
    done = subprocess.run(
        [*command, "--limit", "1e-9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    done = subprocess.run(
        [FFR3D, "compare", written[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--model" in done.stderr


def test_model_error_and_conditions_are_told_apart(written, tmp_path):
    """Of a file with both: what the model does, what its conditions do, and their sum, to the last digit."""
    dataset, _ = written
    path = tmp_path / "mine.csv"
    rows = ["case,name,ffr,conditions"]
    for case in CASES:
        rows += [f"{case},LAD,0.90,same", f"{case},LAD,0.70,own"]
    path.write_text("\n".join(rows) + "\n")
    told = compare_models(dataset, str(path), split=None, output=tmp_path / "out")["conditions"]
    ends = told["vessels"]
    assert ends["conditions"]["bias"] == pytest.approx(-0.20)
    total = ends["model"]["bias"] + ends["conditions"]["bias"]
    assert ends["both"]["bias"] == pytest.approx(total)
    assert ends["conditions"]["flips"] == 3
    assert told["own"] == "those in the file"
    assert 'id="conditions"' in (tmp_path / "out" / "comparison.html").read_text()


def test_the_network_under_assumed_conditions(written, tmp_path):
    """More flow, less FFR; what the reference's conditions give is as without."""
    dataset, _ = written
    own = tmp_path / "own.yaml"
    own.write_text("physiology: {resting: {flow_mL_per_min: 400}}\n")
    plain = compare_models(dataset, "network", split=None)
    told = compare_models(dataset, "network", split=None, assumptions=own)
    assert told["vessels"]["bias"] == plain["vessels"]["bias"]
    assert plain["conditions"] is None
    assert told["conditions"]["vessels"]["conditions"]["bias"] < -0.01
    with pytest.raises(InputError, match="a fast model to run"):
        compare_models(dataset, "x.csv", split=None, assumptions=own)


@pytest.mark.parametrize("name", ["pressure_mmHg", "ffr"])
def test_predictions_along_centrelines(written, tmp_path, name):
    """The labels' own pressures, handed in on other points of the same lines, are found again."""
    import pyvista as pv

    dataset, _ = written
    for case in CASES[:2]:
        vessel, answers = read(dataset / "cases" / f"{case}.h5")
        line = vessel.lines["LAD"]
        s = np.linspace(line.abscissa_mm[0], line.abscissa_mm[-1], 777)
        points = np.column_stack(
            [np.interp(s, line.abscissa_mm, line.points_mm[:, k]) for k in range(3)]
        )
        p = np.interp(s, line.abscissa_mm, answers["pressure_mmHg"]["LAD"])
        data = pv.PolyData(points)
        data.point_data[name] = p if name == "pressure_mmHg" else p / answers["Pa_mmHg"]
        data.save(tmp_path / f"{case}.vtp")
    told = compare_models(dataset, str(tmp_path), split=None)
    assert told["missing"] == CASES[2:]
    assert told["vessels"]["n"] == 2
    assert told["lesions"]["n"] == 2
    assert told["points"]["mae"] < 1e-3
    assert told["vessels"]["mae"] < 1e-3
    assert told["lesions"]["mae"] < 5e-3


def test_points_elsewhere_are_no_prediction(written, tmp_path):
    import pyvista as pv

    vessel, _ = read(written[0] / "cases" / f"{CASES[0]}.h5")
    far = pv.PolyData(vessel.lines["LAD"].points_mm + np.array([0.0, 20.0, 0.0]))
    far.point_data["pressure_mmHg"] = np.full(far.n_points, 80.0)
    path = tmp_path / f"{CASES[0]}.vtp"
    far.save(path)
    assert from_vtp(path, vessel) is None
    far.point_data.clear()
    far.save(path)
    with pytest.raises(InputError, match="pressure_mmHg"):
        from_vtp(path, vessel)
