"""A CT in Hounsfield units from whatever it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.imaging.acquisition import Acquisition, pseudonym
from pipeline.imaging.files import read_volume
from pipeline.imaging.volume import Volume

_OFFSET = 1024  # of stored values to Hounsfield units, where a program forgot the rescaling


def read_ct(path: Path, series: str | None = None) -> tuple[Volume, Acquisition]:
    """A CT: a folder of DICOM files or one of them, NIfTI, NRRD or MetaImage.

    Args:
        path: File or folder.
        series: With DICOM: which series (`pipeline.imaging.dicom.read_series`).

    Raises:
        InputError: Nothing there that can be read, or values that are not Hounsfield units.
    """
    from pipeline.imaging.dicom import is_dicom, read_series

    path = Path(path)
    if path.is_dir() or is_dicom(path):
        return read_series(path, series)
    if series is not None:
        raise InputError(
            file=path,
            field="series",
            wanted="a folder of DICOM files, of which one series can be named",
            got="a single file",
            remedy="leave input.series out",
        )
    volume = read_volume(path)
    _hounsfield(path, volume.array)
    kind = "NIfTI" if ".nii" in path.name.lower() else path.suffix.lstrip(".").upper()
    unique = np.ascontiguousarray(volume.array).tobytes()
    return volume, Acquisition(pseudonym(unique), kind)


def _hounsfield(path: Path, values: npt.NDArray[Any]) -> None:
    """Refuse what cannot be Hounsfield units: grey pictures, labels, stored values without their offset."""
    low, high = float(values.min()), float(values.max())
    sample = values[:: max(1, values.shape[0] // 64)]
    if low == high:
        got = f"{low:g} everywhere"
    elif low >= 0 and high <= 255:
        got = f"values of {low:g} to {high:g}: labels or a grey picture"
    elif low >= 0 and np.mean(np.abs(sample - float(_OFFSET)) < 150) > 0.2 and low < 300:
        got = f"values of {low:g} to {high:g}, soft tissue near {_OFFSET}: without their offset"
    elif low < -40_000 or high > 100_000:
        got = f"values of {low:g} to {high:g}"
    else:
        return
    raise InputError(
        file=path,
        wanted="Hounsfield units (air -1000, water 0)",
        got=got,
        remedy="convert the CT with its rescale slope and intercept; a label map goes with kind: labels",
    )
