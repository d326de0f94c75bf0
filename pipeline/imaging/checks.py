"""What every image must have: numbers, finite ones, and voxels of a possible size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshing.errors import InputError
from pipeline.imaging.volume import Volume


def check(path: Path, volume: Volume) -> None:
    """Refuse what is no image in space.

    Raises:
        InputError: Voxels that are no finite numbers; spacings that no scanner has; axes in one plane.
    """
    if volume.array.dtype.kind not in "biuf":
        raise InputError(
            file=path,
            wanted="numbers",
            got=f"voxels of type {volume.array.dtype}",
            remedy="save one plain number a voxel",
        )
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        wrong = np.argwhere(~np.isfinite(volume.array))
        raise InputError(
            file=path,
            field=f"voxel {tuple(int(i) for i in wrong[0])}",
            wanted="finite voxel values",
            got=f"{len(wrong)} NaN or infinite voxels",
            remedy="replace them (labels: 0 outside the lumen; CT: -1024) and save integers",
        )
    matrix, spacing = volume.affine[:3, :3], volume.spacing_mm
    if not np.isfinite(volume.affine).all() or spacing.min() <= 0.0:
        got = f"{np.round(spacing, 6).tolist()} mm"
    elif abs(np.linalg.det(matrix / spacing)) < 1e-3:
        got = "axes that lie in one plane"
    elif spacing.min() < 0.01 or spacing.max() > 10.0:
        got = f"{spacing.round(6).tolist()} mm, no CT voxel"
    else:
        return
    raise InputError(
        file=path,
        field="voxel size",
        wanted="positive spacings of 0.01 to 10 mm on three independent axes",
        got=got,
        remedy="mend the header (spacing, affine, unit) of the image",
    )
