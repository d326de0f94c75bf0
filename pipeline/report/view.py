"""From where to look at a vessel so that most of it is seen, and large."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DIRECTIONS = 160
SAMPLES = 20_000
GRID = 120  # cells along the longer side of the frame
FRAME = 1.5  # width over height
BEHIND_MM = 3.0  # a mark is hidden by what lies so far in front of it


def best_view(points: Floats, vessel: Mask, marks: Floats) -> Floats:
    """Right, up and towards the viewer, rows of ``(3, 3)``; up is the patient's head (z) as far as it can be.

    Of evenly spread directions the one is taken with the largest visible projected area of the wall (neither hidden
    nor foreshortened), weighted by the marks that nothing hides.

    Args:
        points: Of the wall [mm], ``(n, 3)``.
        vessel: False in flow extensions, ``(n,)``.
        marks: Points that should be seen [mm], ``(m, 3)``; ``m`` may be 0.
    """
    step = max(1, len(points) // SAMPLES)
    some, own = points[::step], vessel[::step]
    candidates = [_axes(direction) for direction in _sphere(DIRECTIONS)]
    scores = [_score(axes, some, own, marks) for axes in candidates]
    return candidates[int(np.argmax(scores))]


def _sphere(count: int) -> Floats:
    """Evenly spread unit vectors (Fibonacci lattice), ``(count, 3)``."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z**2)
    return np.column_stack([r * np.cos(angle), r * np.sin(angle), z])


def _axes(towards: Floats) -> Floats:
    head = np.array([0.0, 0.0, 1.0]) if abs(towards[2]) < 0.95 else np.array([0.0, 1.0, 0.0])
    right = np.cross(head, towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


def _score(axes: Floats, points: Floats, vessel: Mask, marks: Floats) -> float:
    seen = points @ axes.T
    low, size = seen.min(axis=0), np.maximum(np.ptp(seen, axis=0), 1e-9)
    cell = max(size[0], FRAME * size[1]) / GRID
    index = _cells(seen, low, cell)
    front = np.full(index.max() + 1, -np.inf)
    np.maximum.at(front, index, seen[:, 2])
    visible = np.unique(index[(seen[:, 2] >= front[index] - cell) & vessel]).size
    return float(visible * cell**2 * _unhidden(marks @ axes.T, low, cell, front))


def _cells(seen: Floats, low: Floats, cell: float) -> npt.NDArray[np.int64]:
    column, row = ((seen[:, k] - low[k]) // cell for k in (0, 1))
    return np.asarray(row * (2 * GRID) + column, dtype=np.int64)


def _unhidden(marks: Floats, low: Floats, cell: float, front: Floats) -> float:
    """1 if nothing hides the marks, 0.3 if all are hidden."""
    if len(marks) == 0:
        return 1.0
    index = np.clip(_cells(marks, low, cell), 0, len(front) - 1)
    return 0.3 + 0.7 * float(np.mean(front[index] - marks[:, 2] < BEHIND_MM))
