"""Shared by the tests of the solver and its verification."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def flow_meshes():
    """The functions of ``flow_meshes.py``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "flow_meshes.py")))
