"""DICOM headers to image planes: one of a classic file, many of an enhanced (multi-frame) one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.imaging.acquisition import Acquisition, pseudonym

_BARE = (".dcm", ".ima", "")  # files without DICOM's own mark are tried if they are called so
_CT = (  # classes whose every image has a place in space: CT, enhanced CT, legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
_DIRECTORY = "1.2.840.10008.1.3.10"
_ALWAYS = ("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID")
PHASES = ("temporal position", "cardiac phase [%]", "trigger time [ms]", "acquisition")


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice in space.

    Attributes:
        file: Where its pixels are.
        frame: Number of the frame in a multi-frame file; None in a classic one.
        instance: Unique identifier of the image.
        series: Unique identifier of its series.
        number: Series number; -1 if absent.
        position: Centre of the first voxel, LPS [mm], ``(3,)``.
        axes: Unit vectors along a row and along a column, ``(2, 3)``.
        spacing: Distance of voxels along a row and along a column [mm], ``(2,)``.
        shape: Columns and rows.
        rescale: Slope and intercept to Hounsfield units; None if the header has none.
        phases: What may tell images at one place apart, in the order of `PHASES`; None where absent.
        derived: A reformat of another series, or a localizer.
        acquisition: How the scan was made.
    """

    file: Path
    frame: int | None
    instance: str
    series: str
    number: int
    position: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    spacing: npt.NDArray[np.float64]
    shape: tuple[int, int]
    rescale: tuple[float, float] | None
    phases: tuple[float | None, ...]
    derived: bool
    acquisition: Acquisition


def is_dicom(path: Path) -> bool:
    """Whether the file bears DICOM's mark."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def planes_of(folder: Path) -> list[Plane]:
    """Every CT slice below the folder that has a place in space.

    Raises:
        InputError: There is none; the message tells what was found instead.
    """
    planes: list[Plane] = []
    other: dict[str, int] = {}
    for path in _files(folder):
        header = _header(path)
        if header is None:
            continue
        modality = str(header.get("Modality") or "unknown")
        slices = header.SOPClassUID in _CT
        found = list(_planes(path, header, slices)) if slices or modality == "CT" else []
        planes += found
        if not found:
            kind = "CT files without a place in space" if modality == "CT" else f"{modality} files"
            other[kind] = other.get(kind, 0) + 1
    if not planes:
        listed = ", ".join(f"{n} {kind}" for kind, n in sorted(other.items()))
        raise InputError(
            file=folder,
            wanted="a folder with a CT series in DICOM",
            got=listed or "no DICOM file",
            remedy="give the folder with the slices of the coronary CT angiogram",
        )
    return planes


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if name.startswith(".") or name == "DICOMDIR":
                continue
            if is_dicom(path) or path.suffix.lower() in _BARE:
                yield path


def _header(path: Path) -> Any:  # noqa: ANN401 - a pydicom Dataset
    """The header; None of a file that is no DICOM file."""
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            missing = [name for name in _ALWAYS if name not in header]
            fault = f"a header without {', '.join(missing)}" if missing else None
            if header.get("file_meta", {}).get("MediaStorageSOPClassUID") == _DIRECTORY:
                return None
        except Exception as error:  # the parser raises whatever it stumbles over
            fault = str(error) or type(error).__name__
    if fault is None or not is_dicom(path):
        return header if fault is None else None
    raise InputError(
        file=path,
        wanted="a readable DICOM header",
        got=fault,
        remedy="the file is damaged: export the series again",
    )


def _planes(path: Path, header: Any, slices: bool) -> Iterator[Plane]:  # noqa: ANN401
    """The planes of a file; none where a file that is not of a CT's own kind has no place in space (a screenshot)."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), None)
    try:
        if frames is None:
            if slices or "ImagePositionPatient" in header:
                yield _plane(path, None, header, (header,))
            return
        for number, frame in enumerate(frames):
            groups = tuple(group for group in (frame, shared) if group is not None)
            yield _plane(path, number, header, groups)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            file=path,
            field="image plane",
            wanted="position, orientation, pixel spacing, rows and columns as numbers",
            got=str(error) or type(error).__name__,
            remedy="the header is damaged or stripped: export the series again",
        ) from error


def _plane(path: Path, number: int | None, header: Any, groups: tuple[Any, ...]) -> Plane:  # noqa: ANN401
    position = _numbers(_find(groups, "PlanePositionSequence", "ImagePositionPatient"), 3)
    axes = _numbers(_find(groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    rows, columns = _numbers(_find(groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    kinds = [str(kind).upper() for kind in header.get("ImageType") or ()]
    series = str(header.SeriesInstanceUID)
    return Plane(
        file=path,
        frame=number,
        instance=f"{header.SOPInstanceUID}/{number}",
        series=series,
        number=int(header.get("SeriesNumber") or -1),
        position=position,
        axes=_unit(axes.reshape(2, 3)),
        spacing=np.array([columns, rows]),
        shape=(int(header.Columns), int(header.Rows)),
        rescale=_rescale(groups),
        phases=_phases(header, groups),
        derived="LOCALIZER" in kinds or kinds[:1] == ["DERIVED"],
        acquisition=_acquisition(header, groups, series),
    )


def _find(groups: tuple[Any, ...], sequence: str, name: str) -> Any:  # noqa: ANN401
    """An attribute of a header, or of a frame's or the shared functional groups; None if absent."""
    for group in groups:
        inner = next(iter(group.get(sequence) or ()), None)
        for place in (inner, group):
            if place is not None and place.get(name) is not None:
                return place.get(name)
    return None


def _numbers(value: Any, n: int) -> npt.NDArray[np.float64]:  # noqa: ANN401
    numbers = np.array([float(v) for v in value or ()], dtype=np.float64)
    if numbers.shape != (n,) or not np.isfinite(numbers).all():
        raise ValueError(f"{n} finite numbers wanted, {numbers.tolist()} found")
    return numbers


def _unit(axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if not (lengths > 0.99).all() or not (lengths < 1.01).all() or abs(axes[0] @ axes[1]) > 0.01:
        raise ValueError(f"two perpendicular unit vectors wanted, {axes.tolist()} found")
    return np.asarray(axes / lengths)


def _rescale(groups: tuple[Any, ...]) -> tuple[float, float] | None:
    slope = _find(groups, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(groups, "PixelValueTransformationSequence", "RescaleIntercept")
    return None if slope is None or intercept is None else (float(slope), float(intercept))


def _phases(header: Any, groups: tuple[Any, ...]) -> tuple[float | None, ...]:  # noqa: ANN401
    return (
        _number(
            _find(groups, "FrameContentSequence", "TemporalPositionIndex")
            or header.get("TemporalPositionIdentifier")
        ),
        _percent(header, groups),
        _number(header.get("TriggerTime")),
        _number(
            _find(groups, "FrameContentSequence", "FrameAcquisitionNumber")
            or header.get("AcquisitionNumber")
        ),
    )


def _percent(header: Any, groups: tuple[Any, ...]) -> float | None:  # noqa: ANN401
    name = "NominalPercentageOfCardiacPhase"
    return _number(_find((*groups, header), "CardiacSynchronizationSequence", name))


def _number(value: Any) -> float | None:  # noqa: ANN401
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _acquisition(header: Any, groups: tuple[Any, ...], series: str) -> Acquisition:  # noqa: ANN401
    every = (*groups, header)
    kernel = _find(every, "CTReconstructionSequence", "ConvolutionKernel")
    if kernel is not None and not isinstance(kernel, str):
        kernel = " ".join(str(part) for part in kernel)
    scanner = f"{header.get('Manufacturer') or ''} {header.get('ManufacturerModelName') or ''}"
    return Acquisition(
        pseudonym=pseudonym(series.encode()),
        source="DICOM",
        tube_voltage_kV=_number(_find(every, "CTXRayDetailsSequence", "KVP")),
        kernel=str(kernel).strip() or None if kernel is not None else None,
        slice_thickness_mm=_number(_find(every, "PixelMeasuresSequence", "SliceThickness")),
        cardiac_phase_percent=_percent(header, groups),
        scanner=scanner.strip() or None,
    )
