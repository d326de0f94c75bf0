import json
import math
from pathlib import Path

import pytest

from meshing.errors import InputError
from pipeline.anatomy.types import Anatomy, End
from pipeline.case import Case
from pipeline.physiology import flow_problem
from pipeline.physiology.formulas import (
    flow_of_truncated_tree,
    flow_shares,
    resting_flow_from_mass,
    reynolds,
)
from solver.problem import FlowProblem

MMHG = 133.322387415
MESH = Path("../mesh/mesh.json")


def end(name, diameter, role="outlet", patch=2):
    area = math.pi * diameter**2 / 4
    return End(name, role, patch, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), area, diameter, 0.0)


def anatomy(volume=1857.0, lad=2.0, lcx=3.0):
    ends = (end("inlet", 4.0, "inlet", 1), end("LAD", lad), end("LCX", lcx, patch=3))
    return Anatomy(ends, (), volume)


def case(**sections):
    return Case.model_validate({"input": {"kind": "surface", "path": "x.stl"}, **sections})


def problem(tree=None, **sections):
    return flow_problem(case(**sections), tree or anatomy(), MESH)


def resistance(solved, outlet):
    return solved.outlets[outlet].steady()[1]


def notes(record):
    return " ".join(record["notes"])


def test_a_case_computed_by_hand():
    solved, record = problem(
        physiology={
            "mean_aortic_pressure_mmHg": 100,
            "resting": {"flow_mL_per_min": 120},
            "flow_split_exponent": 2,
            "hyperaemic_resistance_factor": 0.25,
            "distal_pressure_mmHg": 10,
        }
    )
    # areas 4 : 9, flow 2 mL/s, pressure drop 90 mmHg
    lad = 0.25 * 90 / (2 * 4 / 13)
    assert solved.inlet.model_dump() == {"kind": "pressure", "p": pytest.approx(100 * MMHG)}
    assert resistance(solved, "LAD") == pytest.approx(lad * MMHG * 1e6)
    assert resistance(solved, "LCX") == pytest.approx(lad * 4 / 9 * MMHG * 1e6)
    assert solved.outlets["LAD"].pd == pytest.approx(10 * MMHG)
    assert solved.mesh == MESH
    assert record["outlets"][0]["resistance_mmHg_s_per_mL"] == pytest.approx(lad)


def test_pressure_from_systole_and_diastole():
    solved, _ = problem(physiology={"systolic_mmHg": 130, "diastolic_mmHg": 80})
    assert solved.inlet.p == pytest.approx(100 * MMHG)  # 80 + 0.4 * 50


def test_a_default_pressure_is_said_to_be_one():
    solved, record = problem()
    assert solved.inlet.p == pytest.approx(93 * MMHG)
    assert record["inlet"]["mean_aortic_pressure_origin"] == "default"
    assert "default of 93 mmHg" in notes(record)
    _, record = problem(physiology={"mean_aortic_pressure_mmHg": 93})
    assert "default" not in notes(record)


def test_volume_leads_to_mass_and_mass_to_flow():
    _, record = problem()
    quantities = {q["symbol"]: q["value"] for q in record["quantities"]}
    assert quantities["M"] == pytest.approx(100.0)  # 1857 mm3 / 18.57 mm3/g
    assert quantities["Q_rest"] == pytest.approx(160 * (100 / 135) ** 0.75)
    assert "lumen volume" in notes(record)


def test_given_mass_wins_over_the_volume():
    _, record = problem(physiology={"resting": {"myocardial_mass_g": 135}})
    quantities = {q["symbol"]: q["value"] for q in record["quantities"]}
    assert quantities["Q_rest"] == pytest.approx(160.0)
    assert "V" not in quantities


def test_two_left_territories_reproduce_the_measured_hyperaemic_flow():
    measured, territories = 293 + 204, 50 + 36  # mL/min, g: Fournier et al. 2021
    assert resting_flow_from_mass(territories) / 0.24 == pytest.approx(measured, rel=0.05)


def test_shares_sum_to_one_and_follow_the_exponent():
    shares = flow_shares([1.0, 2.0, 3.0], 3.0)
    assert shares == pytest.approx([1 / 36, 8 / 36, 27 / 36])


def test_resistance_override_is_taken_as_it_is_and_leaves_the_others():
    plain, _ = problem()
    solved, record = problem(
        physiology={"outlets": {"LAD": {"resistance_mmHg_s_per_mL": 50}}},
    )
    assert resistance(solved, "LAD") == pytest.approx(50 * MMHG * 1e6)
    assert solved.outlets["LCX"] == plain.outlets["LCX"]
    assert record["outlets"][0]["override"] == "resistance_mmHg_s_per_mL"


def test_flow_override_replaces_the_share():
    solved, _ = problem(physiology={"outlets": {"LCX": {"resting_flow_mL_per_min": 60}}})
    assert resistance(solved, "LCX") == pytest.approx(0.24 * 88 * MMHG * 1e6)


def test_shares_given_leave_the_rest_to_the_others():
    plain, before = problem()
    solved, record = problem(physiology={"outlets": {"LCX": {"share": 0.5}}})
    assert [row["share"] for row in record["outlets"]] == pytest.approx([0.5, 0.5])
    more = before["outlets"][0]["share"] / 0.5  # LAD had less
    assert resistance(solved, "LAD") == pytest.approx(more * resistance(plain, "LAD"))
    both = {"LAD": {"share": 0.7}, "LCX": {"share": 0.3}}
    _, record = problem(physiology={"outlets": both})
    assert [row["share"] for row in record["outlets"]] == pytest.approx([0.7, 0.3])
    _, record = problem(physiology={"outlets": both, "target_flow_mL_per_min": 200})
    assert record["outlets"][0]["share"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"LAD": {"share": 0.7}, "LCX": {"share": 0.2}}, "add up to 1.*0.9"),
        ({"LAD": {"share": 1.0}}, "less than 1"),
    ],
)
def test_shares_that_leave_nothing_or_too_much(shares, message):
    with pytest.raises(InputError, match=message):
        problem(physiology={"outlets": shares})


def test_a_given_flow_has_no_bed():
    solved, record = problem(physiology={"outlets": {"LCX": {"flow_mL_per_min": 60}}})
    assert solved.outlets["LCX"].kind == "flow"
    assert pytest.approx(1e-6) == solved.outlets["LCX"].Q
    assert record["outlets"][1]["resistance_mmHg_s_per_mL"] is None
    json.dumps(record)


def test_zero_resistance_is_an_open_end():
    solved, _ = problem(physiology={"outlets": {"LCX": {"resistance_mmHg_s_per_mL": 0}}})
    assert resistance(solved, "LCX") == 0


def test_unknown_outlet_lists_the_names():
    with pytest.raises(InputError, match=r"physiology.outlets.RCA.*LAD, LCX.*RCA"):
        problem(physiology={"outlets": {"RCA": {"resting_flow_mL_per_min": 60}}})


def test_the_inlet_is_no_outlet():
    with pytest.raises(InputError, match="inlet"):
        problem(physiology={"outlets": {"inlet": {"resting_flow_mL_per_min": 60}}})


def test_distal_above_aortic_pressure_is_refused():
    with pytest.raises(InputError, match="distal_pressure_mmHg"):
        problem(physiology={"mean_aortic_pressure_mmHg": 40, "distal_pressure_mmHg": 45})


def test_prescribed_flow_is_in_si():
    solved, record = problem(inlet={"kind": "flow", "flow_mL_per_min": 300})
    assert solved.inlet.model_dump() == {
        "kind": "flow",
        "Q": pytest.approx(5e-6),
        "profile": "womersley",
    }
    assert record["inlet"]["kind"] == "flow"


def test_a_tree_in_the_wrong_unit_is_noticed():
    _, record = problem(tree=anatomy(volume=1857e3))
    assert "outside" in notes(record)
    assert "not a coronary flow" in notes(record)


def test_an_ordinary_tree_gives_no_warning_of_that_kind():
    _, record = problem()
    assert "outside" not in notes(record)
    assert "not a coronary flow" not in notes(record)


def test_a_sparse_tree_is_noticed():
    _, record = problem(tree=anatomy(lad=1.0, lcx=1.2))
    assert "side branches" in notes(record)
    kept = {q["symbol"]: q["value"] for q in record["quantities"]}["c"]
    assert kept == pytest.approx((1 + 1.2 ** (7 / 3)) / 4 ** (7 / 3))
    _, record = problem(tree=anatomy(lad=2.9, lcx=3.0))
    assert "side branches" not in notes(record)


def test_reynolds_of_one_known_pipe():
    # 3 mm, mean velocity 0.5 m/s, nu 3.3019e-6: Re = 0.5 * 3e-3 / nu
    flow = 0.5 * math.pi * 1.5e-3**2 * 1e6
    assert reynolds(flow, 3.0, 1060, 0.0035) == pytest.approx(0.5 * 3e-3 * 1060 / 0.0035)


def test_problem_and_record_go_through_files(tmp_path):
    solved, record = problem()
    solved.save(tmp_path / "problem.json")
    back = FlowProblem.load(tmp_path / "problem.json")
    assert back.outlets == solved.outlets
    assert back.rheology.viscosity == pytest.approx(0.0035)
    assert json.loads(json.dumps(record)) == record


def test_every_quantity_says_where_it_is_from():
    for physiology in ({}, {"resting": {"flow_mL_per_min": 100}}):
        _, record = problem(physiology=physiology)
        for quantity in record["quantities"]:
            assert quantity["formula"]
            assert quantity["unit"]
            assert quantity["source"] or quantity["formula"].startswith(("given", "measured"))


def test_a_truncated_tree_takes_the_mean_of_what_inlet_and_outlets_say():
    assert flow_of_truncated_tree(100.0, 0.25) == pytest.approx(50.0)
    assert flow_of_truncated_tree(100.0, 1.3) == 100.0


def test_given_flow_is_not_reduced():
    _, record = problem(physiology={"resting": {"flow_mL_per_min": 100}})
    assert sum(row["resting_flow_mL_per_min"] for row in record["outlets"]) == pytest.approx(100)


def test_viscosity_from_the_haematocrit():
    from pipeline.case import Blood
    from pipeline.physiology.formulas import viscosity_of
    from pipeline.physiology.quantities import viscosity

    assert viscosity_of(0.45) == pytest.approx(1.2 * 3.2)
    assert viscosity_of(0.3) < viscosity_of(0.4) < viscosity_of(0.55)
    assert viscosity(Blood()).value == 3.5
    told = viscosity(Blood(haematocrit=0.4))
    assert told.value == viscosity_of(0.4)
    assert "H = 0.4" in told.formula
    with pytest.raises(ValueError, match="not both"):
        Blood(haematocrit=0.4, viscosity_mPa_s=3.6)
