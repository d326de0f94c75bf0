"""The flow solver end to end on small meshes: exact flow, pressure inlet, errors, restart, ranks."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from meshing.errors import ComputationError, InputError
from meshing.vessel import VesselMesh
from solver.io import guess as guess_file
from solver.io.guess import Guess
from solver.problem import FlowProblem, FlowResult
from solver.run import solve

MU, D, L = 3.5e-3, 3e-3, 12e-3
P_IN, Q = 12_000.0, 2e-6
R_PIPE = 128 * MU * L / (math.pi * D**4)
ENVIRONMENT = {**os.environ, "UCX_TLS": "self,sm,tcp", "OMP_NUM_THREADS": "1"}


def problem(mesh, inlet, R, **changes):
    given = {
        "mesh": str(mesh),
        "element": "P2-P2",
        "rheology": {"kind": "newtonian", "viscosity": MU},
        "inlet": inlet,
        "outlets": {name: {"kind": "resistance", "R": value} for name, value in R.items()},
        **changes,
    }
    return FlowProblem.model_validate(given)


def test_flow_inlet_gives_poiseuille_flow(tube, tmp_path):
    result = solve(problem(tube, {"kind": "flow", "Q": Q}, {"out": 1e9}), output=tmp_path)
    inlet, out = result.patches["inlet"], result.patches["out"]
    assert result.status == "converged"
    assert pytest.approx(-Q, rel=1e-12) == inlet.Q
    assert pytest.approx(Q, rel=1e-9) == out.Q
    assert inlet.p - out.p == pytest.approx(R_PIPE * Q, rel=5e-3)
    assert out.p == pytest.approx(1e9 * Q, rel=1e-9)
    assert result.mass_balance < 1e-9
    with h5py.File(tmp_path / "fields.h5") as f:
        u, p, tau = f["velocity"][:], f["pressure"][:], f["wall_shear_stress"][:]
    points = VesselMesh.load(tube).arrays().points
    radius = np.hypot(points[:, 1], points[:, 2])
    assert u[:, 0] == pytest.approx(
        8 * Q / (math.pi * D**2) * (1 - (2 * radius / D) ** 2), abs=0.03 * 8 * Q / (math.pi * D**2)
    )
    middle = abs(points[:, 0] - L / 2) < L / 8
    assert p[middle] == pytest.approx(
        out.p + R_PIPE * Q * (1 - points[middle, 0] / L), abs=0.02 * R_PIPE * Q
    )
    on_wall = middle & (radius > 0.499 * D)
    assert tau[on_wall, 0].mean() == pytest.approx(32 * MU * Q / (math.pi * D**3), rel=0.03)
    assert not tau[radius < 0.4 * D].any()


@pytest.mark.parametrize("element", ["P2-P2", "P2-P1"])
def test_pressure_inlet_finds_the_flow(tube, element):
    R = (P_IN - R_PIPE * Q) / Q
    result = solve(problem(tube, {"kind": "pressure", "p": P_IN}, {"out": R}, element=element))
    assert result.patches["inlet"].p == pytest.approx(P_IN, rel=1e-9)
    assert pytest.approx(Q, rel=1e-4) == result.patches["out"].Q
    assert result.patches["out"].residual < 1e-6 * P_IN
    assert result.mass_balance < 1e-9


def test_pressure_inlet_does_not_need_resistances(tube):
    """The flow is given by the pipe alone: the inlet's own equation must be exact, too."""
    drop = R_PIPE * Q
    outlets = {"out": {"kind": "resistance", "R": 0.0, "pd": P_IN - drop}}
    given = problem(tube, {"kind": "pressure", "p": P_IN}, {}, outlets=outlets)
    assert pytest.approx(Q, rel=5e-3) == solve(given).patches["out"].Q


def test_two_outlets_split_as_the_network(fork, measured):
    """Slow flow; the arms (alike, Poiseuille's resistance) are in series with unequal resistances."""
    slow, arm, length = 1e-9, 0.8 * D, 6 * D
    own = 128 * MU * length / (math.pi * arm**4)
    R = {"out0": 2e10, "out1": 5e10}
    result = solve(problem(fork, {"kind": "flow", "Q": slow}, R))
    flows = np.array([result.patches[name].Q for name in R])
    conductance = 1 / (own + np.array(list(R.values())))
    network = slow * conductance / conductance.sum()
    measured("flows off the network's", float(abs(flows / network - 1).max()), "< 1e-3")
    assert flows == pytest.approx(network, rel=1e-3)
    assert flows.sum() == pytest.approx(slow, rel=1e-9)
    for name in R:
        assert result.patches[name].residual < 1e-6 * result.patches[name].p


def test_restart_equals_the_uninterrupted_run(tube, measured, tmp_path):
    given = problem(tube, {"kind": "pressure", "p": P_IN}, {"out": 5e9})
    whole = solve(given, output=tmp_path / "whole")
    again = solve(given, output=tmp_path / "again", restart=tmp_path / "whole" / "state.h5")
    assert again.steps <= 4
    off = again.patches["out"].p / whole.patches["out"].p - 1
    measured("pressure after a restart", abs(off), "< 1e-9")
    assert again.patches["out"].p == pytest.approx(whole.patches["out"].p, rel=1e-9)
    assert pytest.approx(whole.patches["out"].Q, rel=1e-9) == again.patches["out"].Q
    picked_up = solve(given, output=tmp_path / "whole")
    assert picked_up.steps <= 4
    other = problem(tube, {"kind": "pressure", "p": P_IN}, {"out": 6e9})
    assert "started from a saved state" not in solve(other, output=tmp_path / "whole").notes


@pytest.mark.parametrize("element", ["P1-P1", "P2-P2"])
def test_a_preview_is_extrapolated_and_near(fork, element):
    """Computed down to 1.3 times the viscosity: told so, in balance, and within half a percent."""
    R = {"out0": 6e9, "out1": 9e9}
    whole = solve(problem(fork, {"kind": "pressure", "p": P_IN}, R, element=element))
    early = {"least_viscosity": 1.3}
    made = solve(problem(fork, {"kind": "pressure", "p": P_IN}, R, element=element, steady=early))
    assert made.status == "extrapolated"
    assert made.thickening == 1.3
    assert any("a preview" in note for note in made.notes)
    assert made.mass_balance < 1e-8
    for name in R:
        apart = (made.patches[name].p - whole.patches[name].p) / P_IN
        assert 0.0 < abs(apart) < 5e-3


def guess_of(folder, thickening=1.0):
    with h5py.File(folder / "fields.h5") as f:
        flow = FlowResult.load(folder / "flow.json")
        guess = Guess(f["velocity"][:], f["pressure"][:], -flow.patches["inlet"].Q, thickening)
    guess.save(folder / "guess.h5")
    return folder / "guess.h5"


@pytest.mark.parametrize("element", ["P2-P2", "P1-P1"])
def test_a_search_begins_with_given_fields(tube, tmp_path, element):
    given = problem(tube, {"kind": "pressure", "p": P_IN}, {"out": 5e9}, element=element)
    whole = solve(given, output=tmp_path)
    begun = solve(given.model_copy(update={"guess": guess_of(tmp_path)}))
    assert begun.steps <= 6 < whole.steps
    assert {row["phase"] for row in begun.history} <= {element, f"{element} nu*1.000"}
    assert begun.patches["out"].p == pytest.approx(whole.patches["out"].p, rel=1e-9)
    assert pytest.approx(whole.patches["out"].Q, rel=1e-9) == begun.patches["out"].Q
    assert "the search began with given fields" in begun.notes


def test_given_fields_that_lead_nowhere_do_no_harm(tube, tmp_path):
    given = problem(tube, {"kind": "pressure", "p": P_IN}, {"out": 5e9})
    whole = solve(given, output=tmp_path)
    guess = guess_file.read(guess_of(tmp_path), len(VesselMesh.load(tube).arrays().points))
    noise = np.random.default_rng(1).standard_normal(guess.velocity.shape)
    dataclasses.replace(guess, velocity=50.0 * noise).save(tmp_path / "noise.h5")
    begun = solve(given.model_copy(update={"guess": tmp_path / "noise.h5"}))
    assert begun.status == "converged"
    assert begun.steps > whole.steps
    assert pytest.approx(whole.patches["out"].Q, rel=1e-9) == begun.patches["out"].Q


def test_given_fields_of_another_mesh_are_refused(tube, tmp_path):
    given = problem(tube, {"kind": "pressure", "p": P_IN}, {"out": 5e9})
    Guess(np.zeros((7, 3)), np.zeros(7), 0.0, 1.0).save(tmp_path / "guess.h5")
    with pytest.raises(InputError, match=r"got velocity \(7, 3\), pressure \(7,\)"):
        solve(given.model_copy(update={"guess": tmp_path / "guess.h5"}))
    with pytest.raises(InputError, match="guess"):
        solve(given.model_copy(update={"guess": tmp_path / "absent.h5"}))


def test_no_convergence_is_an_error_that_saves_state_and_history(tube, tmp_path):
    given = problem(
        tube,
        {"kind": "flow", "Q": Q},
        {"out": 1e9},
        element="P2-P2",
        steady={"max_steps": 1, "max_linear_iterations": 1, "march_flow_throughs": 1e-3},
    )
    with pytest.raises(ComputationError, match=r"state\.h5.*Try"):
        solve(given, output=tmp_path)
    assert (tmp_path / "state.h5").exists()
    assert json.loads((tmp_path / "history.json").read_text())
    assert not (tmp_path / "flow.json").exists()


@pytest.mark.parametrize(
    ("outlets", "said"),
    [({}, "no outlet"), ({"out": 1e9, "LAD": 1e9}, "'LAD' is not in the mesh")],
)
def test_outlets_that_do_not_match_the_mesh(tube, outlets, said):
    with pytest.raises(InputError, match=said):
        solve(problem(tube, {"kind": "flow", "Q": Q}, outlets))


def _run(folder, ranks=1):
    """Start the solver as the pipeline does."""
    command = [sys.executable, "-m", "solver", str(folder / "problem.json")]
    if ranks > 1:
        command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), *command]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300
    )


def test_bad_problem_is_told_in_one_message(tube, tmp_path):
    (tmp_path / "problem.json").write_text('{"mesh": "nothing.json", "element": "P3"}')
    done = _run(tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "remedy" in done.stderr


@pytest.mark.slow
def test_missing_mesh_ends_all_ranks(tmp_path):
    problem("nothing.json", {"kind": "flow", "Q": Q}, {"out": 1e9}).save(tmp_path / "problem.json")
    done = _run(tmp_path, ranks=2)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("remedy") == 1


@pytest.mark.slow
def test_ranks_agree_and_restart_across(fork, measured, tmp_path):
    given = problem(fork, {"kind": "pressure", "p": P_IN}, {"out0": 8e9, "out1": 12e9})
    fields = []
    for ranks in (1, 2, 4):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        given.save(folder / "problem.json")
        done = _run(folder, ranks)
        assert done.returncode == 0, done.stderr
        with h5py.File(folder / "fields.h5") as f:
            fields.append({name: f[name][:] for name in f})
    one, two, four = fields
    tau = one["wall_shear_stress"]
    for count, other in ((2, two), (4, four)):
        off = float(abs(other["pressure"] - one["pressure"]).max() / P_IN)
        assert measured(f"pressure on {count} ranks", off, "< 1e-6") < 1e-6
        speed = one["velocity"].max()
        assert other["velocity"] == pytest.approx(one["velocity"], abs=1e-5 * speed)
        assert other["wall_shear_stress"] == pytest.approx(tau, abs=1e-4 * tau.max())
    done = _run(tmp_path / "2", 1)  # picks up the state that two ranks left
    assert done.returncode == 0, done.stderr
    assert FlowResult.load(tmp_path / "2" / "flow.json").steps <= 4
    (tmp_path / "3").mkdir()
    begun = given.model_copy(update={"guess": guess_of(tmp_path / "1")})
    begun.save(tmp_path / "3" / "problem.json")
    done = _run(tmp_path / "3", ranks=2)  # fields that one rank left
    assert done.returncode == 0, done.stderr
    assert FlowResult.load(tmp_path / "3" / "flow.json").steps <= 6
