"""The segment stage: a CT to its coronaries' lumen, ``segment/lumen.nii.gz``, ``labels.nii.gz``, ``segment.json``."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from meshing.errors import ComputationError, InputError
from pipeline.case import CtInput
from pipeline.imaging import Volume, read_volume, write_nifti
from pipeline.segmentation import BUNDLED, BUNDLED_WALLS
from pipeline.segmentation.bridging import WALL
from pipeline.segmentation.trees import Coronaries, CoronaryTree

log = logging.getLogger("ffr3d")
LABELS = {"left": 1, "right": 2, "aorta": 3, "calcium": 4, "other": 5, "wall": 6, "stent": 7}
COARSE_MM = 0.8  # a coronary of 2 mm has less than three such voxels across


def run(source: CtInput, ct: Path, folder: Path) -> None:
    """Segment a CT and write the wanted tree's lumen.

    ``lumen.nii.gz``: part of each voxel inside the lumen, 0 to 255. ``labels.nii.gz``: 0 nothing, `LABELS`.

    Args:
        source: Weights and the wanted side.
        ct: Hounsfield units.
        folder: Output folder; made if absent.

    Raises:
        InputError: No weights, or a CT too coarse for coronaries.
        ComputationError: No aorta, no coronary on it, or none on the wanted side.
    """
    from pipeline.segmentation.network import load
    from pipeline.segmentation.predict import predict
    from pipeline.segmentation.tree_walls import with_walls
    from pipeline.segmentation.trees import coronary_trees
    from pipeline.segmentation.wall_network import load as load_walls

    folder.mkdir(parents=True, exist_ok=True)
    model = load(_weights(source))
    file = _walls(source)
    walls = None if file is None else load_walls(file)
    volume = read_volume(ct)
    _fine_enough(source.path, volume)
    began = time.monotonic()
    found = predict(model, volume)
    seconds = time.monotonic() - began
    coronaries = coronary_trees(found)
    _wanted(coronaries, source.tree)
    if walls is not None:
        coronaries = with_walls(coronaries, volume, walls, source.tree)
    tree = _wanted(coronaries, source.tree)
    mine = coronaries.owner == tree.number
    others = (coronaries.owner > 0) & ~mine
    shares = np.where(others, 0.0, coronaries.shares)
    write_nifti(
        Volume(np.rint(255 * shares).astype(np.uint8), coronaries.affine), folder / "lumen.nii.gz"
    )
    labels = np.zeros(coronaries.owner.shape, np.uint8)
    for name in ("wall", "calcium", "stent", "aorta"):
        if name in found.names:
            labels[found.values[found.names.index(name)] > WALL] = LABELS[name]
    for one in coronaries.trees:
        name = "other" if one.side == tree.side and one is not tree else one.side
        labels[coronaries.owner == one.number] = LABELS[name]
    write_nifti(Volume(labels, coronaries.affine), folder / "labels.nii.gz")
    told = {
        "frame": "LPS",
        "tree": asdict(tree),
        "other_trees": [asdict(one) for one in coronaries.trees if one is not tree],
        "veins": [asdict(vein) for vein in coronaries.veins],
        "labels": LABELS,
        "voxel_mm": model.design.voxel_mm,
        "seconds": round(seconds, 1),
        "model": {"design": asdict(model.design), "card": model.card},
        "walls": walls and {"design": asdict(walls.design), "card": walls.card},
    }
    (folder / "segment.json").write_text(json.dumps(told, indent=2))
    for bridge in tree.bridges:
        at = ", ".join(f"{x:.1f}" for x in bridge.middle_mm)
        log.info("segment  gap of %.1f mm bridged at (%s) mm", bridge.length_mm, at)
    for vein in coronaries.veins:
        at = ", ".join(f"{x:.1f}" for x in vein.middle_mm)
        log.info("segment  %.0f mm left out as a vein at (%s) mm", vein.length_mm, at)


def _weights(source: CtInput) -> Path:
    if source.model is not None:
        return source.model
    if BUNDLED.is_file():
        return BUNDLED
    raise InputError(
        field="input.model",
        wanted="the weights of a segmentation network (.safetensors)",
        got="none: this version comes without any",
        remedy="train one (ffr3d train), or give a label map (input.kind: labels)",
    )


def _walls(source: CtInput) -> Path | None:
    if source.walls == "none":
        return None
    return BUNDLED_WALLS if source.walls == "bundled" else Path(source.walls)


def _fine_enough(path: Path, volume: Volume) -> None:
    spacing = np.sort(volume.spacing_mm)
    if spacing[1] > COARSE_MM:
        raise InputError(
            file=path,
            field="voxel size",
            wanted=f"slices with voxels of at most {COARSE_MM} mm: a coronary is 2 to 4 mm wide",
            got=" x ".join(f"{x:.3g}" for x in volume.spacing_mm) + " mm",
            remedy="give the thin reconstruction of a coronary CT angiogram (0.3 to 0.5 mm)",
        )


def _wanted(coronaries: Coronaries, side: str) -> CoronaryTree:
    for tree in coronaries.trees:
        if tree.side == side:
            return tree
    listed = ", ".join(f"{tree.side} ({tree.volume_mm3:.0f} mm^3)" for tree in coronaries.trees)
    raise ComputationError(
        f"no {side} coronary tree in this CT; found: {listed}. See input.tree, or look at segment/labels.nii.gz"
    )
