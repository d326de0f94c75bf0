"""What anatomy says of a vessel: ends, centrelines, lesions. Files: vessel.vtp, centerlines.vtp, anatomy.json.

``vessel.vtp``: the closed surface [mm] with cell arrays ``patch`` (0 wall, `End.patch` on caps) and
``extension`` (1 on flow extensions, caps of extended ends included).
``centerlines.vtp``: one poly-line an outlet, from the inlet cap to the outlet cap, extensions included; arrays as
in `Centerline`; cell array ``outlet`` (index into the outlets of ``anatomy.json``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class End:
    """One vessel end.

    Attributes:
        name: E.g. ``"inlet"``, ``"LAD"``; unique.
        role: Inlet or outlet.
        patch: Value of the ``patch`` cell array (>= 1).
        centre_mm: Centroid of the anatomical cross-section, where the flow extension (if any) begins.
        normal: Unit vector out of the vessel at that section.
        area_mm2: Area of the anatomical cross-section.
        diameter_mm: Its area-equivalent diameter, 2 sqrt(A / pi).
        extension_mm: Length of the flow extension; 0 if none.
    """

    name: str
    role: Literal["inlet", "outlet"]
    patch: int
    centre_mm: Vector
    normal: Vector
    area_mm2: float
    diameter_mm: float
    extension_mm: float


@dataclass(frozen=True, slots=True)
class Centerline:
    """The centreline from the inlet to one outlet.

    Attributes:
        outlet: Name of the outlet.
        points_mm: ``(n, 3)``, about a tenth of the local diameter apart.
        abscissa_mm: Arc length ``(n,)``; 0 at the anatomical inlet section, negative in its extension.
        radius_mm: Maximum-inscribed-sphere radius ``(n,)``.
        area_mm2: Area of the lumen cross-section perpendicular to the centreline ``(n,)``; NaN where a
            section does not exist (in a bifurcation it cuts more than one vessel).
        tangent: Unit tangent towards the outlet ``(n, 3)``.
        branch: Branch number ``(n,)``; equal numbers on the shared stem of two centrelines.
        extension: True inside a flow extension ``(n,)``.
    """

    outlet: str
    points_mm: npt.NDArray[np.float64]
    abscissa_mm: npt.NDArray[np.float64]
    radius_mm: npt.NDArray[np.float64]
    area_mm2: npt.NDArray[np.float64]
    tangent: npt.NDArray[np.float64]
    branch: npt.NDArray[np.int32]
    extension: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lesion:
    """One narrowing. Abscissae are along the centreline of `outlet`.

    Attributes:
        name: E.g. ``"LAD-1"``, numbered from proximal to distal.
        outlet: Centreline the abscissae refer to (the first of `outlets`).
        outlets: Every outlet whose centreline passes the lesion.
        throat_mm: Abscissa of the minimum lumen.
        start_mm: Abscissa of the proximal shoulder.
        end_mm: Abscissa of the distal shoulder.
        length_mm: Shoulder to shoulder.
        reference_diameter_mm: Area-equivalent diameter of the healthy vessel at the throat (interpolated).
        minimum_lumen_diameter_mm: Area-equivalent diameter at the throat.
        minimum_lumen_area_mm2: Area at the throat.
        diameter_stenosis: 1 - MLD / reference, between 0 and 1.
        area_stenosis: 1 - MLA / reference area.
        centre_mm: Point of the throat.
    """

    name: str
    outlet: str
    outlets: tuple[str, ...]
    throat_mm: float
    start_mm: float
    end_mm: float
    length_mm: float
    reference_diameter_mm: float
    minimum_lumen_diameter_mm: float
    minimum_lumen_area_mm2: float
    diameter_stenosis: float
    area_stenosis: float
    centre_mm: Vector


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Ends and lesions of one vessel tree (the arrays are in the two VTP files).

    Attributes:
        ends: The inlet first, then the outlets in a reproducible order.
        lesions: From proximal to distal, most proximal first.
        lumen_volume_mm3: Volume without flow extensions.
        notes: What a reader must know (ends cut, caps made, bodies dropped).
    """

    ends: tuple[End, ...]
    lesions: tuple[Lesion, ...]
    lumen_volume_mm3: float
    notes: tuple[str, ...] = ()

    @property
    def inlet(self) -> End:
        """The one inlet."""
        return next(end for end in self.ends if end.role == "inlet")

    @property
    def outlets(self) -> tuple[End, ...]:
        """The outlets."""
        return tuple(end for end in self.ends if end.role == "outlet")

    def save(self, path: Path) -> None:
        """Write ``anatomy.json``."""
        path.write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``anatomy.json``."""
        data = json.loads(path.read_text())
        for end in data["ends"]:
            end["centre_mm"], end["normal"] = tuple(end["centre_mm"]), tuple(end["normal"])
        for lesion in data["lesions"]:
            lesion["outlets"] = tuple(lesion["outlets"])
            lesion["centre_mm"] = tuple(lesion["centre_mm"])
        return cls(
            ends=tuple(End(**end) for end in data["ends"]),
            lesions=tuple(Lesion(**lesion) for lesion in data["lesions"]),
            lumen_volume_mm3=data["lumen_volume_mm3"],
            notes=tuple(data["notes"]),
        )
