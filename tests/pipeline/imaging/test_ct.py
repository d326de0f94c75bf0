"""CT in single files: Hounsfield units or a clear error; real volumes to DICOM and back."""

from pathlib import Path

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.imaging import Volume, read_ct, write_nifti
from tests.pipeline.imaging.dicom_files import write_series

REAL = Path(__file__).parents[4] / "shared" / "data" / "cardiac_ct"
AFFINE = np.diag([0.4, 0.4, 0.5, 1.0])


def tissue():
    """Air, fat, muscle and contrast medium, in layers."""
    rng = np.random.default_rng(5)
    layers = np.repeat([-1000, -90, 50, 60, 450], 4)[:, None, None]
    return (layers + rng.normal(0, 25, (20, 12, 10))).astype(np.int16)


def test_hounsfield_units_pass(tmp_path):
    write_nifti(Volume(tissue(), AFFINE), tmp_path / "ct.nii.gz")
    volume, how = read_ct(tmp_path / "ct.nii.gz")
    assert (volume.array == tissue()).all()
    assert how.source == "NIfTI"
    assert how.pseudonym == read_ct(tmp_path / "ct.nii.gz")[1].pseudonym
    write_nifti(Volume(tissue() + 1, AFFINE), tmp_path / "ct.nii.gz")
    assert how.pseudonym != read_ct(tmp_path / "ct.nii.gz")[1].pseudonym


BAD = {
    "labels": ((tissue() > 200).astype(np.uint8), "labels or a grey picture"),
    "grey picture": (np.clip(tissue() / 8 + 128, 0, 255).astype(np.uint8), "a grey picture"),
    "stored values": ((tissue() + 1024).clip(0).astype(np.int16), "without their offset"),
    "constant": (np.full((6, 6, 6), -1024, np.int16), "-1024 everywhere"),
    "scaled": (tissue().astype(np.float32) * 1e3, "got values of"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_ct(case, tmp_path):
    array, words = BAD[case]
    write_nifti(Volume(array, AFFINE), tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match=words):
        read_ct(tmp_path / "ct.nii.gz")


def test_a_series_of_a_single_file(tmp_path):
    write_nifti(Volume(tissue(), AFFINE), tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match="a single file"):
        read_ct(tmp_path / "ct.nii.gz", "5")


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_ct(tmp_path / "ct.nii.gz")


@pytest.mark.skipif(not REAL.exists(), reason="../shared is not there")
@pytest.mark.parametrize("name", ["aorta_report_ct_cropped", "pulmonary_report_ct_cropped"])
def test_real_volumes_to_dicom_and_back(name, tmp_path):
    volume, _ = read_ct(REAL / f"{name}.nii.gz")
    assert volume.spacing_mm == pytest.approx([1.5] * 3, abs=1e-4)
    hu = np.clip(volume.array, -1024, 32767).astype(np.int16)
    write_series(Volume(hu, volume.affine), tmp_path)
    again, _ = read_ct(tmp_path)
    ends = np.array([[0, 0, 0], volume.array.shape]) - [[0, 0, 0], [1, 1, 1]]
    here, there = volume.to_world(ends.astype(float)), again.to_world(ends.astype(float))
    if volume.affine[:3, 2] @ np.cross(volume.affine[:3, 0], volume.affine[:3, 1]) < 0:
        turned = ends * [1, 1, -1] + [0, 0, hu.shape[2] - 1]  # left-handed: the last slice first
        there, hu = again.to_world(turned.astype(float)), hu[:, :, ::-1]
    assert np.abs(here - there).max() < 1e-3  # mm
    assert (again.array == hu).all()
