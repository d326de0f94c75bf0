"""Jobs of a workflow: what becomes of a case is in its file; jobs on one case wait for each other."""

import json
import subprocess
import sys
import threading
import time

import pytest
import yaml

from meshing.errors import InputError
from pipeline.case import Case
from pipeline.case_file import dump
from pipeline.cohort import step
from pipeline.cohort.design import Design
from pipeline.cohort.one import CERTIFICATE
from pipeline.cohort.workflow import Engine, run_workflow
from pipeline.manifest import sha256

workflow = sys.modules["pipeline.cohort.workflow"]


@pytest.fixture
def cohort(tmp_path):
    """A cohort's folder with one case that cannot be meshed: its lumen is not there."""
    (tmp_path / "cases").mkdir()
    told = {"name": "a", "input": {"kind": "surface", "path": "/nowhere/x.stl"}}
    (tmp_path / "cases" / "a.yaml").write_text(dump(Case.model_validate(told)))
    return tmp_path


def test_what_ends_without_a_result_says_why(cohort):
    job = [sys.executable, "-m", "pipeline.cohort.step"]
    subprocess.run([*job, "mesh", "a"], cwd=cohort, check=True)
    told = step.read(cohort / "meshes" / "a.json")
    assert told is not None
    assert told["status"] == 2
    assert told["cells"] == 0
    log = (cohort / "cases" / "a" / "log.txt").read_text()
    assert "x.stl" in log
    subprocess.run([*job, "solve", "a"], cwd=cohort, check=True)
    row = step.read(cohort / "outcomes" / "a.json")
    assert row is not None
    assert row["verdict"] == "ERROR"
    assert "x.stl" in row["reasons"][0]
    assert row["seconds"] == told["seconds"] > 0.0  # of all its jobs
    assert (
        cohort / "cases" / "a" / "log.txt"
    ).read_text() == log  # what has no mesh is not tried again
    assert step.told(row).case == "a"


def test_jobs_on_one_case_wait(cohort, monkeypatch):
    order = []

    def slow(folder, name, stop, ranks=None):
        order.append("begin")
        time.sleep(0.3)
        order.append("end")
        return 1, 0.3

    monkeypatch.setattr(step, "_here", slow)
    (cohort / "cases" / "a").mkdir()
    (cohort / "cases" / "a" / "log.txt").write_text("")
    jobs = [threading.Thread(target=step.mesh, args=(cohort, "a")) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert order == ["begin", "end", "begin", "end"]


@pytest.mark.parametrize(("ranks", "wanted"), [(None, "solver.ranks=3"), (2, None)])
def test_a_job_brings_its_ranks_to_a_case_that_leaves_them_open(cohort, monkeypatch, ranks, wanted):
    path = cohort / "cases" / "a.yaml"
    told = yaml.safe_load(path.read_text())
    told["solver"]["ranks"] = ranks
    path.write_text(yaml.safe_dump(told))
    seen = []
    monkeypatch.setattr("pipeline.cli.main", lambda: seen.append(list(sys.argv)))
    step.solve(cohort, "a", 3)
    assert (wanted in seen[0]) if wanted else ("--set" not in seen[0])


def test_only_what_ended_well_for_this_very_case_stays(cohort):
    """An outcome of an edited case, without a certificate or without a result is no outcome."""
    path, certificate = cohort / "outcomes" / "a.json", cohort / "cases" / "a" / CERTIFICATE
    path.parent.mkdir()
    certificate.parent.mkdir(parents=True)
    digest = sha256(cohort / "cases" / "a.yaml")
    for verdict, given, certified, stays in (
        ("PASS", digest, True, True),
        ("PASS", "of another", True, False),
        ("PASS", digest, False, False),
        ("ERROR", digest, True, False),
    ):
        path.write_text(json.dumps({"verdict": verdict, "hash": given}))
        certificate.unlink(missing_ok=True)
        if certified:
            certificate.write_text("{}")
        workflow._forget(cohort, "a")
        assert path.is_file() == stays


def test_no_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "HOME", tmp_path)
    monkeypatch.setattr(workflow.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="make hpc"):
        run_workflow(
            Design.model_validate({"name": "d", "count": 1}), tmp_path / "c", Engine("local")
        )
