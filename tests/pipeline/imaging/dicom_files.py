"""DICOM files for tests: classic and enhanced CT series of a Volume, with a patient's identifiers in them."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

IDENTIFIERS = {
    "PatientName": "Zyxwara^Quillan",
    "PatientID": "PID77310459",
    "PatientBirthDate": "19431207",
    "PatientAddress": "Nowhere Lane 8812",
    "ReferringPhysicianName": "Vondrasek^Ilse",
    "InstitutionName": "Klinikum Hohenstolp",
    "StationName": "CTSTATION9",
    "AccessionNumber": "ACC5550123",
    "StudyDate": "20190417",
    "AcquisitionDate": "20190418",
    "StudyDescription": "for Mr Zyxwara",
    "SeriesDescription": "Zyxwara cor",
}


def header(volume, *, series=None, number=5, sop=CTImageStorage, **given):
    """What every image of a series has."""
    data = Dataset()
    data.SOPClassUID, data.Modality = sop, "CT"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), series or generate_uid()
    data.SeriesNumber, data.SOPInstanceUID = number, generate_uid()
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.ManufacturerModelName = "ACME", "Model 5"
    data.Columns, data.Rows = volume.array.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = 1
    data.KVP, data.ConvolutionKernel = "100", "Bv40"
    for name, value in {**IDENTIFIERS, **given}.items():
        setattr(data, name, value)
    return data


def geometry(volume):
    """Orientation and pixel spacing of a volume's slices, as DICOM has them."""
    spacing = volume.spacing_mm
    axes = volume.affine[:3, :3] / spacing
    orientation = [f"{v:.12f}"[:16] for v in (*axes[:, 0], *axes[:, 1])]
    return orientation, [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]


def position(volume, k):
    return [f"{v:.8f}"[:16] for v in volume.to_world(np.array([[0.0, 0.0, k]]))[0]]


def save(data, path, syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        data.SOPClassUID,
        data.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = syntax
    data.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def write_series(volume, folder, *, slope=1.0, intercept=-1024.0, name="im", keep=None, **given):
    """A classic series, a file a slice, in an order that has nothing to do with space; its UID.

    ``slope`` None leaves the rescaling out; ``keep`` picks slices.
    """
    series = given.pop("series", None) or generate_uid()
    change = given.pop("change", lambda data, k: None)
    syntax = given.pop("syntax", ExplicitVRLittleEndian)
    orientation, spacing = geometry(volume)
    slices = list(range(volume.array.shape[2]) if keep is None else keep)
    order = np.random.default_rng(3).permutation(len(slices))
    for place, k in zip(order, slices, strict=True):
        data = header(volume, series=series, **given)
        data.ImageOrientationPatient, data.PixelSpacing = orientation, spacing
        data.ImagePositionPatient, data.SliceThickness = position(volume, k), "0.6"
        data.InstanceNumber = int(place) + 1
        stored = volume.array[:, :, k].T.astype(np.float64)
        if slope is not None:
            data.RescaleSlope, data.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
            stored = (stored - intercept) / slope
        order_of_bytes = ">i2" if syntax == ExplicitVRBigEndian else "<i2"
        data.PixelData = np.rint(stored).astype(order_of_bytes).tobytes()
        change(data, k)
        save(data, folder / f"{name}{place:04d}.dcm", syntax)
    return series


def write_enhanced(volume, path, **given):
    """One multi-frame file, its frames from last to first."""
    data = header(volume, sop=EnhancedCTImageStorage, **given)
    orientation, spacing = geometry(volume)
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = orientation
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = spacing
    shared.PixelMeasuresSequence[0].SliceThickness = "0.6"
    shared.PixelValueTransformationSequence = Sequence([Dataset()])
    shared.PixelValueTransformationSequence[0].RescaleSlope = "1"
    shared.PixelValueTransformationSequence[0].RescaleIntercept = "-1024"
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in reversed(range(volume.array.shape[2])):
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([Dataset()])
        frame.PlanePositionSequence[0].ImagePositionPatient = position(volume, k)
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.NumberOfFrames = len(frames)
    stored = volume.array.transpose(2, 1, 0)[::-1].astype(np.int32) + 1024
    data.PixelData = stored.astype("<i2").tobytes()
    save(data, path)


def compress(folder, syntax):
    """Every file of a folder into another transfer syntax, in place."""
    import gdcm

    for path in folder.glob("*.dcm"):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
