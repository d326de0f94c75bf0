"""Cohorts of files that are there: names that tell nothing of a patient, what wins over what, splits by vessel."""

import json

import pytest
import yaml

from meshing.errors import InputError
from pipeline.case import CtInput
from pipeline.cohort.design import Conditions, identifiers, load
from pipeline.cohort.files import FileCases
from pipeline.cohort.run import written
from pipeline.labels.write import _groups

PHANTOM = {"kind": "phantom", "tree": "left", "seed": 3}


def _case(path, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"name": path.stem, "input": PHANTOM, **more}))


def _design(folder, **more):
    path = folder / "design.yaml"
    told = {"name": "site", "vessel": {"kind": "files", "paths": ["in/*"]}, **more}
    path.write_text(yaml.safe_dump(told))
    return load(path)


def test_names_tell_nothing_of_a_patient(tmp_path):
    _case(tmp_path / "in" / "p01.yaml")
    (tmp_path / "in" / "Smith_John_1952.stl").write_text("solid\nendsolid\n")
    (tmp_path / "in" / "Smith_John_CT").mkdir()
    names = identifiers(_design(tmp_path))
    assert len(names) == 3
    assert "site-p01" in names
    assert not any("mith" in name for name in names)
    again = tmp_path / "in" / "p02.yaml"
    _case(again)
    assert set(names) < set(identifiers(_design(tmp_path)))  # one more changes none


def test_a_case_keeps_what_it_says_and_takes_what_the_design_says(tmp_path):
    _case(
        tmp_path / "in" / "p01.yaml",
        physiology={"mean_aortic_pressure_mmHg": 81.0, "hyperaemic_resistance_factor": 0.22},
        mesh={"elements_per_diameter": 7},
    )
    design = _design(
        tmp_path,
        case={"mesh": {"order": 1}, "solver": {"element": "P1-P1"}},
        conditions={"hyperaemic_resistance_factor": [0.25, 0.26]},
    )
    case = FileCases(design, tmp_path).case("site-p01")
    assert case.name == "site-p01"
    assert case.mesh.order == 1
    assert case.mesh.elements_per_diameter == 7
    assert case.solver.ranks == 1
    assert case.physiology.mean_aortic_pressure_mmHg == 81.0
    assert 0.25 <= case.physiology.hyperaemic_resistance_factor <= 0.26
    told = json.loads((tmp_path / "files.json").read_text())
    assert told["site-p01"].endswith("in/p01.yaml")


def test_without_conditions_none_are_drawn(tmp_path):
    _case(tmp_path / "in" / "p01.yaml")
    assert set(_design(tmp_path).conditions.model_dump().values()) == {None}
    with pytest.raises(InputError, match="haematocrit"):
        _design(tmp_path, conditions={"haematocrit": [0.5, 0.4]})
    assert Conditions().haematocrit is not None  # phantoms' are


def test_how_files_are_read_is_the_designs(tmp_path):
    """Of a CT, which tree; not which file."""
    (tmp_path / "in" / "ct").mkdir(parents=True)
    design = _design(tmp_path, case={"input": {"tree": "right"}})
    case = FileCases(design, tmp_path).case(identifiers(design)[0])
    assert isinstance(case.input, CtInput)
    assert case.input.tree == "right"
    assert case.input.path == tmp_path / "in" / "ct"
    with pytest.raises(InputError, match=r"case\.input"):
        _design(tmp_path, case={"input": {"path": "another.nii.gz"}})


def test_a_file_that_is_no_case_stops_no_other(tmp_path):
    _case(tmp_path / "in" / "good.yaml")
    (tmp_path / "in" / "bad.yaml").write_text("name: bad\ninput: {kind: phantom, tre: left}\n")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    design = _design(tmp_path)
    cohort = tmp_path / "c"
    (cohort / "cases").mkdir(parents=True)
    assert list(written(design, identifiers(design), cohort)) == ["site-good"]
    rows = [json.loads(line) for line in (cohort / "ledger.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert any("did you mean 'tree'" in row["reasons"][0] for row in rows)


def test_two_of_one_name_and_none_at_all(tmp_path):
    _case(tmp_path / "in" / "p01.yaml")
    _case(tmp_path / "in" / "p01.yml")
    with pytest.raises(InputError, match="different names"):
        _design(tmp_path)
    with pytest.raises(InputError, match="nothing at"):
        _design(tmp_path, vessel={"kind": "files", "paths": ["nowhere/*.yaml"]})


def test_cases_of_one_vessel_are_in_one_split(tmp_path):
    surface = tmp_path / "a.stl"
    surface.write_text("solid\nendsolid\n")
    one = {"kind": "surface", "path": str(surface)}
    for name, given in (("rest", one), ("exercise", one), ("other", PHANTOM)):
        path = tmp_path / "in" / f"{name}.yaml"
        _case(path)
        path.write_text(yaml.safe_dump({"name": name, "input": given}))
    design = _design(tmp_path)
    cohort = tmp_path / "c"
    (cohort / "cases").mkdir(parents=True)
    list(written(design, identifiers(design), cohort))
    groups = _groups(design, cohort)
    assert groups["site-rest"] == groups["site-exercise"] != groups["site-other"]
