"""The image stage: a CT to ``image/ct.nii.gz`` and ``image/image.json``, without identifiers."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from pipeline.case import CtInput
from pipeline.imaging.ct import read_ct
from pipeline.imaging.files import write_nifti

log = logging.getLogger("ffr3d")


def run(source: CtInput, folder: Path) -> None:
    """Read a CT and write it down.

    Raises:
        InputError: It cannot be read (`read_ct`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    volume, acquisition = read_ct(source.path, source.series)
    write_nifti(volume, folder / "ct.nii.gz")
    told = {
        "frame": "LPS",
        "shape": list(volume.array.shape),
        "voxel_mm": [round(float(x), 6) for x in volume.spacing_mm],
        "tilt_degrees": round(volume.tilt_degrees, 4),
        "affine": volume.affine.tolist(),
        "least_HU": float(volume.array.min()),
        "largest_HU": float(volume.array.max()),
        **asdict(acquisition),
    }
    (folder / "image.json").write_text(json.dumps(told, indent=2))
    size = " x ".join(str(n) for n in volume.array.shape)
    edges = " x ".join(f"{x:.3g}" for x in volume.spacing_mm)
    log.info("image    %s: %s voxels of %s mm", acquisition.pseudonym, size, edges)
