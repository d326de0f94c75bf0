"""Small meshes for the solver's tests; made once a session."""

import pytest

D = 3e-3


@pytest.fixture(scope="session")
def tube(flow_meshes, tmp_path_factory):
    """A short coarse curved tube, D = 3 mm, L = 12 mm."""
    folder = tmp_path_factory.mktemp("tube")
    flow_meshes.tube(folder, D=D, L=4 * D, h=D / 3.5)
    return folder / "mesh.json"


@pytest.fixture(scope="session")
def fork(flow_meshes, tmp_path_factory):
    """A coarse curved bifurcation."""
    folder = tmp_path_factory.mktemp("fork")
    flow_meshes.bifurcation(folder, D=D, h=D / 3)
    return folder / "mesh.json"
