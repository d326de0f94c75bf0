"""The network baseline: exact in tubes, its outlets on their lines, jets by the formula; predictions from elsewhere."""

import math
from dataclasses import replace

import numpy as np
import pytest

from meshing.errors import ComputationError, InputError
from pipeline.fast import FastModel, Line, Vessel, find
from pipeline.fast.assumed import Assumptions, assumed, read_assumptions
from pipeline.fast.network import EXPANSION, Network
from pipeline.fast.vessel import Calibre
from pipeline.labels.conditions import Conditions
from pipeline.physiology import MMHG, MMHG_S_PER_ML

MU, RHO = 3.5e-3, 1060.0


def line(radius_mm, branch=0, length_mm=50.0, lesion=None, start_mm=0.0):
    n = 401
    s = start_mm + np.linspace(0, length_mm, n)
    radius = np.broadcast_to(radius_mm, n).astype(float)
    return Line(
        np.column_stack([0 * s, 0 * s, s]),
        s,
        radius,
        np.pi * radius**2,
        np.broadcast_to(branch, n).astype(np.int64),
        np.full(n, -1) if lesion is None else lesion,
    )


def vessel(lines, resistance, Pa=93.0, Q=None, lesions=(), given=None):
    distal = dict.fromkeys(lines, 5.0)
    conditions = Conditions(None if Q else Pa, Q, resistance, distal, given or {}, RHO, MU)
    ends = {name: float(one.abscissa_mm[-1]) for name, one in lines.items()}
    calibre = Calibre(3.0, dict.fromkeys(lines, 2.0), 500.0)
    return Vessel("c", lines, lesions, ends, calibre, conditions)


def test_a_tube_is_poiseuille():
    """Flow and drop of two resistances in a row, by hand."""
    told = Network().predict(vessel({"LAD": line(1.5)}, {"LAD": 40.0}))
    tube = 8 * MU * 50e-3 / (math.pi * 1.5e-3**4) / (MMHG * 1e6)  # mmHg s/mL
    Q = 88.0 / (tube + 40.0)
    assert told.ffr["LAD"] == pytest.approx(1 - tube * Q / 93.0, rel=1e-4)
    assert told.pressure_mmHg["LAD"][0] == pytest.approx(93.0)
    assert told.seconds > 0


def test_conditions_hold_at_the_ends_of_extensions():
    """As a tube that is longer by its extensions: the same flow, and the pressures of its middle part."""
    one = vessel({"LAD": line(1.5)}, {"LAD": 40.0})
    longer = replace(one.calibre, inlet_mm=3.0, outlets_mm={"LAD": 3.0}, inlet_extension_mm=9.0)
    longer = replace(longer, extensions_mm={"LAD": 12.0})
    told = Network().predict(replace(one, calibre=longer))
    tube = 8 * MU * 1e-3 / (math.pi * 1.5e-3**4) / (MMHG * 1e6)  # mmHg s/mL per mm
    Q = 88.0 / (71.0 * tube + 40.0)
    assert told.pressure_mmHg["LAD"][0] == pytest.approx(93.0 - 9.0 * tube * Q, rel=1e-6)
    assert told.ffr["LAD"] == pytest.approx(1 - 59.0 * tube * Q / 93.0, rel=1e-4)


def test_a_given_flow_passes():
    told = Network().predict(vessel({"LAD": line(1.5)}, {"LAD": 40.0}, Q=2.0))
    assert told.pressure_mmHg["LAD"][-1] == pytest.approx(5.0 + 40.0 * 2.0, rel=1e-6)


def test_a_jet_loses_what_the_formula_says():
    n = 401
    s = np.linspace(0, 50, n)
    weight = np.where(np.abs(s - 20) < 4, 0.5 * (1 + np.cos(np.pi * (s - 20) / 4)), 0)
    inside = np.where(np.abs(s - 20) < 4, 0, -1)
    window = {"start_mm": 30.0, "stop_mm": 32.0}
    lesion = {"name": "LAD-1", "outlet": "LAD", "outlets": ["LAD"], "distal_window": window}
    narrow = line(1.5 * (1 - 0.5 * weight), lesion=inside)
    given = vessel({"LAD": narrow}, {"LAD": 40.0}, lesions=(lesion,))
    with_jet, without = Network().predict(given), Network(expansion=0.0).predict(given)
    Q = (with_jet.pressure_mmHg["LAD"][-1] - 5.0) / 40.0
    area = math.pi * 1.5**2
    expected = 0.5 * EXPANSION * RHO * (1e6 * Q * 1e-6) ** 2 * ((4 - 1) / area) ** 2 / MMHG
    friction = (
        (93.0 - without.pressure_mmHg["LAD"][-1])
        * Q
        / ((without.pressure_mmHg["LAD"][-1] - 5) / 40)
    )
    assert 93.0 - with_jet.pressure_mmHg["LAD"][-1] == pytest.approx(friction + expected, rel=0.02)
    assert with_jet.lesions["LAD-1"] < without.lesions["LAD-1"]
    throat = int(np.argmin(narrow.radius_mm))
    assert with_jet.pressure_mmHg["LAD"][throat] < with_jet.pressure_mmHg["LAD"][-1] + expected + 20


def test_a_fork_splits_by_resistance():
    stem = np.where(np.arange(401) < 200, 0, 1)
    other = np.where(np.arange(401) < 200, 0, 2)
    lines = {"LAD": line(2.0, branch=stem), "LCx": line(2.0, branch=other)}
    told = Network().predict(vessel(lines, {"LAD": 30.0, "LCx": 60.0}))
    p = {name: curve[-1] for name, curve in told.pressure_mmHg.items()}
    Q = {"LAD": (p["LAD"] - 5) / 30, "LCx": (p["LCx"] - 5) / 60}
    assert Q["LAD"] / Q["LCx"] == pytest.approx(2.0, rel=0.02)
    same = np.arange(401) < 200
    assert told.pressure_mmHg["LAD"][same] == pytest.approx(told.pressure_mmHg["LCx"][same])


def test_conditions_are_the_solvers_models():
    """A coronary bed's mean line, a given flow's none; a beat counts by its mean."""
    beat = {"period": 0.8, "values": [12_000.0, 13_000.0, 12_000.0, 11_000.0]}
    bed = {
        "kind": "coronary",
        "Ra": 1e9,
        "Ca": 1e-12,
        "Ram": 2e9,
        "Cim": 1e-11,
        "Rv": 5e8,
        "Pv": 600.0,
    }
    told = {
        "inlet": {"kind": "pressure", "p": beat},
        "outlets": {"LAD": {**bed, "Pim": 5000.0}, "LCx": {"kind": "flow", "Q": 1e-6}},
        "density": RHO,
        "rheology": {"kind": "newtonian", "viscosity": MU},
    }
    found = Conditions.of(told)
    assert found.Pa_mmHg == pytest.approx(12_000 / MMHG)
    assert found.resistance == {"LAD": pytest.approx(3.5e9 / MMHG_S_PER_ML)}
    assert found.distal_mmHg == {"LAD": pytest.approx(600 / MMHG)}
    assert found.outflow_mL_per_s == {"LCx": pytest.approx(1.0)}
    inlet = {"inlet": {"kind": "flow", "Q": 2e-6}}
    assert Conditions.of(told | inlet).Q_in_mL_per_s == pytest.approx(2.0)


def test_given_outflows_are_refused_not_ignored():
    """Taken for open ends they would be, without a word."""
    with pytest.raises(ComputationError, match="LAD"):
        Network().predict(vessel({"LAD": line(1.5)}, {}, given={"LAD": 1.0}))


def test_models_by_name():
    assert isinstance(find("network"), FastModel)
    with pytest.raises(InputError, match="network"):
        find("none")


def test_assumed_conditions_are_those_of_a_case():
    """Resistances by the formulas of a case: in all what flow and pressure say, between outlets by diameters."""
    given = vessel({"LAD": line(1.5), "LCx": line(1.5)}, {"LAD": 1.0, "LCx": 2.0})
    told = Assumptions.model_validate(
        {
            "physiology": {
                "mean_aortic_pressure_mmHg": 95.0,
                "resting": {"flow_mL_per_min": 60.0},
                "hyperaemic_resistance_factor": 0.25,
            },
            "blood": {"viscosity_mPa_s": 4.0},
        }
    )
    found = assumed(given, told)
    assert found.Pa_mmHg == pytest.approx(95.0)
    assert found.viscosity == pytest.approx(4e-3)
    assert found.resistance["LAD"] == pytest.approx(found.resistance["LCx"])
    assert 1 / sum(1 / R for R in found.resistance.values()) == pytest.approx(90.0 / 1.0 * 0.25)


@pytest.mark.parametrize("text", ["physiology: {pressure: 95}", "[1]", "physiology: ["])
def test_bad_assumptions(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError, match="sections physiology, blood and inlet"):
        read_assumptions(tmp_path / "own.yaml")
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_assumptions(tmp_path / "none.yaml")
