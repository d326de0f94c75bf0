"""Middles of a segmented tree: from its root to its tips, the longest way first, each further one from where it leaves.

Reference: Sato et al., TEASAR, Pacific Graphics 2000, doi 10.1109/PCCGA.2000.883951: ways that keep to the deepest
voxels, and what lies about a way is reached by it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.graph import MCP_Geometric

from pipeline.segmentation.strips import STEP_MM, Array, evenly

_SHORTEST_MM = 4.0  # of a branch, from its parent's wall
_ABOUT, _ABOUT_MM = 1.5, 0.8  # so far from a way, in radii and more, voxels are reached by it
_KEEPS = 3.0  # power of the depth that ways keep to the middle by
_SMOOTH_MM = 1.0  # Gaussian along a way: voxels' corners go, a vessel's bends stay

Mask = npt.NDArray[np.bool_]


def middles_of(body: Mask, affine: Array, root: Array) -> list[Array]:
    """Lines along a tree's vessels, evenly spaced points LPS [mm], ``(n, 3)`` each, from root to tip.

    Args:
        body: Voxels of the tree, cubes.
        affine: Of the voxels.
        root: Where it begins, LPS [mm], ``(3,)``.
    """
    around = ndimage.find_objects(body.astype(np.uint8))[0]
    assert around is not None
    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in around)
    low = np.array([s.start for s in box])
    mine, edge = body[box], float(abs(np.linalg.det(affine[:3, :3])) ** (1 / 3))
    depth = ndimage.distance_transform_edt(mine) * edge
    at = np.argwhere(mine)
    index = (root - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T - low
    start = at[int(np.linalg.norm(at - index, axis=1).argmin())]
    search = MCP_Geometric(np.where(mine, (edge / np.maximum(depth, edge)) ** _KEEPS, -1.0))
    search.find_costs([start])
    far = MCP_Geometric(np.where(mine, edge, -1.0)).find_costs([start])[0][tuple(at.T)]
    left = np.isfinite(far)
    ways: list[Array] = []
    own = np.zeros(mine.shape, np.bool_)  # voxels of ways
    while left.any():
        tip = at[int(np.argmax(np.where(left, far, -1.0)))]
        way = np.array(search.traceback(tip))
        joins = np.flatnonzero(own[tuple(way.T)])
        way = way[joins[-1] if len(joins) else 0 :]
        own[tuple(way.T)] = True
        radius = depth[tuple(way.T)]
        away, nearest = cKDTree(way * edge).query(at * edge)
        left &= away > _ABOUT * radius[nearest] + _ABOUT_MM
        left &= ~((at == tip).all(axis=1))
        length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum()) * edge
        if length - (radius[0] if ways else 0.0) >= _SHORTEST_MM:
            ways.append((way + low) @ affine[:3, :3].T + affine[:3, 3])
    return [smoothed(way) for way in ways]


def smoothed(line: Array, sigma_mm: float = _SMOOTH_MM) -> Array:
    """A line without its corners, evenly spaced; its ends stay."""
    even = evenly(line)
    if len(even) < 3:
        return even
    ends = 2 * even[0] - even[:0:-1], 2 * even[-1] - even[-2::-1]
    long = np.concatenate([ends[0], even, ends[1]])
    soft = ndimage.gaussian_filter1d(long, sigma_mm / STEP_MM, axis=0)
    return evenly(soft[len(even) - 1 : 2 * len(even) - 1])
