"""What a result gives beside the open patches: forces on walls, values at points and along lines."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meshing.errors import InputError
from meshing.tagged import from_tagged
from meshing.vessel import Role
from solver import solve
from solver.io.profile import Profile
from solver.problem import FlowProblem, FlowResult

MU, D, L, Q = 3.5e-3, 3e-3, 12e-3, 2e-6
SPEED = 8 * Q / (math.pi * D**2)
DROP = 128 * MU * L * Q / (math.pi * D**4)


def _problem(mesh, **more):
    return FlowProblem.model_validate(
        {
            "mesh": mesh,
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "flow", "Q": Q},
            "outlets": {"out": {"kind": "pressure", "p": 8000.0}},
            **more,
        }
    )


def test_friction_of_a_tube(tube):
    """The wall takes up what the pressure drop brings; the pressure itself pushes no way on a round wall."""
    result = solve(_problem(tube, forces=["wall"]))
    drop = result.patches["inlet"].p - result.patches["out"].p
    along, *across = result.forces["wall"]
    area = result.patches["out"].area
    assert along == pytest.approx(drop * area, rel=2e-3)
    assert along == pytest.approx(DROP * math.pi * D**2 / 4, rel=0.02)
    assert np.abs(across).max() < 1e-2 * along


def test_values_along_a_line(tube, tmp_path):
    """Across the tube: a parabola inside, nothing outside; the file holds the same."""
    line = {"start": (L / 2, -0.6 * D, 0.0), "end": (L / 2, 0.6 * D, 0.0), "count": 13}
    probes = {"across": line, "axis": [[L / 4, 0.0, 0.0], [3 * L / 4, 0.0, 0.0]]}
    result = solve(_problem(tube, probes=probes), output=tmp_path)
    rows = result.probes["across"]
    assert [row.velocity is None for row in rows] == [True, *[False] * 11, True]
    assert [row.p is None for row in rows] == [True, *[False] * 11, True]
    along = np.array([row.velocity or (np.nan,) * 3 for row in rows[1:-1]])[:, 0]
    y = np.array([row.point[1] for row in rows[1:-1]])
    assert along == pytest.approx(SPEED * (1 - 4 * y**2 / D**2), abs=0.02 * SPEED)
    near, far = (row.p or np.nan for row in result.probes["axis"])
    assert near - far == pytest.approx(DROP / 2, rel=0.02)
    assert FlowResult.load(tmp_path / "flow.json").probes == result.probes


def test_force_on_what_is_no_wall(tube):
    """The force is given on walls only."""
    with pytest.raises(InputError, match="no wall 'out' to give the force on"):
        solve(_problem(tube, forces=["out"]))


@pytest.mark.slow
def test_ranks_observe_the_same(flow_meshes, tmp_path):
    """Half a tube with a given profile and a plane of symmetry: forces and probes of 1, 2 and 4 ranks agree."""
    roles: dict[str, Role] = {"in": "inlet", "out": "outlet", "side": "wall", "plane": "slip"}
    file = flow_meshes.tagged_half_tube(tmp_path / "half.msh", D=3.0, L=9.0, h=1.0, tilt=0.4)
    from_tagged(file, roles, tmp_path, scale=1e-3)
    Profile.of(tmp_path / "mesh.json", lambda x: np.tile([0.3, 0.0, 0.0], (len(x), 1))).save(
        tmp_path / "in.h5"
    )
    line = {"start": (0.0, 0.0, 0.0), "end": (9e-3, -1e-3, -1e-3), "count": 9}
    seen = []
    for ranks in (1, 2, 4):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        inlet = {"kind": "profile", "file": "../in.h5"}
        problem = _problem("../mesh.json", inlet=inlet, forces=["side"], probes={"line": line})
        problem.save(folder / "problem.json")
        command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), sys.executable]
        command += ["-m", "solver", str(folder / "problem.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        result = FlowResult.load(folder / "flow.json")
        rows = result.probes["line"]
        values = np.array([(row.p or np.nan, *(row.velocity or [np.nan] * 3)) for row in rows])
        seen.append((np.array(result.forces["side"]), values))
    (force, values), *others = seen
    assert np.isfinite(values).all(axis=1).sum() >= 5
    for other_force, other_values in others:
        assert other_force == pytest.approx(force, abs=1e-7 * np.abs(force).max())
        scale = np.nanmax(np.abs(values), axis=0)
        assert other_values / scale == pytest.approx(values / scale, abs=1e-6, nan_ok=True)
