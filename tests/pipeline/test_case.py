"""The case file: what is accepted, and that every fault is told at once."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from meshing.errors import InputError
from pipeline.case import Case
from pipeline.case_file import dump, input_files, load
from pipeline.imaging import Volume, write_nifti

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    def _write(text, name="case.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_valid(path):
    data = yaml.safe_load(path.read_text())
    assert Case.model_validate(data).name == path.stem


@pytest.mark.parametrize(
    "more",
    [
        "blood: {haematocrit: 0.4}",
        "physiology: {systolic_mmHg: 130, diastolic_mmHg: 80, resting: {myocardial_mass_g: 90}}",
        "physiology: {outlets: {LAD: {share: 0.4}, LCx: {flow_mL_per_min: 50}}}",
        "inlet: {kind: flow, flow_waveform_mL_per_min: {mean: 90, cos: [3], sin: [4]}}",
        "physiology: {aortic_waveform_mmHg: {mean: 90, cos: [3], sin: [4]}}\npulsatile: {}",
        "preset: exercise",
    ],
)
def test_every_kind_of_case_reads_back_as_itself(write, more):
    case = load(write(f"input: {{kind: phantom}}\n{more}\n"))
    assert load(write(dump(case))) == case


def test_resolved_case_reads_back_as_itself(write):
    case = load(ROOT / "configs" / "demo.yaml")
    assert load(write(dump(case))) == case


def test_every_fault_is_told_at_once(write):
    bad = write("input: {kind: phantom, seed: -1}\nmesh: {elment_per_diameter: 3}\nname: [1]\n")
    with pytest.raises(InputError) as caught:
        load(bad)
    text = str(caught.value)
    assert "3 faults" in text
    assert "input.phantom.seed" in text
    assert "did you mean 'elements_per_diameter'" in text
    assert "name" in text


@pytest.mark.parametrize(
    ("physiology", "words"),
    [
        ("{mean_aortic_pressure_mmHg: 12000}", "less than 200"),
        ("{systolic_mmHg: 120}", "both systolic_mmHg and diastolic_mmHg"),
        ("{systolic_mmHg: 80, diastolic_mmHg: 120}", "above diastolic"),
        ("{resting: {flow_mL_per_min: 100, myocardial_mass_g: 100}}", "not both"),
        ("{outlets: {LAD: {resistance: 1}}}", "unknown"),
    ],
)
def test_values_outside_their_range_name_the_key(write, physiology, words):
    bad = write(f"input: {{kind: phantom}}\nphysiology: {physiology}\n")
    with pytest.raises(InputError, match=words):
        load(bad)


def test_missing_input_files_are_named(write):
    bad = write("input: {kind: surface, path: nowhere.stl, caps: {LAD: no_cap.stl}}\n")
    with pytest.raises(InputError) as caught:
        load(bad)
    assert "nowhere.stl" in str(caught.value)
    assert "input.caps.LAD" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "", "\x00"])
def test_what_is_not_a_yaml_mapping_is_refused(write, text):
    with pytest.raises(InputError, match="YAML"):
        load(write(text))


def test_missing_case_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml")


def test_unknown_suffix_is_refused(write):
    with pytest.raises(InputError, match="label map"):
        load(write("x", name="notes.txt"))


@pytest.mark.parametrize(("name", "kind"), [("a b.stl", "surface"), ("m.nii.gz", "labels")])
def test_a_surface_or_label_map_is_a_case_of_defaults(write, name, kind):
    path = write("content is looked at by the surface stage", name=name)
    case = load(path)
    assert case.input.kind == kind
    assert input_files(case) == {"input.path": path}
    assert case.mesh == Case.model_fields["mesh"].default


def test_an_image_with_air_is_a_ct(tmp_path):
    """Taken for labels, a CT would become a surface of everything above zero."""
    image = np.zeros((6, 5, 4), np.int16)
    write_nifti(Volume(image, np.eye(4)), tmp_path / "jane_doe.nii.gz")
    assert load(tmp_path / "jane_doe.nii.gz").input.kind == "labels"
    image[0] = -1000
    write_nifti(Volume(image, np.eye(4)), tmp_path / "jane_doe.nii.gz")
    case = load(tmp_path / "jane_doe.nii.gz")
    assert (case.input.kind, case.name) == ("ct", "ct")  # the file's name may be a patient's


def test_overrides_reach_nested_keys(write):
    path = write("input: {kind: phantom}\n")
    case = load(path, ["mesh.elements_per_diameter=7", "anatomy.inlet=[1.0, 2, 3]", "name=x"])
    assert case.mesh.elements_per_diameter == 7
    assert case.anatomy.inlet == (1.0, 2.0, 3.0)
    assert case.name == "x"


@pytest.mark.parametrize("text", ["mesh.order", ".a=1", "input.kind.x=1", "name=[", "=3"])
def test_a_malformed_override_is_refused(write, text):
    with pytest.raises(InputError, match="--set"):
        load(write("input: {kind: phantom}\n"), [text])


def test_paths_are_taken_from_the_folder_of_the_case(tmp_path):
    (tmp_path / "lumen.stl").write_text("solid\n")
    path = tmp_path / "case.yaml"
    path.write_text("input: {kind: surface, path: lumen.stl}\n")
    assert input_files(load(path)) == {"input.path": tmp_path / "lumen.stl"}


@pytest.mark.parametrize("name", ["rest", "hyperaemia", "exercise", "intracranial"])
def test_presets(tmp_path, name):
    path = tmp_path / "case.yaml"
    path.write_text(f"preset: {name}\ninput: {{kind: phantom}}\n")
    case = load(path)
    assert case.physiology.heart_rate_per_min in (65, 70, 75, 150)
    path.write_text(path.read_text() + "physiology: {heart_rate_per_min: 88}\n")
    own = load(path)
    assert own.physiology.heart_rate_per_min == 88  # what the case says goes before
    assert (
        own.physiology.hyperaemic_resistance_factor == case.physiology.hyperaemic_resistance_factor
    )
    assert load(path, [f"preset={name}"]) == own


def test_an_unknown_preset(tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text("preset: sleep\ninput: {kind: phantom}\n")
    with pytest.raises(InputError, match="wanted one of exercise, hyperaemia, intracranial, rest"):
        load(path)
