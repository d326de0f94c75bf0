"""DICOM series: where voxels lie, what they are worth, which volume is meant, and every way a folder can be wrong."""

from typing import Any

import gdcm
import numpy as np
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from meshing.errors import InputError
from pipeline.imaging import Volume, read_ct, write_nifti
from tests.pipeline.imaging.dicom_files import IDENTIFIERS, compress, write_enhanced, write_series


def ct(shape=(12, 10, 9), spacing=(0.391, 0.4, 0.75), tilt=0.0):
    """Noise in an oblique frame; ``tilt`` shears its third axis [degrees]."""
    rng = np.random.default_rng(1)
    a, b = np.array([0.96, 0.28, 0.0]), np.array([-0.168, 0.576, 0.8])
    normal = np.cross(a, b)
    step = spacing[2] * (normal * np.cos(np.radians(tilt)) + b * np.sin(np.radians(tilt)))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([a * spacing[0], b * spacing[1], step], axis=1)
    affine[:3, 3] = [-81.25, 34.0625, 1020.5]
    return Volume(rng.integers(-1024, 1500, shape).astype(np.int16), affine)


def same(read, volume):
    assert (read.array == volume.array).all()
    assert read.array.dtype == np.int16
    assert np.abs(read.affine - volume.affine).max() < 1e-6  # mm


def test_series(tmp_path):
    volume = ct()
    write_series(volume, tmp_path)
    read, how = read_ct(tmp_path)
    same(read, volume)
    assert (how.tube_voltage_kV, how.kernel, how.slice_thickness_mm) == (100, "Bv40", 0.6)
    assert how.scanner == "ACME Model 5"
    assert read_ct(tmp_path)[1].pseudonym == how.pseudonym


def test_slices_from_head_to_feet(tmp_path):
    volume = ct()
    affine = volume.affine.copy()
    affine[:3, 2] *= -1  # the volume's last slice comes first along the normal
    write_series(Volume(volume.array, affine), tmp_path)
    read, _ = read_ct(tmp_path)
    corner = read.to_world(np.array([[3.0, 4.0, 0.0]]))[0]
    assert corner == pytest.approx(
        Volume(volume.array, affine).to_world(np.array([[3, 4, 8.0]]))[0]
    )
    assert (read.array == volume.array[:, :, ::-1]).all()


def test_a_tilted_gantry_keeps_its_shear(tmp_path):
    volume = ct(tilt=12.0)
    write_series(volume, tmp_path)
    read, _ = read_ct(tmp_path)
    same(read, volume)
    assert read.tilt_degrees == pytest.approx(12.0, abs=1e-6)
    write_nifti(read, tmp_path / "ct.nii.gz")
    again, _ = read_ct(tmp_path / "ct.nii.gz")
    assert np.abs(again.affine - volume.affine).max() < 1e-3


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (1, 0), (2, -8192), (0.5, -1024.0)])
def test_rescaling(tmp_path, slope, intercept):
    volume = ct()
    even = Volume(volume.array // 2 * 2, volume.affine)
    write_series(even, tmp_path, slope=slope, intercept=intercept)
    read, _ = read_ct(tmp_path)
    assert (read.array == even.array).all()
    assert read.array.dtype == (np.float32 if slope == 0.5 else np.int16)


def test_padding_is_air(tmp_path):
    volume = ct()
    volume.array[0, :, :] = -1024 - 976  # what the scanner stores outside its field: HU -2000

    def padded(data, k):
        data.PixelPaddingValue = -976

    write_series(volume, tmp_path, change=padded)
    read, _ = read_ct(tmp_path)
    assert (read.array[0] == -1024).all()
    assert (read.array[1:] == volume.array[1:]).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_byte_orders(tmp_path, syntax):
    volume = ct()
    write_series(volume, tmp_path, syntax=syntax)
    same(read_ct(tmp_path)[0], volume)


@pytest.mark.parametrize(
    "syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"]
)
def test_compressed(tmp_path, syntax):
    volume = ct(shape=(32, 24, 6))
    write_series(volume, tmp_path)
    compress(tmp_path, getattr(gdcm.TransferSyntax, syntax))
    same(read_ct(tmp_path)[0], volume)


def test_enhanced_multi_frame(tmp_path):
    volume = ct()
    write_enhanced(volume, tmp_path / "enhanced.dcm")
    read, how = read_ct(tmp_path / "enhanced.dcm")
    same(read, volume)
    assert how.slice_thickness_mm == 0.6


def test_a_folder_with_everything_in_it(tmp_path):
    volume = ct(shape=(12, 10, 20))
    write_series(volume, tmp_path / "DICOM" / "S1")
    write_series(
        volume, tmp_path / "copy", series=None, number=99, sop=MRImageStorage, Modality="MR"
    )
    write_series(ct(shape=(20, 20, 2)), tmp_path, number=1, name="scout")
    write_series(volume, tmp_path / "mpr", number=7, ImageType=["DERIVED", "SECONDARY", "MPR"])

    def screenshot(data, k):
        data.SOPClassUID = SecondaryCaptureImageStorage
        del data.ImagePositionPatient

    write_series(volume, tmp_path / "shots", number=8, change=screenshot)
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 128 + b"DICM")
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "notes").write_text("no DICOM file either")
    same(read_ct(tmp_path)[0], volume)


def test_copies_count_once(tmp_path):
    volume = ct()
    write_series(volume, tmp_path / "a")
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").iterdir():
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    same(read_ct(tmp_path)[0], volume)


def test_several_volumes_are_listed_and_one_is_taken_by_name(tmp_path):
    first, second = ct(), ct(spacing=(0.5, 0.5, 3.0))
    uid = write_series(first, tmp_path / "a", number=5)
    write_series(second, tmp_path / "b", number=11, ConvolutionKernel=["B", "35f"])
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path)
    assert "5: 9 slices of 12 x 10, 0.6 mm thick, kernel Bv40" in str(caught.value)
    assert "11: 9 slices of 12 x 10, 0.6 mm thick, kernel B 35f" in str(caught.value)
    assert "input.series" in caught.value.remedy
    same(read_ct(tmp_path, "5")[0], first)
    same(read_ct(tmp_path, uid)[0], first)
    same(read_ct(tmp_path, "11")[0], second)
    same(read_ct(next((tmp_path / "b").iterdir()))[0], second)  # one of its slices
    with pytest.raises(InputError, match="one volume called 6; got none; there are 2"):
        read_ct(tmp_path, "6")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NominalPercentageOfCardiacPhase", r"5\.1: .*cardiac phase \[%\] 40"),
        ("TemporalPositionIdentifier", r"5\.1: .*temporal position 40"),
        ("TriggerTime", r"5\.1: .*trigger time \[ms\] 40"),
        ("AcquisitionNumber", r"5\.1: .*acquisition 40"),
    ],
)
def test_phases_of_one_series(tmp_path, name, told):
    systole, diastole = ct(), Volume(ct().array // 2, ct().affine)
    uid = write_series(systole, tmp_path, name="s", **{name: 40})
    write_series(diastole, tmp_path, name="d", series=uid, **{name: 75})
    with pytest.raises(InputError, match=told):
        read_ct(tmp_path)
    same(read_ct(tmp_path, "5.1")[0], systole)
    same(read_ct(tmp_path, "5.2")[0], diastole)


def test_acquisitions_one_above_the_other_are_one_volume(tmp_path):
    """Step and shoot: every slab its own acquisition and trigger time."""

    def slab(data, k):
        data.AcquisitionNumber, data.TriggerTime = 1 + k // 4, 700 + k // 4

    volume = ct()
    write_series(volume, tmp_path, change=slab)
    same(read_ct(tmp_path)[0], volume)


def uneven(data, k):
    if k == 4:
        data.ImagePositionPatient = [float(v) + 0.3 for v in data.ImagePositionPatient]


def uncertain(data, k):
    """Two volumes at one place that nothing tells apart."""
    if k > 4:
        data.ImagePositionPatient = [0, 0, 1000 + 0.75 * (k - 5)]
    else:
        data.ImagePositionPatient = [0, 0, 1000 + 0.75 * k]


def remove(name):
    return lambda data, k: delattr(data, name)


def put(name, value):
    return lambda data, k: setattr(data, name, value)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing slice": ({"keep": [0, 1, 2, 3, 5, 6, 7, 8]}, "gap of 1.5 mm; about 1 slices missing"),
    "missing slices": ({"keep": [0, 1, 2, 5, 6, 8]}, "after slice 3 of 6.*about 3 .* in 2 places"),
    "uneven": ({"change": uneven}, "0.52 mm off its place"),
    "two at one place": ({"change": uncertain}, "one image at each place"),
    "one slice": ({"keep": [3]}, "a single slice"),
    "no rescaling": ({"slope": None}, "rescale slope and intercept"),
    "MR": ({"Modality": "MR", "sop": MRImageStorage}, "9 MR files"),
    "no position": ({"change": remove("ImagePositionPatient")}, "3 finite numbers wanted"),
    "no spacing": ({"change": remove("PixelSpacing")}, "image plane"),
    "no pixels": ({"change": remove("PixelData")}, "pixels that can be decoded"),
    "truncated": ({"change": put("PixelData", b"\0" * 20)}, "pixels that can be decoded"),
    "crooked axes": (
        {"change": put("ImageOrientationPatient", [1, 0, 0, 0.5, 0.5, 0])},
        "perpendicular unit vectors",
    ),
    "axes of no length": (
        {"change": put("ImageOrientationPatient", [0, 0, 0, 0, 1, 0])},
        "perpendicular unit vectors",
    ),
    "two numbers for a position": (
        {"change": put("ImagePositionPatient", [1, 2])},
        "3 finite numbers wanted",
    ),
    "no spacing at all": ({"change": put("PixelSpacing", [0, 0])}, "voxel size"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_series(case, tmp_path):
    how, words = BAD[case]
    write_series(ct(), tmp_path, **how)
    with pytest.raises(InputError, match=words) as caught:
        read_ct(tmp_path)
    assert caught.value.file is not None
    assert str(tmp_path) in caught.value.file
    assert caught.value.remedy
    assert not any(value in str(caught.value) for value in IDENTIFIERS.values())


def test_folders_without_a_ct(tmp_path):
    with pytest.raises(InputError, match="no DICOM file"):
        read_ct(tmp_path)
    (tmp_path / "a.dcm").write_bytes(b"no image" * 100)
    with pytest.raises(InputError, match="no DICOM file"):
        read_ct(tmp_path)


@pytest.mark.parametrize("length", [140, 200, 400, 440, 900, 1300])
def test_a_damaged_file_is_not_passed_over(tmp_path, length):
    """The last slice cut short: without it the rest would be a volume, too short by one."""
    write_series(ct(), tmp_path)
    path = max(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"DICOM header|image plane|decoded") as caught:
        read_ct(tmp_path)
    assert caught.value.file == str(path)


def test_colour_pictures(tmp_path):
    def colour(data, k):
        data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
        data.PlanarConfiguration, data.PixelRepresentation = 0, 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.PixelData = bytes(3 * data.Rows * data.Columns)

    write_series(ct(), tmp_path, change=colour)
    with pytest.raises(InputError, match="one value a pixel"):
        read_ct(tmp_path)


def test_identifiers_do_not_leave(tmp_path):
    """Neither what is read nor what is written from it holds a word of the header."""
    import gzip

    write_series(ct(), tmp_path / "in")
    volume, how = read_ct(tmp_path / "in")
    write_nifti(volume, tmp_path / "ct.nii.gz")
    written = gzip.decompress((tmp_path / "ct.nii.gz").read_bytes()) + repr(how).encode()
    for value in IDENTIFIERS.values():
        for word in value.replace("^", " ").split():
            if len(word) > 3:
                assert word.encode() not in written
