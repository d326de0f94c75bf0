"""Resistances for a wanted flow: trees of resistances and jets, a tree that cannot carry it, whole runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.optimize import fsolve

from meshing.errors import InputError
from pipeline.case_file import load
from pipeline.physiology.tuning import TOLERANCE, Trial, next_resistances, note, wanted_flows

FFR3D = Path(sys.executable).parent / "ffr3d"
PA, PD = 93.0, 5.0
ROWS = [
    {"outlet": name, "share": share} for name, share in (("LAD", 0.5), ("LCx", 0.3), ("D1", 0.2))
]


def tree(resistances, trunk=(0.3, 0.4), jets=(6.0, 0.5, 1.0)):
    """Flows [mL/s] and outlet pressures of a trunk and branches, both with a linear and a quadratic part."""
    R = np.array(list(resistances.values()))
    jets = np.array(jets)

    def pressures(Q):
        return PA - trunk[0] * Q.sum() - trunk[1] * Q.sum() ** 2 - 0.5 * Q - jets * Q**2

    def gap(Q):
        return pressures(Q) - PD - R * Q

    Q = fsolve(gap, np.full(3, 0.3))
    return Trial(
        dict(resistances),
        dict(zip(resistances, Q, strict=True)),
        dict(zip(resistances, pressures(Q), strict=True)),
    )


def tuned(flow_mL_per_min, runs=3, **how):
    wanted = wanted_flows(ROWS, flow_mL_per_min)
    R = {name: 60.0 for name in wanted}
    trials = [tree(R, **how)]
    while len(trials) < runs:
        trials.append(tree(next_resistances(trials, wanted, PA, PD), **how))
    return trials, wanted


@pytest.mark.parametrize("flow", [120.0, 200.0, 280.0])
def test_three_runs_are_enough(flow):
    trials, wanted = tuned(flow)
    assert abs(trials[-1].error(wanted)) < TOLERANCE
    for name, Q in wanted.items():
        assert trials[-1].flows[name] == pytest.approx(Q, rel=0.02), name
    assert note(trials, wanted) == []
    assert abs(trials[1].error(wanted)) < abs(trials[0].error(wanted))


def test_a_tree_that_cannot_carry_it():
    trials, wanted = tuned(500.0, jets=(60.0, 0.5, 1.0))
    assert min(trials[-1].resistances.values()) > 0
    assert trials[-1].error(wanted) < -TOLERANCE
    (told,) = note(trials, wanted)
    assert "leaves no more" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"inlet": {"kind": "flow", "flow_mL_per_min": 100}}, "inlet.kind: pressure"),
        (
            {"physiology": {"outlets": {"LAD": {"resistance_mmHg_s_per_mL": 60}}}},
            "not both",
        ),
    ],
)
def test_bad_targets(tmp_path, more, message):
    case = {"input": {"kind": "phantom"}, **more}
    case["physiology"] = case.get("physiology", {}) | {"target_flow_mL_per_min": 200}
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump(case))
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.slow
def test_a_phantom_with_a_wanted_flow(tmp_path):
    case = {
        "input": {
            "kind": "phantom", "seed": 1, "inlet_diameter_mm": 4.2, "min_diameter_mm": 1.8,
            "stenoses": [{"branch": "LAD", "position": 0.35, "diameter_reduction": 0.55, "length_mm": 9}],
        },
        "mesh": {"order": 1, "elements_per_diameter": 3, "elements_across_throat": 4},
        "solver": {"element": "P1-P1", "ranks": 1},
        "physiology": {"target_flow_mL_per_min": 200},
    }  # fmt: skip
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    command = [FFR3D, "run", tmp_path / "case.yaml", "-o", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    ffr = json.loads((tmp_path / "run" / "ffr" / "ffr.json").read_text())
    assert ffr["inlet"]["flow_mL_per_min"] == pytest.approx(200, rel=0.01)
    assert "tree carries 200 mL/min" in (tmp_path / "run" / "report.html").read_text()
    told = json.loads((tmp_path / "run" / "solve" / "physiology.json").read_text())["tuning"]
    assert 2 <= len(told["runs"]) <= 3
    last = told["runs"][-1]
    for name, wanted in told["wanted_by_outlet_mL_per_min"].items():
        assert last["flow_mL_per_min"][name] == pytest.approx(wanted, rel=0.03)
