"""What the mesh generator is given: a closed surface with named caps, and the centreline radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Cap:
    """One flat vessel end of a lumen surface.

    Attributes:
        name: Name of the vessel end, e.g. ``"LAD"``.
        role: Inlet or outlet.
        patch: Value of `LumenSurface.patch` on its triangles (>= 1; 0 is the wall).
    """

    name: str
    role: Literal["inlet", "outlet"]
    patch: int


@dataclass(frozen=True, slots=True)
class LumenSurface:
    """A closed, consistently outward-oriented triangle surface of one lumen [mm].

    Attributes:
        points: Vertices [mm], ``(n, 3)``.
        triangles: Vertex indices, ``(m, 3)``, normals outward.
        patch: 0 on the wall, `Cap.patch` on the caps, ``(m,)``.
        caps: The flat ends; exactly one inlet, at least one outlet.
        centerline: Points on the centrelines [mm], ``(k, 3)``.
        radius: Maximum-inscribed-sphere radius at these points [mm], ``(k,)``.
        upstream: Index of the next point towards the inlet, smaller than the point's own; -1 at the
            inlet, ``(k,)``.
    """

    points: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]
    patch: npt.NDArray[np.int32]
    caps: tuple[Cap, ...]
    centerline: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    upstream: npt.NDArray[np.int64]


def join_lines(
    lines: Sequence[npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Make one tree of the centrelines from the inlet to each outlet.

    Args:
        lines: Points of each line [mm], ``(n_i, 3)``, from the inlet outwards; common stems share points.

    Returns:
        ``keep``, indices into the stacked points that leave each point in once, and `LumenSurface.upstream`.
    """
    points = np.round(np.vstack(lines), 6)
    _, first, which = np.unique(points, axis=0, return_index=True, return_inverse=True)
    keep = np.sort(first)
    number = np.searchsorted(keep, first[which.ravel()])
    starts = np.cumsum([0, *(len(line) for line in lines)])[:-1]
    before = np.r_[-1, number[:-1]]
    before[starts] = -1
    return keep, before[keep]
