"""A place in a surface, and the failure that names it; light, because every child process of a mesher imports it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place [mm].

    Attributes:
        at: Its middle, ``(3,)``.
        faulty: Corners of the triangles at fault, ``(k, 3, 3)``; none where the fault is at a point.
        around: Corners of the triangles of the surface it belongs to, ``(m, 3, 3)``.
    """

    at: Floats
    faulty: Floats
    around: Floats

    def __str__(self) -> str:
        """``(x, y, z) mm``."""
        return "(" + ", ".join(f"{value:.2f}" for value in self.at) + ") mm"


class FailedError(RuntimeError):
    """One way to a mesh failed; the message holds the numbers and the place.

    Attributes:
        place: Where; None if the mesher that failed did not say.
        remedy: What the user can do, if anything is known.
    """

    def __init__(self, message: str, place: Place | None = None, remedy: str = "") -> None:
        self.place, self.remedy = place, remedy
        super().__init__(message)
