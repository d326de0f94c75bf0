"""Shared by all tests: meshes of simple shapes, and a table of what was measured.

``--table FILE`` prints a line for every test, with PASS or FAIL and what it measured, and writes the same as JSON.
A row is kept beside it (``FILE`` with the suffix ``.jsonl``) as soon as its test ends: a killed run goes on, tests
that passed with the same code are not run again, and several runs may fill one table at once.
"""

import hashlib
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ("solver", "meshing", "pipeline", "tests", "configs")
"""Folders whose files a measured number depends on."""
WORDS = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP"}


@pytest.fixture(scope="session")
def flow_meshes():
    """The functions of ``flow_meshes.py``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "flow_meshes.py")))


@pytest.fixture
def measured(record_property):
    """Tell a measured number and what is wanted of it; returns the number."""

    def tell(name, value, wanted):
        record_property(name, {"value": float(value), "wanted": wanted})
        return value

    return tell


def state_of_code():
    """Hash of the code, the tests and the interpreter: rows of another state count for nothing."""
    told = hashlib.sha256(sys.version.encode())
    files = [ROOT / "constraints.txt"]
    for folder in CODE:
        files += [path for end in ("py", "c", "yaml") for path in (ROOT / folder).rglob(f"*.{end}")]
    for path in sorted(path for path in files if path.exists()):
        told.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return told.hexdigest()[:16]


class Table:
    """Rows of tests on disk, the last of each test."""

    def __init__(self, path):
        self.path, self.state, self.phases, self.asked = path, state_of_code(), {}, set()
        self.kept = path.with_suffix(".jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self):
        """Rows of this state of the code, by name."""
        told = self.kept.read_text().splitlines() if self.kept.exists() else []
        found = {row["name"]: row for row in map(json.loads, told) if row["code"] == self.state}
        return dict(sorted(found.items()))

    def pytest_collection_modifyitems(self, config, items):
        """Leave out what has passed."""
        passed = {name for name, row in self.rows().items() if row["verdict"] == "PASS"}
        self.asked.update(item.nodeid for item in items)
        done = [item for item in items if item.nodeid in passed]
        if done:
            config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in passed]

    def pytest_runtest_logreport(self, report):
        """Keep a test's row when its last phase has ended; a fault of set-up or clean-up is a failure."""
        phases = self.phases.setdefault(report.nodeid, [])
        phases.append(report)
        if report.when != "teardown":
            return
        outcomes = [phase.outcome for phase in phases]
        word = next((word for word in ("failed", "skipped") if word in outcomes), "passed")
        numbers = dict(report.user_properties)
        reasons = [phase.longrepr[2] for phase in phases if isinstance(phase.longrepr, tuple)]
        row = {
            "name": report.nodeid,
            "verdict": WORDS[word],
            "seconds": sum(phase.duration for phase in phases),
            "numbers": numbers | ({"reason": reasons[0]} if reasons else {}),
            "code": self.state,
        }
        with self.kept.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def pytest_terminal_summary(self, terminalreporter):
        """Print the rows asked for and write them as JSON: passed only if each has a row and none failed."""
        rows = [row for name, row in self.rows().items() if name in self.asked]
        failed = sum(row["verdict"] == "FAIL" for row in rows)
        missing = sorted(self.asked - {row["name"] for row in rows})
        told = {
            "passed": bool(rows) and not failed and not missing,
            "python": sys.version,
            "code": self.state,
            "not_run": missing,
            "rows": rows,
        }
        self.path.write_text(json.dumps(told, indent=1))
        terminalreporter.section(
            f"{len(rows)} lines, {failed} failed, {len(missing)} not run; {self.path}"
        )
        for row in rows:
            terminalreporter.write_line(line(row))


def line(row):
    """A row as text."""
    numbers = "; ".join(
        f"{name} {told['value']:.4g} ({told['wanted']})" if isinstance(told, dict) else str(told)
        for name, told in row["numbers"].items()
    )
    return f"{row['verdict']:5s} {row['name'].removeprefix('tests/')}  {numbers}".rstrip()


def pytest_addoption(parser):
    parser.addoption("--table", type=Path, help="print what every test measured; write JSON there")


def pytest_configure(config):
    if config.getoption("--table"):
        config.pluginmanager.register(Table(config.getoption("--table")), "table")
