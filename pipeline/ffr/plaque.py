"""Plaque and calcium of a CT's tree: volumes by attenuation along the vessels and in each lesion, a calcium score.

Wall voxels (wall and plaque, as segmented) by attenuation: below 30 HU low attenuation, to 130 HU fibro-fatty, above
fibrous or mixed (blur beside bright blood counts there, too); calcium has its own class. The score is Agatston's sum
with that class in place of his threshold, on slices of the CT as thick as they are, weighted to 3 mm: contrast medium
changes it, it is no clinical calcium score.

References:
    de Graaf et al. (2013), Int. J. Cardiovasc. Imaging 29, 1177-1190, https://doi.org/10.1007/s10554-013-0194-x
    (limits of attenuation);
    Agatston et al. (1990), J. Am. Coll. Cardiol. 15, 827-832, https://doi.org/10.1016/0735-1097(90)90282-T.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label, map_coordinates
from scipy.spatial import cKDTree

from pipeline.ffr.curves import Curve
from pipeline.imaging import Volume, read_volume

LOW_HU, FATTY_HU = 30.0, 130.0
REACH_MM = 2.0
"""Plaque belongs to a vessel within this distance of its lumen."""
AGATSTON = ((400.0, 4), (300.0, 3), (200.0, 2), (130.0, 1))
SLICE_MM = 3.0
DEFINITION = (
    f"Wall and plaque within {REACH_MM:g} mm of the lumen, as segmented: low attenuation below {LOW_HU:g} HU, "
    f"fibro-fatty to {FATTY_HU:g} HU, fibrous or mixed above; calcium is a class of its own. Burden: wall, plaque and "
    "calcium over these and the lumen. The score is Agatston's sum over that calcium; contrast medium changes it: it "
    "is no clinical score."
)


def plaque(
    run_folder: Path, curves: Sequence[Curve], lesions: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Volumes of the tree and of each lesion; None where the lumen is not from a CT.

    Args:
        run_folder: A run with ``image/`` and ``segment/``, if it began with a CT.
        curves: Its centrelines.
        lesions: As in ``ffr.json``: name, outlets, ``start_mm``, ``end_mm``.
    """
    segment = run_folder / "segment"
    if not (segment / "segment.json").is_file():
        return None
    names = json.loads((segment / "segment.json").read_text())["labels"]
    labels = read_volume(segment / "labels.nii.gz")
    hu = read_volume(run_folder / "image" / "ct.nii.gz")
    near = _near(labels, curves, names)
    mine = Volume(np.where(near, labels.array, 0), labels.affine)
    kinds = {key: names[key] for key in ("wall", "calcium", "stent") if key in names}
    index = np.argwhere(np.isin(mine.array, list(kinds.values())))
    points = labels.to_world(index.astype(np.float64))
    found = _Found(
        mine.array[tuple(index.T)],
        map_coordinates(hu.array.astype(np.float32), hu.to_index(points).T, order=1, cval=-1024.0),
        points,
        abs(float(np.linalg.det(labels.affine[:3, :3]))),
        kinds,
    )
    lumen = _lumen(labels, segment, curves)
    everywhere = np.ones(len(index), np.bool_)
    return {
        "definition": DEFINITION,
        "tree": found.told(everywhere, lumen),
        "calcium_score": score(Volume(mine.array == kinds["calcium"], labels.affine), hu),
        "lesions": [
            {"name": x["name"], **found.told(_within(points, curves, x), None)} for x in lesions
        ],
    }


class _Found:
    """Voxels of wall, calcium and stent near the tree."""

    def __init__(
        self,
        kind: npt.NDArray[Any],
        hu: npt.NDArray[Any],
        points: npt.NDArray[np.float64],
        voxel_mm3: float,
        kinds: dict[str, int],
    ) -> None:
        self.kind, self.hu, self.points = kind, hu, points
        self.voxel_mm3, self.kinds = voxel_mm3, kinds

    def told(self, where: npt.NDArray[np.bool_], lumen_mm3: float | None) -> dict[str, Any]:
        """Volumes [mm^3] of the voxels where ``where``; burden where the lumen's volume is known."""
        wall = where & (self.kind == self.kinds.get("wall", -1))
        low, high = self.hu < LOW_HU, self.hu > FATTY_HU
        counts = {
            "low_attenuation_mm3": wall & low,
            "fibrofatty_mm3": wall & ~low & ~high,
            "fibrous_mm3": wall & high,
            "calcium_mm3": where & (self.kind == self.kinds["calcium"]),
            "stent_mm3": where & (self.kind == self.kinds.get("stent", -1)),
        }
        told: dict[str, Any] = {
            name: round(float(mask.sum()) * self.voxel_mm3, 2) for name, mask in counts.items()
        }
        if lumen_mm3 is not None:
            solid = sum(told[name] for name in counts if name != "stent_mm3")
            told["lumen_mm3"] = round(lumen_mm3, 2)
            told["burden"] = round(solid / (solid + lumen_mm3), 4) if solid + lumen_mm3 else None
        return told


def _near(labels: Volume, curves: Sequence[Curve], names: dict[str, int]) -> npt.NDArray[np.bool_]:
    """Voxels within reach of the vessels' lumen, by distance to the centrelines over their local radius."""
    points = np.concatenate([curve.line.points_mm[curve.vessel] for curve in curves])
    radii = np.concatenate([curve.line.radius_mm[curve.vessel] for curve in curves])
    index = np.argwhere(labels.array > 0)
    gap, nearest = cKDTree(points).query(labels.to_world(index.astype(np.float64)))
    close = index[gap < radii[nearest] + REACH_MM]
    near = np.zeros(labels.array.shape, np.bool_)
    near[tuple(close.T)] = True
    return np.asarray(near & (labels.array != names["aorta"]))


def _lumen(labels: Volume, segment: Path, curves: Sequence[Curve]) -> float:
    """Volume of the lumen [mm^3] as far as the centrelines go."""
    shares = read_volume(segment / "lumen.nii.gz")
    points = np.concatenate([curve.line.points_mm[curve.vessel] for curve in curves])
    radii = np.concatenate([curve.line.radius_mm[curve.vessel] for curve in curves])
    index = np.argwhere(shares.array > 0)
    gap, nearest = cKDTree(points).query(shares.to_world(index.astype(np.float64)))
    close = index[gap < radii[nearest] + REACH_MM]
    voxel = abs(float(np.linalg.det(labels.affine[:3, :3])))
    return float(shares.array[tuple(close.T)].sum(dtype=np.float64)) / 255.0 * voxel


def _within(
    points: npt.NDArray[np.float64], curves: Sequence[Curve], lesion: dict[str, Any]
) -> npt.NDArray[np.bool_]:
    """Points whose nearest place on any centreline lies between a lesion's shoulders."""
    places = np.concatenate([curve.line.points_mm for curve in curves])
    here = np.concatenate(
        [
            (curve.line.abscissa_mm >= lesion["start_mm"])
            & (curve.line.abscissa_mm <= lesion["end_mm"])
            & (curve.line.outlet in lesion["outlets"])
            for curve in curves
        ]
    )
    return np.asarray(here[cKDTree(places).query(points)[1]])


def score(calcium: Volume, hu: Volume) -> float:
    """Agatston's sum over a calcium mask: area [mm^2] of each spot of a slice times the weight of its peak.

    The mask's slices across its third axis stand for their thickness over 3 mm.

    Args:
        calcium: Boolean.
        hu: The CT, on any voxels.
    """
    h, total = calcium.spacing_mm, 0.0
    grey = hu.array.astype(np.float32)
    for k in np.flatnonzero(calcium.array.any(axis=(0, 1))):
        spots, count = label(calcium.array[:, :, k], np.ones((3, 3)))
        for spot in range(1, count + 1):
            at = np.argwhere(spots == spot)
            place = calcium.to_world(np.column_stack([at, np.full(len(at), k)]).astype(np.float64))
            values = map_coordinates(grey, hu.to_index(place).T, order=1, cval=-1024.0)
            weight = next((w for least, w in AGATSTON if values.max() >= least), 0)
            total += weight * len(at) * float(h[0] * h[1]) * float(h[2]) / SLICE_MM
    return round(total, 1)
