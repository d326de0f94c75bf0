"""Two runs side by side: places matched in space, whatever they are called."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshing.errors import InputError
from pipeline import ffr
from pipeline.compare import compare

FFR3D = Path(sys.executable).parent / "ffr3d"


@pytest.fixture(scope="module")
def solved(tube_run, tmp_path_factory):
    """The tube's run with its FFR, to be copied."""
    folder = tmp_path_factory.mktemp("compare") / "run"
    shutil.copytree(tube_run[0], folder)
    ffr.run(folder, tube_run[1])
    return folder


def _changed(solved, folder, offset=0.0, moved=(0, 0, 0), last_mm=np.inf, name="LAD"):
    """A copy with another FFR, elsewhere, cut short, called otherwise."""
    shutil.copytree(solved, folder)
    path = folder / "ffr" / "centerlines.vtp"
    data = pv.PolyData(str(path))
    data.points = np.asarray(data.points) + moved
    data.point_data["ffr"] = np.asarray(data.point_data["ffr"]) - offset
    beyond = np.asarray(data.point_data["abscissa_mm"]) > last_mm
    data.point_data["extension"] = np.where(beyond, 1, data.point_data["extension"]).astype(
        np.uint8
    )
    data.field_data["outlet_names"] = [name]
    data.save(path)
    file = folder / "ffr" / "ffr.json"
    numbers = json.loads(file.read_text())
    for lesion in numbers["lesions"]:
        lesion["name"] = f"{name}-9"
        lesion["centre_mm"] = list(np.asarray(lesion["centre_mm"]) + moved)
        lesion["ffr_distal"] -= offset
    file.write_text(json.dumps(numbers))
    return folder


def test_a_run_against_itself(solved):
    told = compare(solved, solved)
    assert told["largest_difference"] == 0
    assert told["mean_difference"] == 0
    assert [row["beyond_mm"] for row in told["vessels"]] == [0]
    assert told["lesions"][0]["first_stenosis"] == told["lesions"][0]["second_stenosis"]


def test_places_not_names(solved, tmp_path):
    other = _changed(solved, tmp_path / "b", offset=0.03, moved=(0.4, 0.3, 0), name="V1")
    told = compare(solved, other)
    assert told["vessels"][0]["name"] == "LAD"
    assert told["vessels"][0]["difference"] == pytest.approx(-0.03, abs=0.003)
    assert told["lesions"][0]["second_name"] == "V1-9"
    assert told["lesions"][0]["difference"] == pytest.approx(-0.03)
    assert told["mean_difference"] == pytest.approx(0.03, abs=0.005)


def test_a_shorter_tree_is_compared_where_it_ends(solved, tmp_path):
    other = _changed(solved, tmp_path / "b", last_mm=30.0)
    row = compare(solved, other)["vessels"][0]
    assert row["at_mm"] == pytest.approx(30.0, abs=0.8)
    assert row["beyond_mm"] > 5
    assert row["difference"] == pytest.approx(0.0, abs=0.002)


def test_distal_of_a_lesion_where_the_other_run_ends_before_that(solved, tmp_path):
    """At the last common place behind the lesion; where that lies inside the lesion it is not told."""
    lesion = json.loads((solved / "ffr" / "ffr.json").read_text())["lesions"][0]
    end, start = lesion["end_mm"], lesion["distal_window"]["start_mm"]
    assert start - end > 1.0
    other = _changed(solved, tmp_path / "b", offset=0.03, last_mm=0.5 * (end + start))
    assert compare(solved, other)["lesions"][0]["difference"] == pytest.approx(-0.03, abs=0.003)
    short = _changed(solved, tmp_path / "c", offset=0.03, last_mm=end - 1.0)
    row = compare(solved, short)["lesions"][0]
    assert (row["second"], row["difference"]) == (None, None)


def test_a_lesion_the_other_run_does_not_have(solved, tmp_path):
    other = _changed(solved, tmp_path / "b", offset=0.03)
    file = other / "ffr" / "ffr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lesions": []}))
    row = compare(solved, other)["lesions"][0]
    assert row["second_stenosis"] is None
    assert row["difference"] == pytest.approx(-0.03, abs=0.003)


def test_other_vessels_are_none(solved, tmp_path):
    other = _changed(solved, tmp_path / "b", moved=(40, 0, 0))
    with pytest.raises(InputError, match="wanted centrelines within"):
        compare(solved, other)
    with pytest.raises(InputError, match="run folder in which the stages up to ffr have ended"):
        compare(solved, tmp_path)


def test_from_the_command_line(solved, tmp_path):
    other = _changed(solved, tmp_path / "b", offset=0.03, name="V1")
    command = [FFR3D, "compare", solved, other, "--output", tmp_path / "c.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"LAD +│ +0\.\d{4} +│ +0\.\d{4} +│ +-0\.0300", done.stdout), done.stdout
    assert json.loads((tmp_path / "c.json").read_text())["largest_difference"] == pytest.approx(
        0.03
    )
    done = subprocess.run(
        [*command, "--limit", "0.02"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "beyond 0.02" in done.stderr
    done = subprocess.run(
        [FFR3D, "compare", solved, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
