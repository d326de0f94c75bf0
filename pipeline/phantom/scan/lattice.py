"""Smooth functions on many voxels: evaluated on a coarse lattice, interpolated to the voxels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pipeline.phantom.path import Array

LATTICE_MM = 1.5
Field = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]
ALL = (slice(None), slice(None), slice(None))


class Lattice:
    """Coarse points that cover a grid (its own if that is coarser), and the interpolation from them to its voxels."""

    def __init__(self, affine: Array, size: tuple[int, ...]) -> None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        self._counts = [
            max(2, min(n, int(np.ceil(n * h / LATTICE_MM)) + 1))
            for n, h in zip(size, spacing, strict=True)
        ]
        self._knots = [np.linspace(0, n - 1, c) for n, c in zip(size, self._counts, strict=True)]
        index = np.stack(np.meshgrid(*self._knots, indexing="ij"), axis=-1).reshape(-1, 3)
        self.points = index @ affine[:3, :3].T + affine[:3, 3]
        self._weights = [_linear(k, n) for k, n in zip(self._knots, size, strict=True)]

    def where(self, values: Array, below: float) -> Box | None:
        """The voxels outside which interpolated values are not below a limit; None if there are none."""
        low = values.reshape(self._counts) < below
        box = []
        for axis, knots in enumerate(self._knots):
            found = np.flatnonzero(low.any(axis=tuple(k for k in range(3) if k != axis)))
            if len(found) == 0:
                return None
            first, last = max(found[0] - 1, 0), min(found[-1] + 1, len(knots) - 1)
            box.append(slice(int(knots[first]), int(np.ceil(knots[last])) + 1))
        return box[0], box[1], box[2]

    def spread(self, values: Array, box: Box = ALL) -> Field:
        """Trilinear interpolation to the voxels of a box."""
        x, y, z = (w[part] for w, part in zip(self._weights, box, strict=True))
        field = values.reshape(self._counts).astype(np.float32)
        across = np.stack([y @ (plane @ z.T) for plane in field])
        flat = x @ across.reshape(len(across), -1)
        return np.asarray(flat.reshape(x.shape[0], y.shape[0], z.shape[0]), dtype=np.float32)


def _linear(knots: Array, n: int) -> csr_array:
    """Weights of linear interpolation from knots to 0 ... n - 1, ``(n, knots)``."""
    place = np.interp(np.arange(n), knots, np.arange(len(knots)))
    low = np.minimum(place.astype(int), len(knots) - 2)
    part = (place - low).astype(np.float32)
    data = np.column_stack([1 - part, part]).ravel()
    columns = np.column_stack([low, low + 1]).ravel()
    return csr_array((data, columns, 2 * np.arange(n + 1)), shape=(n, len(knots)))
