"""The same cohort through a real Slurm, disturbed: nothing is lost, nothing done twice, the labels are the same."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.cohort.run import ledger

ROOT = Path(__file__).parents[2]
FFR3D = Path(sys.executable).parent / "ffr3d"
pytestmark = pytest.mark.slow


def wait(ready, what, seconds=240.0):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def resumed(slurm):
    """Take the node back; refused while it is just coming back to a new controller, or where it is back already."""
    state = slurm.node("n2").lower()
    if state and "drain" not in state:
        return True
    try:
        slurm.call("scontrol", "update", "NodeName=n2", "State=RESUME")
    except RuntimeError as error:
        print(f"{state}: {error}")  # noqa: T201 - told if the test fails
    return False


@pytest.fixture(scope="module")
def disturbed(slurm, quick_slurm, design, tmp_path_factory):
    """The cohort by Slurm: a job is killed, a node drained, the controller killed and started again."""
    folder = tmp_path_factory.mktemp("slurm") / "six"
    command = [FFR3D, "cohort", design, "-o", folder, "--profile", quick_slurm]
    command += ["--set", "slurm_partition=cpu"]
    log = folder.parent / "driver.log"
    with log.open("w") as out:
        driver = subprocess.Popen(command, env=slurm.environment, stdout=out, stderr=out)
    try:
        wait(lambda: slurm.running() or driver.poll() is not None, "no job ever ran")
        assert driver.poll() is None, log.read_text() + tail(folder / "workflow.log")
        wait(lambda: any(folder.glob("cases/*/log.txt")), "no job began its case")
        killed = slurm.running()[0]
        slurm.call("scancel", "--signal=KILL", "--full", killed)
        slurm.call("scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=test")
        wait(lambda: any(folder.glob("meshes/*.json")), "no mesh")
        slurm.stop_controller()
        time.sleep(4)
        slurm.start_controller()
        assert "drain" in slurm.node("n2").lower()  # it has not forgotten
        wait(lambda: resumed(slurm), "n2 is not taken back")
        assert driver.wait(timeout=600) == 0, log.read_text() + tail(folder / "workflow.log")
    finally:
        driver.kill()
        driver.wait()
    return folder, killed


def tail(path):
    return path.read_text()[-3000:] if path.is_file() else ""


def test_nothing_is_lost_and_nothing_done_twice(disturbed):
    folder, _ = disturbed
    done = Counter(row["case"] for row in ledger(folder))
    assert done == {f"six-{k:05d}": 1 for k in range(6)}
    told = json.loads((folder / "summary.json").read_text())
    assert told["usable"] == 1.0
    ended = Counter[str]()
    for case in sorted(done):
        text = (folder / "cases" / case / "log.txt").read_text()
        ended.update(
            f"{case} {stage}"
            for stage in ("mesh", "solve")
            for _ in range(text.count(f"{stage:<9}done"))
        )
    assert set(ended.values()) == {1}


def test_the_labels_are_those_of_the_local_profile(disturbed, local, hashes):
    folder, _ = disturbed
    assert hashes(folder) == local[1]


def test_slurm_was_asked_for_what_the_meshes_need(slurm, disturbed):
    """Jobs of the solve asked for memory by the cost model, not the plugin's default."""
    folder, _ = disturbed
    log = (folder / "workflow.log").read_text()
    assert "slurm" in log.lower()
    sizes = [json.loads(path.read_text()) for path in sorted((folder / "meshes").glob("*.json"))]
    assert all(5_000 < size["cells"] < 50_000 for size in sizes)


def test_one_case_on_two_nodes(slurm, local, tmp_path):
    """A job of the site's script: its ranks start on both nodes; the answer is that of one rank."""
    cohort, _ = local
    name = "six-00000"
    script = ROOT / "hpc" / "slurm" / "job.sh"
    options = ["--wait", "-N", "2", "--ntasks-per-node=1", "-t", "5", "-p", "cpu"]
    log = tmp_path / "job.log"
    command = ["sbatch", *options, "-o", log, script, cohort / "cases" / f"{name}.yaml"]
    done = subprocess.run(
        [*command, "-o", tmp_path / "run", "--to", "certify"],
        env={**slurm.environment, "FFR3D": str(FFR3D), "UCX_TLS": "self,sm,tcp"},
        check=False,
    )
    assert done.returncode == 0, tail(log)
    flow = json.loads((tmp_path / "run" / "solve" / "flow.json").read_text())
    assert flow["ranks"] == 2
    assert len(flow["rank_memory_GiB"]) == 2
    for node in ("n1", "n2"):
        assert "launch task" in (slurm.folder / f"slurmd.{node}.log").read_text()
    both = [
        json.loads((run / "ffr" / "ffr.json").read_text())
        for run in (tmp_path / "run", cohort / "cases" / name)
    ]
    for one, other in zip(*(told["vessels"] for told in both), strict=True):
        assert one["ffr"] == pytest.approx(other["ffr"], abs=1e-6)
