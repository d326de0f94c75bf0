"""Where predictions come from: a fast model, or files; under the reference's conditions, and under the model's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from meshing.errors import InputError
from pipeline.fast.assumed import Assumptions, assumed, read_assumptions
from pipeline.fast.hydraulics import told
from pipeline.fast.protocol import Fitted, OwnConditions, Prediction, find
from pipeline.fast.vessel import Line, Vessel

Predict = Callable[[Vessel], Prediction | None]
SAME, OWN = "same", "own"
_COLUMNS = {"case", "name", "ffr"}
_ON_LINE = 0.95  # of a line's points have a point of the file within their radius, or the line is not predicted
_NEAR_MM = 1.0  # or within this
_REMEDY = "names are those of vessel ends and lesions in the labels; see docs/cohorts.md"


@dataclass(frozen=True, slots=True)
class Source:
    """What predicts.

    Attributes:
        same: Under the reference's conditions; None for a case without a prediction.
        own: Under the model's own, if it has any.
        own_told: What those are.
        seen: Groups that the model was fitted to.
    """

    same: Predict
    own: Predict | None = None
    own_told: str = ""
    seen: frozenset[str] = frozenset()


def source(model: str, assumptions: Path | None = None) -> Source:
    """The predictions of a model or a file.

    Args:
        model: Name of a fast model, a fitted one (``.safetensors``), a file of predictions (``.csv``, ``.json``), or
            a folder of centrelines (``CASE.vtp`` with the point array ``pressure_mmHg`` or ``ffr``).
        assumptions: YAML of what the model assumes by itself (`pipeline.fast.assumed`).

    Raises:
        InputError: No such model; a file that cannot be read; assumptions for numbers from files.
    """
    path = Path(model)
    if path.is_dir() or path.suffix.lower() in (".csv", ".json", ".vtp"):
        if assumptions is not None:
            raise InputError(
                field="--own-conditions",
                wanted="a fast model to run under them",
                got=f"{path}, numbers that are there already",
                remedy="give both in the file: a column 'conditions' with 'same' or 'own'",
            )
        return _files(path)
    found = find(model)
    seen = found.seen if isinstance(found, Fitted) else frozenset[str]()
    if assumptions is not None:
        own = read_assumptions(assumptions)
        told_by = assumptions.name
        return Source(found.predict, lambda v: found.predict(_under(v, own)), told_by, seen)
    if isinstance(found, OwnConditions):
        told_by = "the model's own"
        return Source(found.predict, lambda v: found.predict(_by(found, v)), told_by, seen)
    return Source(found.predict, seen=seen)


def _under(vessel: Vessel, own: Assumptions) -> Vessel:
    return replace(vessel, conditions=assumed(vessel, own))


def _by(model: OwnConditions, vessel: Vessel) -> Vessel:
    return replace(vessel, conditions=model.conditions(vessel))


def _files(path: Path) -> Source:
    if path.is_dir() or path.suffix.lower() == ".vtp":
        return Source(lambda vessel: from_vtp(path, vessel))
    same, own = from_file(path)
    if not own:
        return Source(lambda vessel: same.get(vessel.case))
    return Source(lambda v: same.get(v.case), lambda v: own.get(v.case), "those in the file")


Predictions = dict[str, Prediction]


def from_file(path: Path) -> tuple[Predictions, Predictions]:
    """Predictions by case, under the reference's conditions and under the model's own.

    Raises:
        InputError: The file is not as expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else list(_csv_rows(text))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            file=path,
            wanted="predictions: CSV with the columns case, name, ffr (std, seconds, conditions), or JSON "
            "{case: {name: ffr}}",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy=_REMEDY,
        ) from None
    same, own = (
        _predictions([row for row in rows if (row.get("conditions") or SAME) == kind])
        for kind in (SAME, OWN)
    )
    return same, own


def _predictions(rows: list[dict[str, Any]]) -> Predictions:
    ffr: dict[str, dict[str, float]] = {}
    std: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for row in rows:
        case, name = row["case"], row["name"]
        ffr.setdefault(case, {})[name] = float(row["ffr"])
        seconds.setdefault(case, float(row.get("seconds") or 0.0))
        if row.get("std"):
            std.setdefault(case, {})[name] = float(row["std"])
    return {
        case: Prediction(values, values, seconds=seconds[case], std=std.get(case, {}))
        for case, values in ffr.items()
    }


def _json_rows(text: str) -> list[dict[str, Any]]:
    return [
        {"case": case, "name": name, "ffr": float(ffr)}
        for case, values in json.loads(text).items()
        for name, ffr in values.items()
    ]


def _csv_rows(text: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(text.splitlines())
    absent = _COLUMNS - set(reader.fieldnames or ())
    if absent:
        raise ValueError(f"no column {', '.join(sorted(absent))}")
    for number, row in enumerate(reader, start=2):
        for name in ("ffr", "std", "seconds"):
            try:
                float(row.get(name) or ("" if name == "ffr" else 0.0))
            except (TypeError, ValueError):
                raise ValueError(f"line {number}: {name} is {row.get(name)!r}") from None
        if (row.get("conditions") or SAME) not in (SAME, OWN):
            raise ValueError(
                f"line {number}: conditions is {row['conditions']!r}, not {SAME} or {OWN}"
            )
        yield row


def from_vtp(path: Path, vessel: Vessel) -> Prediction | None:
    """A prediction along centrelines, from points in the labels' frame.

    Args:
        path: A folder with ``CASE.vtp``, or the file itself.
        vessel: Whose case it is.

    Returns:
        None where the folder has no file of the case; vessel ends whose line the points do not follow are left out.

    Raises:
        InputError: The file cannot be read, or has neither pressure nor FFR.
    """
    import pyvista as pv

    file = path / f"{vessel.case}.vtp" if path.is_dir() else path
    if not file.is_file() or file.stem != vessel.case:
        return None
    data = pv.PolyData(str(file))
    known = {name: np.asarray(data.point_data[name], float) for name in data.point_data}
    Pa = vessel.conditions.Pa_mmHg
    if "pressure_mmHg" in known:
        pressure = known["pressure_mmHg"]
    elif "ffr" in known and Pa is not None:
        pressure = known["ffr"] * Pa
    else:
        raise InputError(
            file=file,
            wanted="points [mm, LPS] with the array pressure_mmHg; or ffr, where the aortic pressure is given",
            got=f"{data.n_points} points with {', '.join(known) or 'no array'}",
            remedy="write that array on the centreline's points",
        )
    places = cKDTree(np.asarray(data.points))
    curves = {}
    for name, line in vessel.lines.items():
        gap, nearest = places.query(line.points_mm)
        if (gap < _reach(line)).mean() >= _ON_LINE:
            curves[name] = pressure[nearest]
    return told(vessel, curves, 0.0) if curves else None


def _reach(line: Line) -> npt.NDArray[np.float64]:
    return np.asarray(np.maximum(line.radius_mm, _NEAR_MM))
