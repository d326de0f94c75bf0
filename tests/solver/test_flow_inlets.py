"""Inlets with a velocity given point by point."""

import math

from mpi4py import MPI

import h5py
import numpy as np
import pytest

from meshing.errors import InputError
from meshing.vessel import VesselMesh
from solver import solve
from solver.inlets import ProfileInlet
from solver.io.profile import Profile
from solver.problem import FlowProblem

MU, D, L, Q = 3.5e-3, 3e-3, 12e-3, 2e-6


def _poiseuille(points):
    r2 = points[:, 1] ** 2 + points[:, 2] ** 2
    u = np.zeros_like(points)
    u[:, 0] = 8 * Q / (math.pi * D**2) * (1 - 4 * r2 / D**2)
    return u


def _problem(mesh, inlet):
    return FlowProblem.model_validate(
        {
            "mesh": mesh,
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": inlet,
            "outlets": {"out": {"kind": "pressure", "p": 8000.0}},
        }
    )


def test_given_parabola_is_developed_flow(tube, tmp_path):
    """A parabola given as values flows as the developed profile does, and carries what it holds."""
    Profile.of(tube, _poiseuille).save(tmp_path / "profile.h5")
    given = _problem(tube, {"kind": "profile", "file": tmp_path / "profile.h5"})
    flow = -solve(given).patches["inlet"].Q
    assert flow == pytest.approx(Q, rel=5e-3)
    developed = solve(_problem(tube, {"kind": "flow", "Q": flow})).patches["inlet"].p
    assert solve(given).patches["inlet"].p - 8000 == pytest.approx(developed - 8000, rel=0.02)


def test_velocity_at_the_inlet_is_what_was_given(tube, tmp_path):
    """At every node of the inlet: the value of the file inside, none on the wall."""

    def skewed(points):
        return _poiseuille(points) * (1 + 0.8 * points[:, 1:2] / (D / 2)) + [0.0, 0.02, 0.01]

    profile = Profile.of(tube, skewed)
    profile.save(tmp_path / "profile.h5")
    problem = _problem(tube, {"kind": "profile", "file": tmp_path / "profile.h5"})
    result = solve(problem, output=tmp_path)
    assert result.status == "converged"
    assert result.mass_balance < 1e-8
    with h5py.File(tmp_path / "fields.h5") as f:
        velocity = f["velocity"][:]
    arrays = VesselMesh.load(tube).arrays()
    wall = np.isin(
        profile.nodes,
        arrays.facets[arrays.facet_tags == VesselMesh.load(tube).patch("wall").tag],
    )
    assert 0 < wall.sum() < wall.size
    assert velocity[profile.nodes[~wall]] == pytest.approx(profile.velocity[~wall], abs=1e-12)
    assert velocity[profile.nodes[wall]] == pytest.approx(0.0, abs=1e-12)


def test_profile_file_is_found_beside_the_problem(tube, tmp_path):
    """A relative file is taken from the problem's folder, and decides which restart state fits."""
    from solver.io.state import fingerprint

    Profile.of(tube, _poiseuille).save(tmp_path / "profile.h5")
    _problem(tube, {"kind": "profile", "file": "profile.h5"}).save(tmp_path / "problem.json")
    problem = FlowProblem.load(tmp_path / "problem.json")
    assert problem.inlet == ProfileInlet(file=tmp_path / "profile.h5")
    before = fingerprint(problem)
    Profile.of(tube, lambda x: 2 * _poiseuille(x)).save(tmp_path / "profile.h5")
    assert fingerprint(problem) != before


def _spoilt(tube, how):
    good = Profile.of(tube, _poiseuille)
    if how == "short":
        return Profile(good.nodes[1:], good.velocity[1:])
    if how == "other nodes":
        return Profile(good.nodes + 1, good.velocity)
    if how == "shape":
        return Profile(good.nodes, good.velocity[:, :2])
    factor = {"zero": 0.0, "backwards": -1.0, "not finite": np.nan}[how]
    return Profile(good.nodes, factor * good.velocity)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("short", "1 of the inlet's not among them"),
        ("other nodes", "of the inlet's not among them"),
        ("shape", "velocity"),
        ("zero", "zero everywhere"),
        ("not finite", "NaN"),
        ("backwards", "turn its sign"),
    ],
)
def test_bad_profiles_are_refused(tube, tmp_path, how, told):
    """A profile of another mesh, or one that carries nothing in, is one clear error."""
    _spoilt(tube, how).save(tmp_path / "profile.h5")
    with pytest.raises(InputError, match=told):
        solve(_problem(tube, {"kind": "profile", "file": tmp_path / "profile.h5"}), MPI.COMM_SELF)


def test_no_profile_file(tube, tmp_path):
    """A missing file, or another one, is one clear error."""
    with pytest.raises(InputError, match=r"none\.h5"):
        solve(_problem(tube, {"kind": "profile", "file": tmp_path / "none.h5"}), MPI.COMM_SELF)
    other = VesselMesh.load(tube).path
    with pytest.raises(InputError, match="velocity profile"):
        solve(_problem(tube, {"kind": "profile", "file": other}), MPI.COMM_SELF)
