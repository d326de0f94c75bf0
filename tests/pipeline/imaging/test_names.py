"""Names of labels: in NIfTI extensions (TotalSegmentator --ml), in Slicer's NRRD, in file names; which is the lumen."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from meshing.errors import InputError
from pipeline.case import LabelInput
from pipeline.case_file import load
from pipeline.imaging import read_label_map
from pipeline.imaging.names import belongs, named_labels

LABELS = np.zeros((8, 9, 10), np.uint8)
LABELS[1:3] = 52
LABELS[3:5, 2:5, 2:5] = 7
LABELS[5:7, 2:6, 2:6] = 9
TABLE = {52: "aorta", 7: "coronary_arteries", 9: "heart_atrium_left & more"}


def _nifti(path, names):
    image = nibabel.Nifti1Image(LABELS, np.diag([0.4, 0.4, 0.4, 1.0]))
    if names:
        rows = "".join(
            f'<Label Key="{key}" Red="0.1" Green="0.2" Blue="0.3" Alpha="1"><![CDATA[{name}]]></Label>'
            for key, name in {0: "background", **names}.items()
        )
        text = (
            f'<?xml version="1.0"?><CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>'
        )
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, path)
    return path


def _slicer(path, names):
    image = SimpleITK.GetImageFromArray(LABELS.T)
    image.SetSpacing([0.4] * 3)
    for k, (value, name) in enumerate(names.items()):
        image.SetMetaData(f"Segment{k}_Name", name)
        image.SetMetaData(f"Segment{k}_LabelValue", str(value))
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("coronary_arteries", "lumen"), ("Lumen", "lumen"), ("LAD", "lumen"), ("OM1", "lumen"),
        ("aorta", "aorta"), ("calcification", "calcium"), ("vessels", "lumen"),
    ],
)  # fmt: skip
def test_tissues(name, tissue):
    assert [t for t in ("lumen", "aorta", "calcium") if belongs(name, t)] == [tissue]


@pytest.mark.parametrize(
    "name", ["aorta_true_lumen", "coronary_sinus", "pulmonary_artery", "liver"]
)
def test_no_coronary_lumen(name):
    assert not belongs(name, "lumen")


@pytest.mark.parametrize(("make", "file"), [(_nifti, "a.nii.gz"), (_slicer, "a.seg.nrrd")])
def test_the_named_lumen_is_taken(tmp_path, make, file):
    path = make(tmp_path / file, TABLE)
    assert named_labels(path) == {name: key for key, name in TABLE.items()}
    assert np.array_equal(read_label_map(path).array, LABELS == 7)
    assert np.array_equal(read_label_map(path, "Aorta").array, LABELS == 52)
    assert np.array_equal(read_label_map(path, 9).array, LABELS == 9)


def test_several_vessels_are_one_lumen(tmp_path):
    path = _nifti(tmp_path / "a.nii", {52: "LM", 7: "LAD", 9: "myocardium"})
    assert np.array_equal(read_label_map(path).array, (LABELS == 52) | (LABELS == 7))


def test_without_names_everything_is_lumen(tmp_path):
    path = _nifti(tmp_path / "a.nii", {})
    assert named_labels(path) == {}
    assert np.array_equal(read_label_map(path).array, LABELS > 0)


@pytest.mark.parametrize(
    ("names", "label", "said"),
    [
        (TABLE, "LAD", "wanted a label called 'LAD'; got the names aorta, coronary_arteries, heart"),
        ({52: "aorta", 9: "liver"}, None, "a label whose name says coronary or lumen; got the names aorta, liver"),
        ({}, "LAD", "got a file without names of its labels"),
        ({7: "lumen", 3: "aorta"}, "aorta", "wanted voxels of label 3; got only the labels 0, 7, 9, 52"),
    ],
)  # fmt: skip
def test_names_that_do_not_help(tmp_path, names, label, said):
    path = _nifti(tmp_path / "a.nii.gz", names)
    with pytest.raises(InputError) as fault:
        read_label_map(path, label)
    assert said in str(fault.value)


def test_totalsegmentators_folder_is_a_case(tmp_path):
    folder = tmp_path / "segmentations"
    folder.mkdir()
    _nifti(folder / "coronary_arteries.nii.gz", {})
    case = load(folder)
    assert isinstance(case.input, LabelInput)
    assert case.input.path == (folder / "coronary_arteries.nii.gz").resolve()
    named = load(folder, ["input.label=LAD"])
    assert isinstance(named.input, LabelInput)
    assert named.input.label == "LAD"
