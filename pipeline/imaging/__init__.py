"""Images in space: CT (DICOM series, NIfTI, NRRD, MetaImage) and label maps, all in the patient's LPS frame [mm]."""

from __future__ import annotations

from pipeline.imaging.acquisition import Acquisition
from pipeline.imaging.ct import read_ct
from pipeline.imaging.files import read_label_map, read_volume, write_nifti
from pipeline.imaging.stage import run
from pipeline.imaging.volume import Volume

__all__ = [
    "Acquisition",
    "Volume",
    "read_ct",
    "read_label_map",
    "read_volume",
    "run",
    "write_nifti",
]
