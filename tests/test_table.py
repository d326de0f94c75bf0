"""The table of ``make verify``: a killed run goes on, another state of the code starts anew, failures are told."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
from pathlib import Path
import pytest

def test_number(measured):
    Path("ran").open("a").write("number ")
    measured("order", 2.01, ">= 1.9")

def test_other(measured):
    Path("ran").open("a").write("other ")
    assert not Path("broken").exists()

@pytest.fixture
def unset():
    raise OSError("no set-up")

@pytest.mark.skipif(not Path("faulty").exists(), reason="nothing faulty here")
def test_set_up(unset):
    pass
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a project of three tests."""
    (tmp_path / "tests").mkdir()
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_three.py").write_text(TESTS)

    return tmp_path


def run(project, *arguments):
    """Run its tests into a table: the table, which tests ran, what was printed."""
    (project / "ran").unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        [*command, "--table", "out/table.json", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads((project / "out" / "table.json").read_text())
    ran = (project / "ran").read_text().split() if (project / "ran").exists() else []
    return told, ran, done.stdout


def verdicts(told):
    return {row["name"].split("::")[1]: row["verdict"] for row in told["rows"]}


def test_a_run_goes_on_where_it_was_killed(project):
    told, ran, _ = run(project, "-k", "number")
    assert ran == ["number"]
    assert told["rows"][0]["numbers"]["order"] == {"value": 2.01, "wanted": ">= 1.9"}
    told, ran, text = run(project)
    assert ran == ["other"]
    assert verdicts(told) == {"test_number": "PASS", "test_other": "PASS", "test_set_up": "SKIP"}
    assert told["passed"]
    assert "PASS  test_three.py::test_number  order 2.01 (>= 1.9)" in text
    (project / "tests" / "test_three.py").write_text(TESTS + "\n")
    assert run(project)[1] == ["number", "other"]


def test_failures_fail_the_table_until_they_pass(project):
    (project / "broken").touch()
    (project / "faulty").touch()
    told, _, _ = run(project)
    assert verdicts(told) == {"test_number": "PASS", "test_other": "FAIL", "test_set_up": "FAIL"}
    assert not told["passed"]
    (project / "broken").unlink()
    (project / "faulty").unlink()
    told, ran, _ = run(project)
    assert ran == ["other"]
    assert told["passed"]


def test_what_was_not_run_does_not_pass(project):
    (project / "broken").touch()
    told, _, _ = run(project, "-x")
    assert told["not_run"]
    assert not told["passed"]
