"""What the mesh generator is given: a closed surface with named caps, and the centreline radii."""

from __future__ import annotations

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
    """

    points: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]
    patch: npt.NDArray[np.int32]
    caps: tuple[Cap, ...]
    centerline: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
