"""What a fast model is given: a case of a data set without its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.labels.conditions import Conditions

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A centreline from the inlet to a vessel end; arrays ``(s,)``.

    Attributes:
        points_mm: ``(s, 3)``.
        abscissa_mm: From the anatomical inlet.
        radius_mm: Of the inscribed sphere.
        area_mm2: Of the cross-section; NaN in bifurcations.
        branch: The same number on shared stems.
        lesion: Place in `Vessel.lesions`; -1 outside.
    """

    points_mm: Array
    abscissa_mm: Array
    radius_mm: Array
    area_mm2: Array
    branch: npt.NDArray[np.int64]
    lesion: npt.NDArray[np.int64]

    @property
    def whole_area_mm2(self) -> Array:
        """Area; that of the inscribed sphere where there is no section."""
        inscribed = np.pi * self.radius_mm**2
        return np.asarray(np.where(np.isfinite(self.area_mm2), self.area_mm2, inscribed))


@dataclass(frozen=True, slots=True)
class Calibre:
    """Ends of a vessel, what population formulas for flow take of it, and where its conditions hold.

    Attributes:
        inlet_mm: Diameter of the inlet.
        outlets_mm: Of each vessel end.
        lumen_mm3: Volume without flow extensions.
        inlet_extension_mm: Straight tube before the inlet, at whose beginning the aortic pressure is.
        extensions_mm: Behind each vessel end, at whose end its resistance begins; none where absent.
    """

    inlet_mm: float
    outlets_mm: Mapping[str, float]
    lumen_mm3: float
    inlet_extension_mm: float = 0.0
    extensions_mm: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Vessel:
    """One case.

    Attributes:
        case: Its name.
        lines: By vessel end.
        lesions: Their geometry, as in ``ffr.json`` without pressures and flows.
        ends_mm: Abscissa of each anatomical end, where FFR is told.
        calibre: Diameters and volume.
        conditions: Of the flow.
    """

    case: str
    lines: Mapping[str, Line]
    lesions: tuple[Mapping[str, Any], ...]
    ends_mm: Mapping[str, float]
    calibre: Calibre
    conditions: Conditions


PLAQUE = ("low_attenuation_mm3", "fibrofatty_mm3", "fibrous_mm3", "calcium_mm3")
GEOMETRY = ("name", "outlet", "outlets", "diameter_stenosis", "reference_diameter_mm", "minimum_lumen_diameter_mm",
            "minimum_lumen_area_mm2", "length_mm", "start_mm", "throat_mm", "end_mm", "distal_window")  # fmt: skip


def read(path: Path) -> tuple[Vessel, dict[str, Any]]:
    """A case of a data set.

    Args:
        path: Its HDF5 file.

    Returns:
        What a model may see, and the answers: FFR and its error at vessel ends and distal of lesions
        (``vessels``, ``lesions`` by name), pressure along the lines (``pressure_mmHg``), flow through each end
        (``flows_mL_per_s``), ``throat_reynolds``, ``calcium`` (part of a lesion's wall and plaque, where it was
        segmented), ``Pa_mmHg``, ``group``.
    """
    with h5py.File(path) as file:
        labels, conditions, provenance = (
            json.loads(file.attrs[name]) for name in ("labels", "conditions", "provenance")
        )
        arrays = {
            name: {key: values[:] for key, values in part.items()}
            for name, part in file["centerlines"].items()
        }
    lines = {name: _line(part) for name, part in arrays.items()}
    vessel = Vessel(
        case=provenance["case"],
        lines=lines,
        lesions=tuple({key: x[key] for key in GEOMETRY} for x in labels["lesions"]),
        ends_mm={v["name"]: v["length_mm"] for v in labels["vessels"]},
        calibre=_calibre(labels["ends"]),
        conditions=Conditions.of(conditions),
    )
    answers = {
        "vessels": {v["name"]: (v["ffr"], v["ffr_error"]) for v in labels["vessels"]},
        "lesions": {x["name"]: (x["ffr_distal"], x["ffr_error"]) for x in labels["lesions"]},
        "pressure_mmHg": {name: part["pressure"].astype(float) for name, part in arrays.items()},
        "Pa_mmHg": labels["reference"]["Pa_mmHg"],
        "group": provenance["group"],
        "flows_mL_per_s": {v["name"]: v["flow_mL_per_min"] / 60.0 for v in labels["vessels"]},
        "throat_reynolds": {x["name"]: x["throat_reynolds"] for x in labels["lesions"]},
        "calcium": _calcium(labels["plaque"]),
    }
    return vessel, answers


def _calibre(told: Mapping[str, Any]) -> Calibre:
    return Calibre(
        told["inlet_diameter_mm"],
        told["outlet_diameters_mm"],
        told["lumen_volume_mm3"],
        told["inlet_extension_mm"],
        told["outlet_extensions_mm"],
    )


def _calcium(plaque: Mapping[str, Any] | None) -> dict[str, float]:
    if plaque is None:
        return {}
    parts = {}
    for lesion in plaque["lesions"]:
        volumes = [lesion[key] for key in PLAQUE]
        whole = sum(volumes)
        if whole > 0:
            parts[lesion["name"]] = volumes[-1] / whole
    return parts


def _line(part: Mapping[str, Any]) -> Line:
    wide = {
        key: np.asarray(part[key], np.float64) for key in ("points", "abscissa", "radius", "area")
    }
    whole = (np.asarray(part[key], np.int64) for key in ("branch", "lesion"))
    return Line(wide["points"], wide["abscissa"], wide["radius"], wide["area"], *whole)
