"""Straightened images: what a CT shows in sections across a vessel, one after the other along its middle.

Sections turn as little as they can from one to the next (rotation-minimising frames: Wang et al., ACM Trans. Graph.
2008;27:2, doi 10.1145/1330511.1330513, here by projection, which does the same to second order).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.imaging import Volume

ACROSS = 24  # pixels of a section along an edge
PIXEL_MM = 0.32
STEP_MM = 0.4  # between sections
Array = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Strip:
    """Sections along a vessel.

    Attributes:
        middles: Of the sections, LPS [mm], ``(n, 3)``, `STEP_MM` apart.
        frames: Unit vectors of a section's two axes, ``(n, 2, 3)``.
    """

    middles: Array
    frames: Array

    @classmethod
    def along(cls, middles: Array, angle: float = 0.0) -> Strip:
        """Sections across a smooth line of evenly spaced points, ``(n, 3)``, n >= 3.

        Args:
            middles: The line.
            angle: By which the first section is turned [rad].
        """
        tangents = np.gradient(middles, axis=0)
        tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-12)
        first = np.eye(3)[int(np.argmin(np.abs(tangents[0])))]
        side = np.cross(tangents[0], first)
        side = side / np.linalg.norm(side)
        side = np.cos(angle) * side + np.sin(angle) * np.cross(tangents[0], side)
        frames = np.empty((len(middles), 2, 3))
        for k, tangent in enumerate(tangents):
            side = side - (side @ tangent) * tangent
            side = side / max(float(np.linalg.norm(side)), 1e-12)
            frames[k] = side, np.cross(tangent, side)
        return cls(middles, frames)

    @property
    def points(self) -> Array:
        """Middles of the pixels, LPS [mm], ``(n, ACROSS, ACROSS, 3)``."""
        at = offsets()
        u, v = (self.frames[:, None, None, k] for k in range(2))
        return np.asarray(self.middles[:, None, None] + at[:, None, None] * u + at[:, None] * v)

    def image(self, volume: Volume) -> Singles:
        """A volume in the sections, linear between its voxels, ``(n, ACROSS, ACROSS)``."""
        points = self.points
        index = volume.to_index(points.reshape(-1, 3)).T
        values = ndimage.map_coordinates(
            volume.array.astype(np.float32), index, order=1, mode="nearest"
        )
        return np.asarray(values.reshape(points.shape[:-1]), dtype=np.float32)


def offsets() -> Array:
    """Places of a section's pixels along an axis [mm], ``(ACROSS,)``."""
    return np.asarray((np.arange(ACROSS) - 0.5 * (ACROSS - 1)) * PIXEL_MM)


def evenly(points: Array, step: float = STEP_MM) -> Array:
    """Points along a poly-line ``(m, 3)``, ``step`` apart, the first one kept."""
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0.0, way[-1] + 1e-9, step)
    even = np.column_stack([np.interp(at, way, points[:, k]) for k in range(3)])
    return np.asarray(even, dtype=np.float64)
