"""Trees with the walls that the wall network sees along their vessels (`walls`), put back into voxels as shares."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.imaging import Volume
from pipeline.segmentation.middles import middles_of
from pipeline.segmentation.strips import Array, Singles, evenly
from pipeline.segmentation.trees import Coronaries
from pipeline.segmentation.unsure import FULL
from pipeline.segmentation.wall_network import WallModel
from pipeline.segmentation.walls import Mask, Places, Wall, wall_along

log = logging.getLogger("ffr3d")
_FADE_MM = 0.4  # so near to the end of its reach a wall counts less and less
_WIDEST_MM, _WIDER_MM = 2.9, 0.3  # radius that a section holds; up to this much more it fades out
_AORTA_MM, _FREE_MM = 0.8, 0.8  # so near to the aorta nothing changes; from there on it fades in
_LEAST, _MOST = 0.6, 1.7  # of the volume a tree had: beyond, the network does not know what it sees
_LINE = 0.2  # of a voxel's edge: so near to each other a line's points are looked up
_NEAR_MM = 1.6  # about a tree's voxels, its walls are looked for


def with_walls(
    found: Coronaries, ct: Volume, model: WallModel, side: str | None = None
) -> Coronaries:
    """Trees with the walls that the network sees.

    Args:
        found: As the segmentation network sees them.
        ct: Hounsfield units; on any grid.
        model: The wall network.
        side: Of the tree that is wanted; None for all.

    Returns:
        Them; a tree whose volume would change by more than `_LEAST` or `_MOST` stays as it was, with a warning.
    """
    shares, owner, trees = found.shares.copy(), found.owner.copy(), []
    for tree in found.trees:
        if side not in (None, tree.side):
            trees.append(tree)
            continue
        body = found.owner == tree.number
        lines = middles_of(body, found.affine, np.array(tree.ostium_mm))
        box = _box(body, found.affine)
        depth = ndimage.distance_transform_edt(body[box]) * _edge(found.affine)
        radius = ndimage.maximum_filter(depth, 3)
        walls = [
            _remembering(wall_along(line, ct, model, found.blood_hu), radius, found.affine, box)
            for line in lines
        ]
        part, mine = _put(walls, found, tree.number, box)
        volume = _volume(part, mine, owner[box], tree.number, found.affine)
        if not _LEAST < volume / tree.volume_mm3 < _MOST:
            log.warning(
                "segment  the wall network sees %.0f mm^3 of the %s tree's %.0f: its walls are not taken",
                volume,
                tree.side,
                tree.volume_mm3,
            )
            trees.append(tree)
            continue
        here = owner[box]
        here[here == tree.number] = 0
        here[mine] = tree.number
        shares[box] = part
        trees.append(replace(tree, volume_mm3=volume))
    return replace(found, shares=shares, owner=owner, trees=tuple(trees))


def _remembering(wall: Wall, radius: Array, affine: Array, box: tuple[slice, ...]) -> Wall:
    """A wall with the radius [mm] that the tree had there."""
    low = np.array([part.start for part in box])
    index = (wall.middles - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T - low
    before = ndimage.map_coordinates(radius, index.T, order=0)
    return replace(wall, before=np.asarray(before))


def _volume(
    shares: Singles, mine: Mask, owner: npt.NDArray[np.int16], number: int, affine: Array
) -> float:
    """Of a tree [mm^3], the parts of the voxels on its skin as well."""
    skin = ndimage.binary_dilation(mine, FULL) & (mine | (owner == 0) | (owner == number))
    return float(shares[skin].sum(dtype=np.float64)) * _edge(affine) ** 3


def _box(body: Mask, affine: Array) -> tuple[slice, ...]:
    margin = round(2 * _NEAR_MM / _edge(affine)) + 1
    box = ndimage.find_objects(body.astype(np.uint8))[0]
    assert box is not None
    return tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)


def _edge(affine: Array) -> float:
    return float(abs(np.linalg.det(affine[:3, :3])) ** (1 / 3))


def _put(
    walls: list[Wall], found: Coronaries, number: int, box: tuple[slice, ...]
) -> tuple[Singles, Mask]:
    """Shares in a box with a tree's walls, and its voxels there."""
    owner, shares, edge = found.owner[box], found.shares[box].copy(), _edge(found.affine)
    low = np.array([part.start for part in box])
    away = ndimage.distance_transform_edt(owner != number) * edge
    index = np.argwhere((away < _NEAR_MM) & ((owner == 0) | (owner == number)))
    at = tuple(index.T)
    points = (index + low) @ found.affine[:3, :3].T + found.affine[:3, 3]
    distance, trust = _distances(walls, points, edge)
    if found.aorta[box].any():
        off = ndimage.distance_transform_edt(~found.aorta[box])[at] * edge
        trust *= np.clip((off - _AORTA_MM) / _FREE_MM, 0, 1)
    new = np.clip(0.5 - distance / edge, 0, 1)
    shares[at] = trust * new + (1 - trust) * shares[at]
    mine = np.zeros(owner.shape, np.bool_)
    mine[at] = shares[at] > 0.5
    for wall in walls:  # a throat thinner than a voxel does not cut the tree
        mine[_voxels(wall.middles, found.affine, low, owner.shape)] = True
    mine &= (owner == 0) | (owner == number)
    return shares, _largest(mine)


def _distances(walls: list[Wall], points: Array, edge: float) -> tuple[Array, Array]:
    """Distance of points to the walls [mm], the mean of those that tell it, and how much it is worth, ``(n,)`` each.

    A wall counts the more, the nearer a point is to its middle. Shares are a disc's (`render._share`).
    """
    total, weights, trust = (np.zeros(len(points)) for _ in range(3))
    for wall in walls:
        told = wall.at(points)
        worth = np.clip((told.reach - told.away) / _FADE_MM, 0, 1)
        worth *= np.clip((_WIDEST_MM + _WIDER_MM - told.radius) / _WIDER_MM, 0, 1)
        weight = worth * (np.exp(-((told.away / np.maximum(told.radius, edge)) ** 2)) + 1e-9)
        bent = edge**2 / 24 / np.maximum(told.radius, edge / 2)
        total[told.which] += weight * (told.distance + bent)
        weights[told.which] += weight
        trust[told.which] = np.maximum(trust[told.which], worth)
    return total / np.maximum(weights, 1e-30), trust


def _voxels(
    points: Array, affine: Array, low: Places, shape: tuple[int, ...]
) -> tuple[Places, ...]:
    """The voxels of a box that a line of points runs through, from face to face."""
    along = evenly(points, _LINE * _edge(affine))
    index = np.rint((along - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int) - low
    steps = [index[:-1].copy() for _ in range(2)]  # over edges and corners one axis after the other
    steps[0][:, 0] = index[1:, 0]
    steps[1][:, :2] = index[1:, :2]
    every = np.concatenate([index, *steps])
    return tuple(every[((every >= 0) & (every < shape)).all(axis=1)].T)


def _largest(mask: Mask) -> Mask:
    pieces, count = ndimage.label(mask, FULL)
    if count <= 1:
        return mask
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])))
