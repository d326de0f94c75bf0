"""Vessels that are not round: the space they lie in is displaced a little, another way at every place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.path import Array
from pipeline.phantom.scan.shapes import Waves

_LENGTH_MM = 7.0  # of the waves, about: some diameters
_ROUNDS = 10  # of the inverse's fixed point: half of the error is left after one at the most
_LARGEST_MM = 0.25  # displacement along an axis, standard deviation


@dataclass(frozen=True, eq=False)
class Bend:
    """A displacement of space.

    Attributes:
        fields: Along x, y and z [mm].
    """

    fields: tuple[Waves, Waves, Waves]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Bend:
        """Of up to 0.25 mm along an axis (standard deviation), over some millimetres."""
        size = float(rng.uniform(0, _LARGEST_MM))
        x, y, z = (Waves.draw(rng, _LENGTH_MM, size) for _ in range(3))
        return cls((x, y, z))

    def shift(self, points: Array) -> Array:
        """Displacements at points, ``(n, 3)`` [mm]."""
        return np.column_stack([field(points) for field in self.fields])

    def __call__(self, points: Array) -> Array:
        """Where, among the vessels as they were drawn, a place of the scan lies; ``(n, 3)`` to ``(n, 3)`` [mm]."""
        return points + self.shift(points)

    def back(self, points: Array) -> Array:
        """Where in the scan a place among the vessels lies: the inverse, to a hundredth of a millimetre."""
        out = points
        for _ in range(_ROUNDS):
            out = points - self.shift(out)
        return out
