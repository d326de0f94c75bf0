"""A left tree into six coronary beds: periodic within three beats, most flow in diastole, the same on any ranks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from solver.problem import FlowProblem, FlowResult
from solver.stepper import LINEAR_TOLERANCE

BIN = Path(sys.executable).parent
CASE = {
    "input": {
        "kind": "phantom", "seed": 3, "inlet_diameter_mm": 4.6, "min_diameter_mm": 1.4,
        "side_branches": 4,
    },
    "mesh": {"order": 1, "elements_per_diameter": 3, "elements_across_throat": 4},
    "solver": {"element": "P1-P1", "ranks": 1},
    "pulsatile": {"steps": 40},
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run on one rank, and its folder."""
    folder = tmp_path_factory.mktemp("six")
    (folder / "case.yaml").write_text(yaml.safe_dump(CASE))
    command = [BIN / "ffr3d", "run", folder / "case.yaml", "-o", folder / "run", "--to", "ffr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return FlowResult.load(folder / "run" / "solve" / "flow.json"), folder / "run"


@pytest.mark.verify
def test_periodic_within_three_beats(alone, measured):
    result, _ = alone
    assert result.pulse is not None
    assert len(result.pulse.waves) == 7
    assert result.pulse.periodic
    assert measured("beats", result.pulse.cycles, "<= 3") <= 3
    assert measured("asymptotic error", result.pulse.errors[-1], "< 1e-3") < 1e-3
    total = np.sum([wave.Q for wave in result.pulse.waves.values()], axis=0)
    inflow = -np.array(result.pulse.waves[result.inlet].Q)
    balance = measured("mass balance of every step", np.abs(total).max() / inflow.mean(), "< 1e-5")
    assert balance < LINEAR_TOLERANCE


@pytest.mark.verify
def test_left_flow_is_diastolic(alone, measured):
    """More than the part of the beat that diastole is."""
    _, run = alone
    told = json.loads((run / "ffr" / "ffr.json").read_text())["pulse"]["diastolic_share"]
    assert len(told) == 6
    for name, share in told.items():
        assert measured(f"{name}: share of the flow in diastole", share, "> 0.6") > 0.6


@pytest.mark.verify
@pytest.mark.parametrize("ranks", [2, 4])
def test_any_ranks(alone, measured, tmp_path, ranks):
    result, run = alone
    given = FlowProblem.load(run / "solve" / "problem.json")
    given.model_copy(update={"guess": None}).save(tmp_path / "problem.json")
    command = [str(BIN / "mpiexec"), "-n", str(ranks), sys.executable, "-m", "solver"]
    command.append(str(tmp_path / "problem.json"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    other = FlowResult.load(tmp_path / "flow.json")
    assert result.pulse is not None
    assert other.pulse is not None
    off = 0.0
    for name, wave in result.pulse.waves.items():
        there, size = other.pulse.waves[name], np.abs(wave.Q).max()
        off = max(off, float(np.abs(np.array(there.Q) - wave.Q).max() / size))
        off = max(off, float(np.abs(np.array(there.p) - wave.p).max() / np.mean(wave.p)))
    assert measured("largest relative difference", off, "< 1e-3") < 1e-3
