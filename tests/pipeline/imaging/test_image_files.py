"""Label maps in three formats, oblique axes, and every way a file can be wrong."""

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.imaging import Volume, read_label_map, read_volume, write_nifti


def oblique():
    """An L-shaped label in a volume with turned, unequal, left-handed axes."""
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [0.4, 0.5, 0.7]
    affine[:3, 3] = [12.0, -30.0, 7.5]
    array = np.zeros((7, 8, 9), np.uint8)
    array[2:5, 3, 4] = 2
    array[2, 3:6, 4:7] = 2
    return Volume(array, affine)


def save_itk(volume, path):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.array.transpose()))
    spacing = volume.spacing_mm
    image.SetSpacing(spacing.tolist())
    image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"])
def test_every_format_puts_the_voxels_at_the_same_place(name, tmp_path):
    volume = oblique()
    (write_nifti if ".nii" in name else save_itk)(volume, tmp_path / name)
    read = read_label_map(tmp_path / name, 2)
    assert (read.array == (volume.array == 2)).all()
    assert read.affine == pytest.approx(volume.affine, abs=1e-5)
    corner = read.to_world(np.array([[2.0, 3.0, 4.0]]))
    c, s = np.cos(0.4), np.sin(0.4)  # by hand: turn the scaled index, add the origin
    x, y, z = 2 * 0.4, 3 * 0.5, 4 * 0.7
    assert corner[0] == pytest.approx([12 + c * x - s * y, -30 + s * x + c * y, 7.5 - z], abs=1e-5)
    assert read.to_index(corner)[0] == pytest.approx([2, 3, 4], abs=1e-9)


def test_nifti_is_turned_from_ras(tmp_path):
    import nibabel

    array = np.zeros((4, 4, 4), np.uint8)
    array[1, 1, 1] = 1
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = [10, 20, 30]
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii")
    at = read_volume(tmp_path / "a.nii").to_world(np.array([[1.0, 1, 1]]))[0]
    assert at == pytest.approx([-10.5, -20.5, 30.5])


def test_nifti_in_metres(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.diag([4e-4, 4e-4, 4e-4, 1.0]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing_mm == pytest.approx([0.4] * 3, rel=1e-6)


def nifti(path, array, affine=None):
    import nibabel

    affine = np.diag([0.4, 0.4, 0.4, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def flat_axes():
    affine = np.diag([0.4, 0.4, 0.4, 1.0])
    affine[:3, 1] = affine[:3, 0]
    return affine


LABELS = np.zeros((6, 6, 6), np.uint8)
LABELS[2:4, 2:4, 2:4] = 3
NAN = np.where(LABELS == 3, 1.0, np.nan).astype(np.float32)
BAD = {
    "missing": (lambda p: None, None, "no such file"),
    "empty file": (lambda p: p.write_bytes(b""), None, "readable image"),
    "garbage": (lambda p: p.write_bytes(b"no image" * 100), None, "readable image"),
    "flat": (lambda p: nifti(p, LABELS[2]), None, "shape 6 x 6"),
    "a series": (lambda p: nifti(p, np.stack([LABELS] * 2, -1)), None, "shape 6 x 6 x 6 x 2"),
    "empty map": (lambda p: nifti(p, LABELS * 0), None, "empty label map"),
    "empty map, label": (lambda p: nifti(p, LABELS * 0), 1, "empty label map"),
    "other label": (lambda p: nifti(p, LABELS), 1, "only the labels 0, 3"),
    "NaN": (lambda p: nifti(p, NAN), None, "208 NaN or infinite"),
    "infinite": (
        lambda p: nifti(p, np.where(LABELS == 3, np.inf, 0).astype("f4")),
        None,
        "8 NaN or inf",
    ),
    "voxel of 40 mm": (
        lambda p: nifti(p, LABELS, np.diag([40.0, 40, 40, 1])),
        None,
        r"\[40.0, 40.0, 40.0\] mm, no CT voxel",
    ),
    "axes in a plane": (lambda p: nifti(p, LABELS, flat_axes()), None, "one plane"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore")
def test_bad_label_maps(case, tmp_path):
    make, label, words = BAD[case]
    path = tmp_path / "labels.nii"
    make(path)
    with pytest.raises(InputError, match=words) as caught:
        read_label_map(path, label)
    assert caught.value.file == str(path)
    assert caught.value.remedy


def test_unknown_format(tmp_path):
    (tmp_path / "labels.tif").write_bytes(b"x")
    with pytest.raises(InputError, match="NIfTI"):
        read_label_map(tmp_path / "labels.tif")


def test_damaged_itk_files(tmp_path):
    for name in ("a.nrrd", "a.mha"):
        (tmp_path / name).write_bytes(b"NRRD0004\ntype: what\n")
        with pytest.raises(InputError, match="readable image"):
            read_label_map(tmp_path / name)


def test_colour_images_are_refused(tmp_path):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="one value a voxel"):
        read_label_map(tmp_path / "a.nrrd")
