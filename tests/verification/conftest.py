"""Meshes for the solver's verification; made once a session."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

D = 3e-3


def _module():
    path = Path(__file__).parents[1] / "flow_meshes.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


@pytest.fixture(scope="session")
def flow_meshes():
    return _module()
