"""Cohorts: all cases end up in the ledger, whatever becomes of one; a killed cohort goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import yaml

from meshing.errors import InputError
from pipeline.cohort.design import Design, identifiers
from pipeline.cohort.run import ledger
from pipeline.cohort.run import run as run_cohort

runner = sys.modules["pipeline.cohort.one"]

STUB = """
    import json, pathlib, sys, time
    case, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with (folder.parent / "calls.txt").open("a") as f:
        f.write(case.stem + "\\n")
    time.sleep(WAIT)
    if case.stem.endswith("1"):
        print("ffr3d: error: the jet\\n  got away", file=sys.stderr)
        sys.exit(1)
    (folder / "certify").mkdir(exist_ok=True)
    status = "FAIL" if case.stem.endswith("2") else "PASS"
    told = {"status": status, "reasons": ["peak velocity: 20"] if status == "FAIL" else []}
    (folder / "certify" / "certificate.json").write_text(json.dumps(told))
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """In place of ``ffr3d run``: the second case ends without a result, the third fails its certificate."""

    def use(wait=0.0):
        program = tmp_path / "stub.py"
        program.write_text(textwrap.dedent(STUB).replace("WAIT", str(wait)))
        monkeypatch.setattr(
            runner,
            "command",
            lambda case, folder, stop, given=(): [sys.executable, program, case, folder],
        )

    use()
    return use


def design(**more):
    return Design.model_validate({"name": "d", "count": 4, "seed": 1, **more})


def calls(folder):
    path = folder / "cases" / "calls.txt"
    return path.read_text().split() if path.exists() else []


def test_a_bad_vessel_does_not_stop_the_others(stub, tmp_path):
    told = run_cohort(design(), tmp_path / "c", workers=2)
    assert told["verdicts"] == {"PASS": 2, "WARN": 0, "FAIL": 1, "ERROR": 1}
    assert told["usable"] == 0.5
    assert "the jet got away" in told["not_passed"]["d-00001"]["reasons"][0]
    assert told["not_passed"]["d-00002"]["reasons"] == ["peak velocity: 20"]
    assert json.loads((tmp_path / "c" / "summary.json").read_text()) == told
    assert sorted(calls(tmp_path / "c")) == identifiers(design())


def test_again_only_what_failed_is_tried(stub, tmp_path):
    run_cohort(design(), tmp_path / "c")
    before = len(calls(tmp_path / "c"))
    seen = []
    run_cohort(design(), tmp_path / "c", progress=lambda *told: seen.append(told))
    assert calls(tmp_path / "c")[before:] == ["d-00001"]
    assert seen == [(4, 4, "d-00001 ERROR")]
    run_cohort(design(count=5), tmp_path / "c")  # more of the same
    assert calls(tmp_path / "c")[before + 1 :] == ["d-00001", "d-00004"]


def test_a_changed_case_or_a_lost_certificate_is_computed_again(stub, tmp_path):
    folder = tmp_path / "c"
    run_cohort(design(), folder)
    before = len(calls(folder))
    (folder / "cases" / "d-00000" / "certify" / "certificate.json").unlink()
    with (folder / "cases" / "d-00003.yaml").open("a") as f:
        f.write("# touched\n")
    run_cohort(design(), folder)
    assert sorted(calls(folder)[before:]) == ["d-00000", "d-00001", "d-00003"]


def test_another_design_is_refused(stub, tmp_path):
    run_cohort(design(), tmp_path / "c")
    with pytest.raises(InputError, match="seed"):
        run_cohort(design(seed=2), tmp_path / "c")


def test_the_page_tells_what_did_not_pass(stub, tmp_path):
    folder = tmp_path / "c"
    told = run_cohort(design(), folder)
    assert told["left"] == 0
    page = (folder / "cohort.html").read_text()
    assert "4 of 4 cases are done" in page
    assert "peak velocity: 20" in page  # why one failed
    assert "the jet got away" in page  # and why one has no result
    assert "refresh" not in page


def test_the_page_while_cases_are_computed(stub, tmp_path, monkeypatch):
    from pipeline.cohort import run as module

    monkeypatch.setattr(module, "PAGE_S", 0.0)
    seen = []
    folder = tmp_path / "c"

    def look(done, total, last):
        seen.append((folder / "cohort.html").read_text())

    module.run(design(), folder, workers=1, progress=look)
    assert "0 of 4 cases are done; 4 to go" in seen[0]
    assert all('http-equiv="refresh"' in page for page in seen)


def test_a_ledger_cut_short_is_read(stub, tmp_path):
    folder = tmp_path / "c"
    run_cohort(design(), folder)
    rows = ledger(folder)
    with (folder / "ledger.jsonl").open("a") as f:
        f.write('{"event": "done", "case": "d-0')
    assert ledger(folder) == rows


def test_killed_it_goes_on(tmp_path):
    """``kill -9`` in the middle of a case: what was done is not done again, what was not is."""
    path, folder = tmp_path / "d.yaml", tmp_path / "c"
    path.write_text(yaml.safe_dump(design(count=5).model_dump(mode="json")))
    stub = tmp_path / "stub.py"
    stub.write_text(textwrap.dedent(STUB).replace("WAIT", "0.4"))
    program = (
        "import sys; from pathlib import Path; import pipeline.cohort.run as r\n"
        "one = sys.modules['pipeline.cohort.one']\n"
        f"one.command = lambda case, folder, stop, given=(): [sys.executable, {str(stub)!r}, str(case), str(folder)]\n"
        "from pipeline.cohort.design import load\n"
        f"r.run(load(Path({str(path)!r})), Path({str(folder)!r}), workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while len(calls(folder)) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    finished = {row["case"] for row in ledger(folder) if row["event"] == "done"}
    before = calls(folder)
    assert len(before) == 3
    assert 1 <= len(finished) < 3
    subprocess.run([sys.executable, "-c", program], check=True)
    again = calls(folder)[3:]
    assert not finished & set(again)
    done = {row["case"] for row in ledger(folder) if row["event"] == "done"}
    assert done == {f"d-{k:05d}" for k in (0, 2, 3, 4)}
