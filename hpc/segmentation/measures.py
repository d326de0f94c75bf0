"""How good a segmentation is: overlap, connectedness, distances, radii and branches, against an exact one.

References: clDice: Shit et al. 2021, doi 10.1109/CVPR46437.2021.01629; HD95: the larger of both directions' 95th
percentiles of surface distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from skimage.morphology import skeletonize

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]
SIZES_MM = ((1.5, 2.0), (2.0, 3.0), (3.0, 9.0))  # reference diameters that radii are told for


@dataclass(frozen=True, slots=True)
class Branch:
    """A vessel of the truth.

    Attributes:
        name: Its name.
        points: Its middles, LPS [mm], ``(n, 3)``.
        radius: Of its lumen [mm], ``(n,)``.
        reference: Without disease [mm], ``(n,)``.
        calcified: Where its plaque holds calcium, ``(n,)``.
    """

    name: str
    points: Array
    radius: Array
    reference: Array
    calcified: npt.NDArray[np.bool_]


def dice(a: Mask, b: Mask) -> float:
    """Twice the common volume over the sum of both."""
    return float(2.0 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def cldice(a: Mask, b: Mask) -> float:
    """Harmonic mean of the parts of each one's skeleton that lie in the other."""
    sa, sb = skeletonize(a), skeletonize(b)
    if not (sa.any() and sb.any()):
        return 0.0
    precision, sensitivity = float(b[sa].mean()), float(a[sb].mean())
    return 2 * precision * sensitivity / max(precision + sensitivity, 1e-9)


def surface_points(shares: npt.NDArray[np.floating], affine: Array, level: float = 0.5) -> Array:
    """Points of a level's surface, LPS [mm]."""
    padded = np.pad(shares.astype(np.float32), 1)
    vertices = marching_cubes(padded, level)[0] - 1.0
    return np.asarray(vertices @ affine[:3, :3].T + affine[:3, 3])


def hd95(a: Array, b: Array) -> float:
    """Of two surfaces' points [mm]."""
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def radius_errors(branches: list[Branch], wall: Array, found: Array) -> dict[str, list[float]]:
    """Errors of the local radius [mm] along the true middles, by size and by calcium.

    The radius of a wall about a middle: the mean distance of the wall's points within a slab of 0.4 mm across the
    vessel, nearer than twice the true radius and a millimetre. The true wall is measured in the same way, so that
    sections that are not round count right. Middles that the found lumen does not hold are not counted here (they are
    missed length).

    Args:
        branches: The truth.
        wall: Points of the true wall, ``(n, 3)``.
        found: Points of the found wall, ``(m, 3)``.
    """
    out: dict[str, list[float]] = {}
    trees = cKDTree(wall), cKDTree(found)
    for branch in branches:
        tangent = np.gradient(branch.points, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1)[:, None]
        for k in range(4, len(branch.points) - 4, 4):
            both = [
                _radius(tree, points, branch.points[k], tangent[k], float(branch.radius[k]))
                for tree, points in zip(trees, (wall, found), strict=True)
            ]
            if both[0] is None or both[1] is None:
                continue
            error = both[1] - both[0]
            diameter = 2 * branch.reference[k]
            for low, high in SIZES_MM:
                if low <= diameter < high:
                    out.setdefault(f"{low:g} to {high:g} mm", []).append(error)
            if diameter >= SIZES_MM[0][0]:
                name = "calcified" if branch.calcified[k] else "not calcified"
                out.setdefault(name, []).append(error)
    return out


def _radius(
    tree: cKDTree, points: Array, middle: Array, tangent: Array, radius: float
) -> float | None:
    near = tree.query_ball_point(middle, 2 * radius + 1.0)
    if len(near) < 6:
        return None
    away = points[near] - middle
    along = away @ tangent
    across = np.linalg.norm(away - along[:, None] * tangent, axis=1)[np.abs(along) < 0.4]
    return float(across.mean()) if len(across) >= 6 else None


def missed_branches(
    branches: list[Branch], found: npt.NDArray[np.floating], affine: Array, least_mm: float = 1.5
) -> tuple[list[str], float]:
    """Names of true branches less than half of whose length is found, and the part of all length that is.

    Only where the reference diameter is at least ``least_mm``.
    """
    lost, length, seen = [], 0, 0
    for branch in branches:
        wide = 2 * branch.reference >= least_mm
        if wide.sum() < 8:
            continue
        index = (branch.points[wide] - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        held = ndimage.map_coordinates(found.astype(np.float32), index.T, order=1) > 0.4
        length, seen = length + len(held), seen + int(held.sum())
        if held.mean() < 0.5:
            lost.append(branch.name)
    return lost, seen / max(length, 1)


def false_length(found: Mask, affine: Array, branches: list[Branch]) -> float:
    """Length [mm] of the found skeleton more than 1.5 mm outside every true vessel."""
    skeleton = np.argwhere(skeletonize(found))
    if len(skeleton) == 0:
        return 0.0
    points = skeleton @ affine[:3, :3].T + affine[:3, 3]
    middles = np.concatenate([b.points for b in branches])
    radii = np.concatenate([b.radius for b in branches])
    gap, which = cKDTree(middles).query(points)
    outside = gap > radii[which] + 1.5
    return float(outside.sum() * abs(np.linalg.det(affine[:3, :3])) ** (1 / 3) * 1.2)
