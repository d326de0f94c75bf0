"""The command line as a user meets it: a process, its output, its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.case_file import load

FFR3D = Path(sys.executable).parent / "ffr3d"


def ffr3d(*arguments, cwd):
    return subprocess.run(
        [FFR3D, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "verb", ["run", "check", "schema", "phantom", "mesh", "mesh-series", "report"]
)
def test_every_verb_explains_itself(verb, tmp_path):
    result = ffr3d(verb, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "Usage: ffr3d" in result.stdout


def test_help_and_check_load_no_heavy_package(tmp_path):
    (tmp_path / "c.yaml").write_text("input: {kind: phantom}\n")
    program = (
        "import sys; from pipeline.cli import app\n"
        "for line in (['--help'], ['check', 'c.yaml']):\n"
        "    try: app(line)\n"
        "    except SystemExit as end: assert end.code in (0, None), end.code\n"
        "heavy = {'vtk', 'vtkmodules', 'gmsh', 'dolfinx', 'torch', 'pyvista', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)


def test_schema_is_json_and_names_the_units(tmp_path):
    result = ffr3d("schema", cwd=tmp_path)
    properties = json.loads(result.stdout)["$defs"]["Physiology"]["properties"]
    assert "mean_aortic_pressure_mmHg" in properties


def test_version(tmp_path):
    assert ffr3d("--version", cwd=tmp_path).stdout.startswith("ffr3d 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "absent.yaml"),
        ("check", "bad.yaml"),
        ("check", "good.yaml", "--set", "mesh.order=3"),
        ("run", "good.yaml", "--from", "nowhere"),
        ("phantom", "surface.yaml", "-o", "out"),
        ("mesh-series", "good.yaml", "--levels", "1"),
        ("nonsense",),
    ],
)
def test_bad_input_is_one_message_and_exit_status_2(arguments, tmp_path):
    (tmp_path / "good.yaml").write_text("input: {kind: phantom}\n")
    (tmp_path / "bad.yaml").write_text("input: {kind: phantom, sed: 3}\n")
    (tmp_path / "x.stl").write_text("solid x\nendsolid x\n")
    (tmp_path / "surface.yaml").write_text("input: {kind: surface, path: x.stl}\n")
    result = ffr3d(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "rror" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_a_preview_has_a_folder_of_its_own_and_gives_way_to_what_is_set(tmp_path):
    """Its choices are in the stored case, but for the one set beside it."""
    (tmp_path / "v.yaml").write_text("name: v\ninput: {kind: phantom, side_branches: 0}\n")
    told = ("--preview", "--set", "mesh.elements_per_diameter=4", "--to", "surface")
    result = ffr3d("run", "v.yaml", *told, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    case = load(tmp_path / "runs" / "v-preview" / "case.yaml")
    assert case.solver.steady.least_viscosity == 1.5
    assert case.mesh.elements_per_diameter == 4
    assert case.mesh.elements_across_throat == 4
