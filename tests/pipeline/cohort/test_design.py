"""Designs of cohorts: the same case for the same number, within the ranges, evenly; bad designs in one error."""

import numpy as np
import pytest
import yaml

from meshing.errors import InputError
from pipeline.case import PhantomInput
from pipeline.cohort.design import Design, dimensions, identifiers, load, sobol
from pipeline.cohort.phantoms import PhantomCases
from pipeline.phantom import build

RANGES = {
    "kind": "phantom",
    "tree": ["left"],
    "inlet_diameter_mm": [3.6, 4.6],
    "lesions": [1, 2],
    "diameter_reduction": [0.3, 0.5],
    "position": [0.2, 0.6],
}


def design(**more):
    return Design.model_validate({"name": "d", "count": 6, "seed": 4, "vessel": RANGES, **more})


@pytest.fixture(scope="module")
def cases():
    told = design(case={"mesh": {"elements_per_diameter": 4}, "solver": {"element": "P1-P1"}})
    source = PhantomCases(told)
    return [source.case(name) for name in identifiers(told)]


def test_everything_lies_within_its_range(cases):
    assert [case.name for case in cases] == [f"d-{k:05d}" for k in range(6)]
    for case in cases:
        vessel = case.input
        assert isinstance(vessel, PhantomInput)
        assert vessel.inlet_diameter_mm is not None
        assert 3.6 <= vessel.inlet_diameter_mm <= 4.6
        assert len(vessel.stenoses) in (1, 2)
        for lesion in vessel.stenoses:
            assert 0.3 <= lesion.diameter_reduction <= 0.5
            assert 0.2 <= lesion.position <= 0.6
        assert 75 <= case.physiology.mean_aortic_pressure_mmHg <= 110
        assert 0.36 <= case.blood.haematocrit <= 0.5
        assert case.mesh.elements_per_diameter == 4
        assert (case.solver.element, case.solver.ranks) == ("P1-P1", 1)
    assert len({case.input.seed for case in cases}) == 6


def test_a_case_is_the_same_however_many_there_are(cases):
    longer = PhantomCases(design(count=40, case={"solver": {"element": "P1-P1"}}))
    for case in cases[:2]:
        again = longer.case(case.name)
        assert again.input == case.input
        assert again.physiology == case.physiology
    other = PhantomCases(design(seed=5)).case("d-00000")
    assert other.input != cases[0].input


def test_no_lesion_reaches_an_open_end():
    """Long narrowings close to the ostium: those that would narrow the inlet are drawn again."""
    wide = RANGES | {"position": [0.0, 0.3], "length_mm": [15, 20], "lesions": [1, 1]}
    told = design(vessel=wide, count=12)
    source = PhantomCases(told)
    kept = 0
    for name in identifiers(told):
        vessel = source.case(name).input
        assert isinstance(vessel, PhantomInput)
        assert vessel.inlet_diameter_mm is not None
        tree = build(vessel)
        kept += len(vessel.stenoses)
        first = tree.paths[0]
        assert 2 * first.at(first.start)[2] > 0.97 * vessel.inlet_diameter_mm
    assert kept > 5


def test_points_are_even():
    told = design(count=64)
    names = dimensions(told)
    points = sobol(told, names)
    assert points.shape == (64, len(names))
    for column in points.T:  # one in each sixty-fourth
        assert sorted(np.floor(64 * column)) == list(range(64))
    assert (sobol(design(count=10), names) == points[:10]).all()


def test_no_range_leaves_what_the_case_says():
    told = design(
        conditions={"mean_aortic_pressure_mmHg": None, "haematocrit": None},
        case={"physiology": {"mean_aortic_pressure_mmHg": 88}},
    )
    case = PhantomCases(told).case("d-00001")
    assert case.physiology.mean_aortic_pressure_mmHg == 88
    assert case.blood.haematocrit is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count"),
        ({"name": "a b"}, "name"),
        ({"colour": 1}, "colour"),
        ({"case": {"input": {}}}, "case.input is the design's"),
        ({"vessel": {"kind": "phantom", "lesions": [3, 1]}}, "low to high"),
        ({"vessel": {"kind": "phantom", "tree": []}}, "tree"),
        ({"vessel": {"kind": "dragon"}}, "vessel"),
        ({"conditions": {"haematocrit": [0.5, 0.4]}}, "low to high"),
    ],
)
def test_bad_designs(tmp_path, change, message):
    path = tmp_path / "design.yaml"
    path.write_text(yaml.safe_dump({"name": "d", "count": 2, **change}))
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_design_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="design"):
        load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(InputError, match="design"):
        load(tmp_path / "broken.yaml")


def test_a_case_that_is_not_valid_is_told_with_its_key():
    source = PhantomCases(design(case={"mesh": {"elements_per_diameter": 1}}))
    with pytest.raises(InputError, match=r"mesh.elements_per_diameter of d-00000"):
        source.case("d-00000")
