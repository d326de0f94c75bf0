"""Shared by all tests: meshes of simple shapes, and a table of what was measured.

``--table FILE`` prints a line for every test, with PASS or FAIL and what it measured, and writes the same as JSON.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def flow_meshes():
    """The functions of ``flow_meshes.py``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "flow_meshes.py")))


WORDS = {"passed": "PASS", "failed": "FAIL", "error": "FAIL", "skipped": "SKIP", "xfailed": "XFAIL"}


def pytest_addoption(parser):
    parser.addoption("--table", type=Path, help="print what every test measured; write JSON there")


@pytest.fixture
def measured(record_property):
    """Tell a measured number and what is wanted of it; returns the number."""

    def tell(name, value, wanted):
        record_property(name, {"value": float(value), "wanted": wanted})
        return value

    return tell


def rows(stats):
    """One a test: name, verdict, numbers, seconds; errors of set-up count as failures."""
    found = []
    for outcome, word in (*WORDS.items(), ("xpassed", "FAIL")):
        for report in stats.get(outcome, []):
            numbers = dict(report.user_properties)
            if outcome == "skipped" and isinstance(report.longrepr, tuple):
                numbers = {"reason": report.longrepr[2]}
            name = report.nodeid.removeprefix("tests/")
            found.append(
                {"name": name, "verdict": word, "seconds": report.duration, "numbers": numbers}
            )
    return sorted(found, key=lambda row: row["name"])


def line(row):
    """A row as text."""
    numbers = "; ".join(
        f"{name} {told['value']:.4g} ({told['wanted']})" if isinstance(told, dict) else str(told)
        for name, told in row["numbers"].items()
    )
    return f"{row['verdict']:5s} {row['name']}  {numbers}".rstrip()


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--table")
    if path is None:
        return
    table = rows(terminalreporter.stats)
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = sum(row["verdict"] == "FAIL" for row in table)
    told = {"passed": bool(table) and not failed, "python": sys.version, "rows": table}
    path.write_text(json.dumps(told, indent=1))
    terminalreporter.section(f"{len(table)} lines, {failed} failed; {path}")
    for row in table:
        terminalreporter.write_line(line(row))
