"""Meshes for the solver's verification; made once a session."""

import importlib.util
from pathlib import Path

import pytest

D = 3e-3


def _module():
    path = Path(__file__).parents[1] / "flow_meshes.py"
    spec = importlib.util.spec_from_file_location("flow_meshes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def flow_meshes():
    return _module()
