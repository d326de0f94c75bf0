"""A phantom as files."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.imaging import write_nifti
from pipeline.phantom.exact import exact_surface
from pipeline.phantom.labels import label_map
from pipeline.phantom.tree import Tree, truth
from pipeline.surface.mesh import write_stl, write_vtp


def write(tree: Tree, folder: Path, voxel_mm: float | None = None) -> None:
    """Write ``lumen.vtp``, ``lumen.stl``, ``phantom.json`` and, with a voxel size, ``labels.nii.gz``."""
    folder.mkdir(parents=True, exist_ok=True)
    surface = exact_surface(tree)
    write_vtp(surface, folder / "lumen.vtp")
    write_stl(surface, folder / "lumen.stl")
    (folder / "phantom.json").write_text(json.dumps(truth(tree), indent=1))
    if voxel_mm is not None:
        write_nifti(label_map(tree, voxel_mm), folder / "labels.nii.gz")
