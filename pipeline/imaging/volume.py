"""A 3D image in space.

One frame everywhere in ffr3d: millimetres in the patient's axes **LPS** (x to the left, y posterior, z superior), as
in DICOM, ITK, NRRD, and surfaces saved by 3D Slicer. NIfTI's RAS affines are turned on reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Volume:
    """A 3D image.

    Attributes:
        array: Voxel values, ``(nx, ny, nz)``; the first axis is x of the file (the columns of a DICOM slice).
        affine: Index (i, j, k, 1) of a voxel centre -> LPS [mm], ``(4, 4)``; oblique, flipped and sheared (gantry
            tilt) axes allowed.
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Voxel edge lengths [mm], ``(3,)``."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def tilt_degrees(self) -> float:
        """Angle of the third axis to the normal of the other two [degrees]: a tilted gantry's."""
        a, b, c = self.affine[:3, :3].T
        normal = np.cross(a, b)
        cosine = abs(normal @ c) / (np.linalg.norm(normal) * np.linalg.norm(c))
        return float(np.degrees(np.arccos(min(1.0, cosine))))

    def to_world(self, index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Indices ``(n, 3)``, may be fractional -> LPS [mm] ``(n, 3)``."""
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """LPS [mm] ``(n, 3)`` -> fractional indices ``(n, 3)``."""
        return np.asarray((points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T)
