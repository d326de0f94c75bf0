"""Target sizes inside a lumen, from a solution on an earlier mesh of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from meshing.topology import Floats, Ints

CELLS_PER_VOLUME = 4.2  # tetrahedra per h^3, measured on tubes and on a coronary tree


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A size field, linear on the tetrahedra of an earlier mesh.

    Attributes:
        points: Vertices [mm], ``(n, 3)``, each in use.
        tetrahedra: ``(m, 4)``.
        size: Target edge length at the vertices [mm], ``(n,)``.
    """

    points: Floats
    tetrahedra: Ints
    size: Floats

    def predicted_cells(self) -> float:
        """Number of tetrahedra that the sizes ask for."""
        a, b, c, d = (self.points[self.tetrahedra[:, k]] for k in range(4))
        volume = np.abs(np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a)) / 6
        density = (self.size[self.tetrahedra] ** -3).mean(axis=1)
        return float(CELLS_PER_VOLUME * np.sum(volume * density))

    def save(self, path: Path) -> None:
        """Write an ``.npz``, the same bytes for the same field."""
        np.savez(path, points=self.points, tetrahedra=self.tetrahedra, size=self.size)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it."""
        with np.load(path) as f:
            return cls(f["points"], f["tetrahedra"], f["size"])
