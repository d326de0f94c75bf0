"""Whole runs through the command line."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

FFR3D = Path(sys.executable).parent / "ffr3d"
SHARED = Path(__file__).parents[3] / "shared" / "data"


class Run:
    """A finished run folder."""

    def __init__(self, folder):
        self.folder = folder
        self.ffr = json.loads((folder / "ffr" / "ffr.json").read_text())
        self.flow = json.loads((folder / "solve" / "flow.json").read_text())
        self.problem = json.loads((folder / "solve" / "problem.json").read_text())
        self.ledger = json.loads((folder / "run.json").read_text())

    @property
    def vessels(self):
        return {vessel["name"]: vessel for vessel in self.ffr["vessels"]}

    def check_conservation(self):
        """Mass balance and every outlet's line to 1e-6, FFR one at the inlet."""
        assert self.flow["mass_balance"] < 1e-6
        for name, outlet in self.problem["outlets"].items():
            patch = self.flow["patches"][name]
            gap = abs(patch["p"] - outlet["pd"] - outlet["R"] * patch["Q"])
            assert gap < 1e-6 * patch["p"], name
        assert self.ffr["reference"]["ffr_at_anatomical_inlet"] == pytest.approx(1.0, abs=0.03)


@pytest.fixture
def ffr3d(tmp_path):
    """Run ``ffr3d run`` on a case given as a mapping or a path; return the finished `Run`."""

    def _run(case, name="run", *arguments):
        if isinstance(case, dict):
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump(case))
        else:
            path = case
        folder = tmp_path / name
        result = subprocess.run(
            [FFR3D, "run", path, "-o", folder, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
        return Run(folder)

    return _run


@pytest.fixture(scope="session")
def shared():
    """Folder of the real vessels."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data (real vessels, not part of the project)")
    return SHARED


@pytest.fixture(scope="session")
def axisymmetric():
    """The names of ``axisymmetric.py``, the reference for straight tubes."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "axisymmetric.py")))


@pytest.fixture(scope="session")
def jet_stability():
    """The names of ``jet_stability.py``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "jet_stability.py")))
