"""A straight border between vessel and flow extension in pictures: the masked nodes next to it move onto it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.anatomy.types import End

if TYPE_CHECKING:
    import pyvista as pv

Floats = npt.NDArray[np.float64]
ON_PLANE = 0.01
"""Of the end's diameter: a node that near its plane lies on it."""


def straighten(wall: pv.PolyData, ends: Sequence[End]) -> pv.PolyData:
    """Copy a wall (``ffr/wall.vtp``) whose fields end at the end planes, not at the last whole triangles before.

    A masked node that shares an edge with the vessel moves along the extension onto the end plane and gets the mean of
    the fields at its neighbours in the vessel.

    Args:
        wall: Triangles with ``extension`` (1 where masked) and nodal fields, NaN there.
        ends: The vessel ends; those without a flow extension do not matter.
    """
    made = wall.copy()
    faces = np.asarray(made.regular_faces)
    masked = np.asarray(made.point_data["extension"]) == 1
    pairs = np.concatenate([faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    pairs = pairs[masked[pairs[:, 0]] & ~masked[pairs[:, 1]]]  # (in the extension, in the vessel)
    points = np.array(made.points, dtype=np.float64)
    extended = [end for end in ends if end.extension_mm > 0]
    if not len(pairs) or not extended:
        return made
    nearest = _nearest_end(points, extended)
    height, normal = _heights(points, extended, nearest)
    width = np.array([end.diameter_mm for end in extended])[nearest]
    pairs = pairs[height[pairs[:, 1]] < -ON_PLANE * width[pairs[:, 1]]]
    border = np.unique(pairs[:, 0])
    points[border] -= height[border, None] * normal[border]
    made.points = points
    for name in made.point_data:
        values = np.array(made.point_data[name])
        if name != "extension" and values.dtype.kind == "f":
            values[border] = _means(values, pairs)[border]
            made.point_data[name] = values
    return made


def _nearest_end(points: Floats, ends: Sequence[End]) -> npt.NDArray[np.intp]:
    """Number of the end whose centre is nearest, ``(n,)``."""
    away = [np.linalg.norm(points - np.asarray(end.centre_mm), axis=1) for end in ends]
    return np.asarray(np.argmin(np.stack(away), axis=0))


def _heights(
    points: Floats, ends: Sequence[End], number: npt.NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Height beyond each point's end plane ``(n,)``, and the plane's normal ``(n, 3)``."""
    normal = np.array([end.normal for end in ends])[number]
    centre = np.array([end.centre_mm for end in ends])[number]
    return np.asarray(np.einsum("nd,nd->n", points - centre, normal)), normal


def _means(values: Floats, pairs: npt.NDArray[np.int64]) -> Floats:
    """Mean of the values at the second nodes of the pairs of each first one; zero where there is none."""
    total, count = np.zeros_like(values), np.zeros(len(values))
    np.add.at(total, pairs[:, 0], values[pairs[:, 1]])
    np.add.at(count, pairs[:, 0], 1.0)
    return total / np.maximum(count, 1.0).reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
