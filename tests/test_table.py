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
    """A project of three tests; runs them into a table, tells the table and which tests ran."""
    (tmp_path / "tests").mkdir()
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_three.py").write_text(TESTS)

    def run(*arguments):
        (tmp_path / "ran").unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        done = subprocess.run(
            [*command, "--table", "out/table.json", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        told = json.loads((tmp_path / "out" / "table.json").read_text())
        ran = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
        return told, ran, done.stdout

    run.folder = tmp_path
    return run


def verdicts(told):
    return {row["name"].split("::")[1]: row["verdict"] for row in told["rows"]}


def test_a_run_goes_on_where_it_was_killed(project):
    told, ran, _ = project("-k", "number")
    assert ran == ["number"]
    assert told["rows"][0]["numbers"]["order"] == {"value": 2.01, "wanted": ">= 1.9"}
    told, ran, text = project()
    assert ran == ["other"]
    assert verdicts(told) == {"test_number": "PASS", "test_other": "PASS", "test_set_up": "SKIP"}
    assert told["passed"]
    assert "PASS  test_three.py::test_number  order 2.01 (>= 1.9)" in text
    (project.folder / "tests" / "test_three.py").write_text(TESTS + "\n")
    assert project()[1] == ["number", "other"]


def test_failures_fail_the_table_until_they_pass(project):
    (project.folder / "broken").touch()
    (project.folder / "faulty").touch()
    told, _, _ = project()
    assert verdicts(told) == {"test_number": "PASS", "test_other": "FAIL", "test_set_up": "FAIL"}
    assert not told["passed"]
    (project.folder / "broken").unlink()
    (project.folder / "faulty").unlink()
    told, ran, _ = project()
    assert ran == ["other"]
    assert told["passed"]


def test_what_was_not_run_does_not_pass(project):
    (project.folder / "broken").touch()
    told, _, _ = project("-x")
    assert told["not_run"]
    assert not told["passed"]
