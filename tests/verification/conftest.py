"""Shared by the verification tests."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def dirichlet():
    """The functions of ``dirichlet.py``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "dirichlet.py")))
