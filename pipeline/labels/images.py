"""CT and label map of a case, where it has one: nnU-Net's layout, so that `ffr3d train --data` and others read it.

::

    DATASET/images/dataset.json
    DATASET/images/imagesTr/ID_0000.nii.gz, labelsTr/ID.nii.gz    train and validation
    DATASET/images/imagesTs/ID_0000.nii.gz, labelsTs/ID.nii.gz    test

A phantom's tree is scanned (`pipeline.phantom.scan`): its label map is exact, each voxel what most of it is. Of a case
that began with a CT it is that CT and what was found in it, on the CT's voxels. A case from a surface has none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.case import Case, CtInput, PhantomInput
from pipeline.imaging import Volume, read_volume, write_nifti
from pipeline.manifest import sha256, write_atomically

LABELS = {"background": 0, "lumen": 1, "aorta": 2, "calcium": 3, "wall": 4, "stent": 5}
_FOUND = {"left": "lumen", "right": "lumen", "other": "lumen"}
ENDING = ".nii.gz"


def files(dataset: Path, name: str, split: str) -> tuple[Path, Path]:
    """Where image and label map of a case are."""
    letters = "Ts" if split == "test" else "Tr"
    folder = dataset / "images"
    return (
        folder / f"images{letters}" / f"{name}_0000{ENDING}",
        folder / f"labels{letters}" / f"{name}{ENDING}",
    )


def write_pair(run: Path, dataset: Path, name: str, split: str, voxel_mm: float) -> dict[str, Any]:
    """Write a case's pair, unless it is there; return its hashes for the index, None where the case has no image.

    Args:
        run: Its run folder.
        dataset: The data set's.
        name: Of the case.
        split: Of the case.
        voxel_mm: Edge of a phantom's voxels.
    """
    image, label = files(dataset, name, split)
    for path, other in zip(
        (image, label), files(dataset, name, "test" if split != "test" else "train"), strict=True
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        if other.is_file():
            other.replace(path)
    if not (image.is_file() and label.is_file()):
        made = _pair(run, voxel_mm)
        if made is None:
            return {"image_sha256": None, "label_map_sha256": None}
        for volume, path in zip(made, (image, label), strict=True):
            part = path.with_name(f"part-{path.name}")
            write_nifti(volume, part)
            part.replace(path)
    return {"image_sha256": sha256(image), "label_map_sha256": sha256(label)}


def write_table(dataset: Path, rows: Sequence[dict[str, Any]]) -> None:
    """``dataset.json``, as nnU-Net wants it."""
    training = [row for row in rows if row.get("image_sha256") and row["split"] != "test"]
    told = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": len(training),
        "file_ending": ENDING,
    }
    write_atomically(dataset / "images" / "dataset.json", json.dumps(told, indent=2))


def _pair(run: Path, voxel_mm: float) -> tuple[Volume, Volume] | None:
    source = Case.model_validate(yaml.safe_load((run / "case.yaml").read_text())).input
    if isinstance(source, PhantomInput):
        return _scanned(source, voxel_mm)
    if isinstance(source, CtInput):
        return _found(run)
    return None


def _scanned(source: PhantomInput, voxel_mm: float) -> tuple[Volume, Volume]:
    """A synthetic scan of a tree, and what most of each voxel is."""
    from pipeline.phantom import build
    from pipeline.phantom.scan import TISSUES, scan_tree, scene_around

    scan = scan_tree(scene_around(build(source)), voxel_mm, source.seed)
    shares = scan.exact.shares
    nothing = np.clip(1.0 - shares.sum(axis=0, keepdims=True), 0.0, None)
    most = np.concatenate([nothing, shares]).argmax(axis=0)
    values = np.array([0, *(LABELS[name] for name in TISSUES)], np.uint8)
    return scan.ct, Volume(values[most], scan.ct.affine)


def _found(run: Path) -> tuple[Volume, Volume]:
    """A CT and its segmentation, on its voxels."""
    from scipy.ndimage import map_coordinates

    ct = read_volume(run / "image" / "ct.nii.gz")
    labels = read_volume(run / "segment" / "labels.nii.gz")
    told = json.loads((run / "segment" / "segment.json").read_text())["labels"]
    values = np.zeros(256, np.uint8)
    for name, value in told.items():
        values[value] = LABELS[_FOUND.get(name, name)]
    out = np.empty(ct.array.shape, np.uint8)
    for k in range(out.shape[2]):  # slice by slice: a CT's indices are many
        i, j = np.meshgrid(*(np.arange(n) for n in out.shape[:2]), indexing="ij")
        index = np.column_stack([i.ravel(), j.ravel(), np.full(i.size, k)]).astype(np.float64)
        at = labels.to_index(ct.to_world(index)).T
        found = map_coordinates(labels.array, at, order=0, mode="constant", cval=0)
        out[:, :, k] = values[found].reshape(out.shape[:2])
    return ct, Volume(out, ct.affine)
