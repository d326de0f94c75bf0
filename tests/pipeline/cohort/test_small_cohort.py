"""Eight trees from the design to the comparison, by the commands a user types; killed in the middle of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cohort.design import identifiers, load
from pipeline.cohort.run import ledger
from pipeline.labels.write import read_index

FFR3D = Path(sys.executable).parent / "ffr3d"
DESIGN = """
name: small
count: 8
seed: 5
vessel: {kind: phantom, inlet_diameter_mm: [3.0, 3.6], side_branches: [0, 0], lesions: [0, 1],
         diameter_reduction: [0.3, 0.45], length_mm: [6, 10]}
splits: {train: 0.6, validation: 0.0, test: 0.4}
case: {mesh: {elements_per_diameter: 3, elements_across_throat: 5, jet_growth: 0.06}}
"""
pytestmark = pytest.mark.slow


def ffr3d(*arguments):
    done = subprocess.run(
        [FFR3D, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The finished cohort, and when it was killed: what was done by then."""
    root = tmp_path_factory.mktemp("small")
    path, folder = root / "design.yaml", root / "cohort"
    path.write_text(DESIGN)
    process = subprocess.Popen(
        [FFR3D, "cohort", path, "-o", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 600
    while sum(row["event"] != "started" for row in ledger(folder)) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = [row["case"] for row in ledger(folder) if row["event"] == "done"]
    ffr3d("cohort", path, "-o", folder)
    return folder, before


@pytest.fixture(scope="module")
def labels(cohort):
    folder, _ = cohort
    ffr3d("labels", "export", folder)
    return folder / "labels"


def test_every_tree_ends_well_and_none_is_computed_twice(cohort):
    folder, before = cohort
    told = json.loads((folder / "summary.json").read_text())
    assert told["usable"] == 1.0, told["not_passed"]
    done = [row["case"] for row in ledger(folder) if row["event"] == "done"]
    assert sorted(done) == identifiers(load(folder / "design.yaml"))
    assert len(before) >= 2
    assert told["labels_per_hour"] > 0


def test_the_data_set_is_sound_and_says_so(labels):
    assert "sound" in ffr3d("labels", "verify", labels, "--again", "1")
    rows = read_index(labels)
    assert len(rows) == 8
    splits = {row["split"] for row in rows}
    assert splits == {"train", "test"}


def test_formulas_and_a_fitted_model_against_trees_not_seen(labels):
    """Six trees teach little; enough to lose about what the reference loses."""
    ffr3d("fit", labels, "--epochs", "60", "--folds", "3")
    own = labels / "own.yaml"
    own.write_text("physiology: {mean_aortic_pressure_mmHg: 93}\n")
    ffr3d("compare", labels, "--model", "network", "--own-conditions", own)
    ffr3d("compare", labels, "--model", labels / "models" / "fitted.safetensors")
    network, fitted = (
        json.loads((labels / "comparisons" / name / "comparison.json").read_text())
        for name in ("network", "fitted")
    )
    assert fitted["fitted_to"] == []
    assert fitted["vessels"]["mae"] < network["vessels"]["mae"]
    assert fitted["vessels"]["mae"] < 0.02
    assert fitted["vessels"]["spread"]["n"] == fitted["vessels"]["n"]
    assert network["conditions"]["vessels"]["both"]["n"] == network["vessels"]["n"]
    page = (labels / "comparisons" / "fitted" / "comparison.html").read_text()
    assert page.count("data:image/png") >= 1
