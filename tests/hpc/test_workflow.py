"""A cohort by the local profile: the labels of the runner without it, and the same ones after ten kills."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.cohort import step
from pipeline.cohort.design import load
from pipeline.cohort.run import ledger
from pipeline.cohort.workflow import Engine, run_workflow

FFR3D = Path(sys.executable).parent / "ffr3d"
pytestmark = pytest.mark.slow


def test_ten_kills_change_no_label(local, design, tmp_path, hashes):
    """SIGKILL at ten moments drawn at random, then to the end: the same hashes, each case once in the ledger."""
    folder, rng = tmp_path / "six", np.random.default_rng(7)
    command = [FFR3D, "cohort", design, "-o", folder, "--profile", "local"]
    for _ in range(10):
        with (tmp_path / "log.txt").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        time.sleep(rng.uniform(2.0, 12.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    done = Counter(row["case"] for row in ledger(folder) if row["event"] == "done")
    assert done == {f"six-{k:05d}": 1 for k in range(6)}
    assert hashes(folder) == local[1]


def test_without_the_engine_the_labels_are_the_same(local, design, tmp_path, command, hashes):
    folder = tmp_path / "six"
    command("cohort", design, "-o", folder, "--count", 2)
    assert hashes(folder).items() <= local[1].items()


def test_a_job_done_before_is_not_done_again(local):
    folder, _ = local
    name = "six-00003"
    before = (folder / "cases" / name / "log.txt").read_text()
    told = step.solve(folder, name)
    assert told.verdict in ("PASS", "WARN")
    assert (folder / "cases" / name / "log.txt").read_text() == before


def test_nothing_is_left_to_do(local, design, command):
    folder, _ = local
    before = len(ledger(folder))
    command("cohort", design, "-o", folder, "--profile", "local")
    assert len(ledger(folder)) == before
    assert json.loads((folder / "plan.json").read_text())["cases"] == []


def test_no_such_profile(engine, design, tmp_path):
    with pytest.raises(InputError, match="local, slurm"):
        run_workflow(load(design), tmp_path / "c", Engine("lsf-of-another-place"))


def test_where_no_case_has_a_label_the_ledger_still_says_why(engine, tmp_path):
    """A data set was asked for, and there is nothing to put into it."""
    (tmp_path / "bad.stl").write_text("solid\nendsolid\n")
    path = tmp_path / "d.yaml"
    path.write_text("name: d\nvessel: {kind: files, paths: ['*.stl']}\n")
    told = run_workflow(load(path), tmp_path / "c", Engine("local", 1, (), "CC-BY-4.0"))
    assert told["verdicts"]["ERROR"] == 1
    assert "bad.stl" in next(iter(told["not_passed"].values()))["reasons"][0]
