"""The whole way, through the command line: a stenosed tube to its report, exact answers, kill and resume."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import yaml

from meshing.generate import generate
from pipeline.anatomy import to_lumen
from pipeline.attempts import Refinement
from pipeline.case_file import load
from pipeline.refine import next_attempt, sizes_of

FFR3D = Path(sys.executable).parent / "ffr3d"
MU, RHO, MMHG = 3.5e-3, 1060.0, 133.322
pytestmark = pytest.mark.slow


def tube(length, radius_of, rings=201, around=48):
    """A closed, flat-ended tube along x [mm]; ``radius_of(x)`` [mm]; vertices on the exact wall."""
    x = np.linspace(0.0, length, rings)
    angle = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    r = radius_of(x)[:, None]
    wall = np.stack(
        [np.broadcast_to(x[:, None], (rings, around)), r * np.cos(angle), r * np.sin(angle)], -1
    ).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    k, last, n = np.arange(around), (rings - 1) * around, rings * around
    sides = [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    caps = [
        np.stack([np.full(around, n), k, (k + 1) % around], -1),
        np.stack([np.full(around, n + 1), last + (k + 1) % around, last + k], -1),
    ]
    centres = np.array([[0.0, 0.0, 0.0], [length, 0.0, 0.0]])
    return pv.PolyData.from_regular_faces(
        np.concatenate([wall, centres]), np.concatenate(sides + caps)
    )


def write_case(folder, surface, **sections):
    surface.save(folder / "lumen.stl")
    data = {"name": "tube", "input": {"kind": "surface", "path": "lumen.stl"}, **sections}
    (folder / "case.yaml").write_text(yaml.safe_dump(data))
    return folder / "case.yaml"


def ffr3d(*arguments):
    result = subprocess.run(
        [FFR3D, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    return result.stdout


def test_poiseuille_at_the_default_setting(tmp_path):
    """Pressure drop within 0.5 %, wall shear within 2 %, flow within 1e-6 of the exact ones."""
    R, Q = 1.5e-3, 2.0e-6
    case = write_case(
        tmp_path,
        tube(24.0, lambda x: np.full_like(x, 1.5)),
        anatomy={"inlet": [0.0, 0.0, 0.0]},
        inlet={"kind": "flow", "flow_mL_per_min": Q * 6e7},
    )
    ffr3d("run", case, "-o", tmp_path / "run")
    flow = json.loads((tmp_path / "run/solve/flow.json").read_text())
    assert -flow["patches"]["inlet"]["Q"] == pytest.approx(Q, rel=1e-6)
    assert flow["mass_balance"] < 1e-6

    line: Any = pv.read(tmp_path / "run/ffr/centerlines.vtp")
    inside = (line["abscissa_mm"] > 3) & (line["abscissa_mm"] < 21)
    slope = np.polyfit(line["abscissa_mm"][inside], line["pressure_mmHg"][inside], 1)[0]
    exact = -8 * MU * Q / (np.pi * R**4)  # Pa/m
    assert slope * MMHG * 1e3 == pytest.approx(exact, rel=5e-3)

    wall: Any = pv.read(tmp_path / "run/ffr/wall.vtp")
    x = wall.points[:, 0] if np.ptp(wall.points[:, 0]) > 1 else wall.points[:, 0] * 1e3
    shear = np.linalg.norm(wall["wall_shear_stress_Pa"].reshape(len(x), -1), axis=1)
    middle = (x > 6) & (x < 18)
    assert np.mean(shear[middle]) == pytest.approx(4 * MU * Q / (np.pi * R**3), rel=2e-2)


@pytest.fixture(scope="module")
def stenosed(tmp_path_factory):
    """A tube with a 50 % stenosis, preview quality, run once."""
    folder = tmp_path_factory.mktemp("stenosed")

    def radius(x):
        return 1.5 * (1 - 0.25 * (1 + np.cos(np.pi * np.clip((x - 15) / 5, -1, 1))))

    case = write_case(
        folder,
        tube(30.0, radius),
        anatomy={"inlet": [0.0, 0.0, 0.0]},
        mesh={"order": 1, "elements_per_diameter": 6},
        solver={"element": "P1-P1", "ranks": 1},
        physiology={"resting": {"flow_mL_per_min": 40}},
    )
    out = ffr3d("run", case, "-o", folder / "run")
    return case, folder / "run", out


def test_every_output_is_there_and_the_table_is_printed(stenosed):
    _, run, out = stenosed
    for name in (
        "ffr/ffr.json",
        "ffr/volume.vtu",
        "ffr/wall.vtp",
        "report.html",
        "run.json",
        "case.yaml",
    ):
        assert (run / name).stat().st_size > 0
    assert "FFR" in out
    assert str(run / "report.html") in out
    assert "Not a medical device" in out


def test_the_lesion_is_found_and_drops_the_pressure(stenosed):
    _, run, _ = stenosed
    lesions = json.loads((run / "anatomy/anatomy.json").read_text())["lesions"]
    assert len(lesions) == 1
    assert lesions[0]["diameter_stenosis"] == pytest.approx(0.50, abs=0.03)
    line: Any = pv.read(run / "ffr/centerlines.vtp")
    x, ffr = line["abscissa_mm"], line["ffr"]
    before, after = np.nanmean(ffr[(x > 2) & (x < 8)]), np.nanmean(ffr[(x > 24) & (x < 28)])
    assert before == pytest.approx(1.0, abs=0.03)
    assert after < before - 0.01


def test_a_second_run_computes_nothing(stenosed):
    case, run, _ = stenosed
    before = (run / "run.json").read_text()
    out = ffr3d("run", case, "-o", run)
    assert out.count("unchanged, skipped") == 7
    assert json.loads((run / "run.json").read_text())["stages"] == json.loads(before)["stages"]


def test_the_certificate_has_a_coarser_mesh_behind_it(stenosed):
    """Its error is not small by chance: the coarser mesh is self-similar, and its flow converged."""
    _, run, _ = stenosed
    told = json.loads((run / "certify" / "certificate.json").read_text())
    fine, coarse = told["discretisation"]["levels"]
    assert coarse["error"] is None
    assert coarse["status"] == "converged"
    ratio = (fine["cells"] / coarse["cells"]) ** (1 / 3)
    assert 1.15 < ratio < 1.7
    vessels = [one for name, one in told["discretisation"]["ffr"].items() if "vessel" in name]
    assert vessels
    assert all(0 < one["error"] < 0.2 for one in vessels)
    for name in (
        "anatomy/anatomy.json",
        "mesh/mesh.json",
        "solve/flow.json",
        "ffr/centerlines.vtp",
    ):
        assert (run / "certify" / coarse["folder"] / name).exists()
    assert not (run / "certify" / coarse["folder"] / "ffr" / "volume.vtu").exists()


@pytest.mark.parametrize("stage", ["mesh", "solve", "ffr", "certify"])
def test_kill_anywhere_run_again_same_answer(stenosed, tmp_path, stage):
    case, reference, _ = stenosed
    run = tmp_path / "run"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [FFR3D, "run", str(case), "-o", str(run)], stdout=log, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while f"{stage:8s} started" not in (tmp_path / "log").read_text():
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "report.html").exists()
    out = ffr3d("run", case, "-o", run)
    assert "surface  unchanged, skipped" in out
    vessels = [json.loads((r / "ffr/ffr.json").read_text())["vessels"] for r in (run, reference)]
    assert vessels[0] == vessels[1]


def test_no_mesh_is_told_with_place_and_picture_and_a_good_run_removes_it(tmp_path):
    """A criterion that no mesh meets: exit status 1, one message, the place drawn in red; then a run that works."""
    case = write_case(tmp_path, tube(9.0, lambda x: np.full_like(x, 1.5), rings=19, around=16))
    run, coarse = tmp_path / "run", ("--set", "mesh.elements_per_diameter=3")
    command = [FFR3D, "run", case, "-o", run, "--to", "mesh", *coarse]
    strict = [*command, "--set", "mesh.min_dihedral_deg=65"]
    failed = subprocess.run(strict, capture_output=True, text=True, check=False)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert failed.stderr.count("ffr3d: error:") == 1
    (place,) = re.findall(r"place: \((.+), (.+), (.+)\) mm", failed.stderr)
    at = np.array([float(value) for value in place])
    assert -20 < at[0] < 29  # flow extensions included
    assert np.hypot(at[1], at[2]) < 1.6
    assert "remedy: " in failed.stderr
    picture = run / "mesh" / "fault.png"
    assert str(picture) in failed.stderr
    pixels = np.asarray(pv.read(picture).point_data.active_scalars, dtype=int)
    red = (pixels[:, 0] > 140) & (pixels[:, 1] < 110) & (pixels[:, 2] < 140)
    blue = (pixels[:, 2] > pixels[:, 0] + 10) & (pixels[:, 0] < 250)
    assert red.sum() > 500
    assert blue.sum() > 5000  # the surface around it
    ffr3d(*command[1:])
    assert not picture.exists()


def test_the_same_input_gives_the_same_mesh_bit_by_bit(tmp_path):
    """A tree with a lesion and boundary layers, from surface to mesh, twice, with one thread and with three."""
    lesion = {"branch": "RCA", "position": 0.5, "diameter_reduction": 0.6, "length_mm": 10}
    phantom = {"kind": "phantom", "tree": "right", "side_branches": 0, "stenoses": [lesion]}
    mesh = {"elements_per_diameter": 3, "elements_across_throat": 4, "boundary_layers": 2}
    case = tmp_path / "case.yaml"
    case.write_text(yaml.safe_dump({"name": "right", "input": phantom, "mesh": mesh}))
    digests = []
    for threads in ("1", "3"):
        run = tmp_path / threads
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [FFR3D, "run", case, "-o", run, "--to", "mesh"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        files = ("surface/lumen.vtp", "anatomy/vessel.vtp", "mesh/mesh.h5", "mesh/mesh.json")
        digests.append([hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files])
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """The case of a tube with a 60 % stenosis on coarse linear elements, and its surface."""
    folder = tmp_path_factory.mktemp("coarse")

    def radius(x):
        return 1.5 * (1 - 0.3 * (1 + np.cos(np.pi * np.clip((x - 12) / 4, -1, 1))))

    return write_case(
        folder,
        tube(28.0, radius),
        anatomy={"inlet": [0.0, 0.0, 0.0]},
        mesh={"elements_per_diameter": 3, "elements_across_throat": 3, "jet_growth": 0.1},
        solver={"element": "P1-P1", "ranks": 1},
        physiology={"resting": {"flow_mL_per_min": 30}},
    )


def test_a_mesh_adapted_to_the_solution_before(coarse, tmp_path):
    chosen = ("adapt.when=always", "adapt.growth=3", "adapt.rounds=1")
    settings = tuple(word for one in chosen for word in ("--set", one))
    run = tmp_path / "run"
    ffr3d("run", coarse, "-o", run, *settings, "--to", "ffr")
    (attempt,) = json.loads((run / "run.json").read_text())["refinement"]["attempts"]
    assert (attempt["factor"], attempt["sizes"]) == (1.0, "adapt/sizes_1.npz")
    cells = json.loads((run / "solve/flow.json").read_text())["cells"]
    assert cells == pytest.approx(3 * attempt["cells"], rel=0.4)
    notes = json.loads((run / "ffr/ffr.json").read_text())["notes"]
    assert any("adapted to the state there" in note for note in notes)
    assert "the search began with given fields" in notes
    out = ffr3d("run", coarse, "-o", run, *settings, "--to", "certify")
    assert out.count("unchanged, skipped") == 5
    told = json.loads((run / "certify" / "certificate.json").read_text())
    fine, other = told["discretisation"]["levels"]  # the adapted sizes, scaled
    assert other["error"] is None
    assert other["cells"] == pytest.approx(fine["cells"] / 1.5**3, rel=0.4)


def test_a_stuck_run_goes_back_for_a_finer_throat(coarse, tmp_path):
    """The end of the branch is made up; what follows from it is not."""
    run = tmp_path / "run"
    ffr3d("run", coarse, "-o", run, "--set", "adapt.when=never", "--to", "solve")
    flow = json.loads((run / "solve/flow.json").read_text())
    end = {
        "factor": 1.3,
        "outflow": {name: p["Q"] for name, p in flow["patches"].items() if name != flow["inlet"]},
        "cells": flow["cells"],
        "steps": 9,
        "seconds": 1.0,
        "peak_memory_GiB": 0.5,
    }
    (run / "solve/branch_end.json").write_text(json.dumps(end))
    attempt = next_attempt(run, load(coarse), Refinement())
    assert attempt.throats == (0.5,)
    (before,) = json.loads((run / "mesh/mesh.json").read_text())["quality"]["throats"]
    sizes = sizes_of(run, Refinement(attempts=[attempt]))
    mesh = generate(to_lumen(run / "anatomy"), load(coarse).mesh, tmp_path / "finer", sizes=sizes)
    (after,) = mesh.quality["throats"]
    assert after["across"] > 1.6 * before["across"]
    assert mesh.quality["cells"] > 1.3 * flow["cells"]
