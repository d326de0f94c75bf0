"""The label map of a tree: a voxel belongs to the lumen if its centre lies inside."""

from __future__ import annotations

import numpy as np

from pipeline.imaging import Volume
from pipeline.phantom.tree import Tree

MARGIN_VOXELS = 4


def label_map(tree: Tree, voxel_mm: float) -> Volume:
    """Voxelise a tree.

    Args:
        tree: The tree.
        voxel_mm: Edge of the cubic voxels, along the LPS axes.

    Returns:
        Boolean volume, the tree's bounding box and a margin.
    """
    disc = [(path.centre + path.offset, path.radius) for path in tree.paths]
    inner = [(path.knots >= path.start) & (path.knots <= path.end) for path in tree.paths]
    low = np.min(
        [(c - r[:, None])[k].min(0) for (c, r), k in zip(disc, inner, strict=True)], axis=0
    )
    high = np.max(
        [(c + r[:, None])[k].max(0) for (c, r), k in zip(disc, inner, strict=True)], axis=0
    )
    first = np.floor(low / voxel_mm) - MARGIN_VOXELS
    shape = (np.ceil(high / voxel_mm) - first + MARGIN_VOXELS + 1).astype(np.int64)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = first * voxel_mm
    candidates = np.unique(
        np.concatenate([_around(c, r, affine[:3, 3], voxel_mm, shape) for c, r in disc])
    )
    index = np.column_stack(np.unravel_index(candidates, tuple(shape)))
    inside = tree.signed_distance(affine[:3, 3] + index * voxel_mm) < 0.0
    array = np.zeros(tuple(shape), np.bool_)
    array.ravel()[candidates[inside]] = True
    return Volume(array, affine)


def _around(
    centre: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    radius: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    origin: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    voxel_mm: float,
    shape: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Flat indices of the voxels within a ball (radius and two voxels) about the discs of a path."""
    step = max(int(voxel_mm / 0.1), 1)
    centre, radius = centre[::step], radius[::step]
    reach = int(np.ceil(1.1 * radius.max() / voxel_mm)) + 2
    grid = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    grid = grid[(grid**2).sum(1) <= reach**2]
    index = np.unique(np.round((centre - origin) / voxel_mm).astype(np.int64), axis=0)
    found = []
    for block in np.array_split(index, max(len(index) // 200, 1)):
        near = (block[:, None] + grid).reshape(-1, 3)
        near = near[((near >= 0) & (near < shape)).all(axis=1)]
        found.append(np.unique(np.ravel_multi_index(tuple(near.T), tuple(shape))))
    return np.unique(np.concatenate(found))
