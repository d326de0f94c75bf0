"""Make the CT that `make demo` begins with: ``python hpc/segmentation/demo_ct.py`` writes ``configs/demo_ct.nii.gz``.

A synthetic scan of the tree of ``configs/demo.yaml`` at 0.5 mm; kept small by a byte a voxel (steps of 8 HU, which a
scan's noise of tens covers, up to 1,016 HU).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from pipeline.case import PhantomInput
from pipeline.case_file import load
from pipeline.imaging import Volume
from pipeline.phantom import build
from pipeline.phantom.scan import scan_tree, scene_around

ROOT = Path(__file__).parents[2]
OUT = ROOT / "configs" / "demo_ct.nii.gz"
VOXEL_MM = 0.5
STEP_HU, LEAST_HU = 8.0, -1024.0
_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def scan() -> Volume:
    """The scan, whole Hounsfield units, LPS."""
    source = load(ROOT / "configs" / "demo.yaml", []).input
    assert isinstance(source, PhantomInput)
    return scan_tree(scene_around(build(source)), VOXEL_MM, source.seed).ct


def main() -> None:
    """Write it."""
    ct = scan()
    steps = np.clip(np.rint((ct.array - LEAST_HU) / STEP_HU), 0, 255).astype(np.uint8)
    image: Any = nibabel.Nifti1Image(steps, _RAS_LPS @ ct.affine)
    image.header.set_slope_inter(STEP_HU, LEAST_HU)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, OUT)


if __name__ == "__main__":
    main()
