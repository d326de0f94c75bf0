"""A CT from a folder of DICOM files.

Identifiers stop here: of a header only geometry, rescaling and how the scan was made are read, and of its unique
identifiers a pseudonym is left (`Acquisition.pseudonym`).

Reference: DICOM PS3.3 C.7.6.2 (image plane), C.7.6.16 (functional groups), C.8.2 and C.8.15 (CT, enhanced CT).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.imaging.acquisition import Acquisition
from pipeline.imaging.checks import check
from pipeline.imaging.dicom.choose import choose
from pipeline.imaging.dicom.headers import is_dicom, planes_of
from pipeline.imaging.dicom.pixels import hounsfield
from pipeline.imaging.dicom.stacks import affine_of, stacks_of
from pipeline.imaging.volume import Volume

__all__ = ["is_dicom", "read_series"]


def read_series(path: Path, series: str | None = None) -> tuple[Volume, Acquisition]:
    """The CT in a folder of DICOM files (searched with its subfolders), or the one that a given slice belongs to.

    Args:
        path: Folder, or one file of the series.
        series: Which series: its number, its unique identifier, or the name that an earlier error listed. Needed
            where the folder has more than one volume.

    Returns:
        Hounsfield units ``(columns, rows, slices)``, whole numbers where the rescaling allows it, the scanner's
        padding at -1024; the affine keeps a tilted gantry's shear.

    Raises:
        InputError: No CT, several volumes and none chosen, missing or repeated slices, uneven distances, pixels that
            cannot be decoded, no rescaling.
    """
    folder = path if path.is_dir() else path.parent
    stacks = stacks_of(planes_of(folder))
    member = None if path.is_dir() else path
    stack = choose(folder, stacks, series, member)
    affine = affine_of(stack)
    volume = Volume(hounsfield(stack), affine)
    check(stack.planes[0].file, volume)
    return volume, stack.planes[0].acquisition
