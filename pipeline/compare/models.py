"""A fast model, or numbers from a file, against the labels of a data set."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError, InputError
from pipeline.compare.statistics import agreement
from pipeline.fast.protocol import FastModel, Prediction, find
from pipeline.fast.vessel import Vessel, read
from pipeline.labels import schema
from pipeline.labels.write import read_index

STENOSES = ((0.0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1.0))
REYNOLDS = ((0.0, 300.0), (300.0, 600.0), (600.0, math.inf))
WORST, SHOWN = 8, 4
Source = Callable[[Vessel], Prediction | None]
_COLUMNS = {"case", "name", "ffr"}


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of values.

    Attributes:
        case: Of which case.
        group: Of which tree or patient.
        kind: vessel or lesion.
        name: Of the vessel end or lesion.
        reference: FFR.
        error: Its discretisation error; NaN where not known.
        other: FFR of the model.
        std: What the model says of its own spread; NaN where nothing.
        stenosis: Of the lesion, or the largest of the vessel's line.
        reynolds: Of its throat; NaN without a lesion.
    """

    case: str
    group: str
    kind: str
    name: str
    reference: float
    error: float
    other: float
    std: float
    stenosis: float
    reynolds: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Pressure over aortic pressure along one line, ``(s,)``."""

    case: str
    name: str
    abscissa_mm: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]


def compare_models(
    dataset: Path, model: str, *, split: str | None = "test", output: Path | None = None
) -> dict[str, Any]:
    """Hold a model against a data set.

    Args:
        dataset: Its folder.
        model: Name of a fast model (`pipeline.fast`), or a file of predictions: CSV with the columns case, name, ffr
            and maybe std, seconds; or JSON, ``{case: {name: ffr}}``.
        split: Cases of this split; None for all.
        output: Folder for ``comparison.json``, ``pairs.csv`` and ``comparison.html``.

    Returns:
        The numbers, JSON-able.

    Raises:
        InputError: No such data set, split or model; a file that cannot be read, or has none of the cases.
    """
    rows = [row for row in read_index(dataset) if split in (None, row["split"])]
    if not rows:
        raise InputError(
            file=dataset,
            field="--split",
            wanted=f"a split with cases: {', '.join(schema.SPLITS)}",
            got=str(split),
            remedy="name another, or --split all",
        )
    source = _source(model)
    pairs, points, missing, failed = list[Row](), list[float](), list[str](), dict[str, str]()
    seconds, reference_seconds = 0.0, 0.0
    for row in rows:
        vessel, answers = read(dataset / "cases" / f"{row['case']}.h5")
        try:
            told = source(vessel)
        except ComputationError as error:
            failed[vessel.case] = str(error)
            continue
        if told is None:
            missing.append(vessel.case)
            continue
        seconds += told.seconds
        reference_seconds += row["core_seconds"]
        pairs += _pairs(vessel, answers, told)
        points += _points(answers, told)
    if not pairs:
        raise InputError(
            file=Path(model) if Path(model).suffix else None,
            wanted=f"predictions of the {len(rows)} cases of the split",
            got="none of them",
            remedy="cases are named as in index.parquet",
        )
    told_all = {
        "dataset": str(dataset),
        "model": model,
        "split": split or "all",
        "cases": len(rows),
        "missing": missing,
        "failed": failed,
        "vessels": _told(pairs, "vessel"),
        "lesions": _told(pairs, "lesion"),
        "points": _along(points),
        "strata": _strata(pairs),
        "worst": [
            _plain(row) for row in sorted(pairs, key=lambda r: -abs(r.other - r.reference))[:WORST]
        ],
        "seconds_per_case": seconds / max(len(rows) - len(missing) - len(failed), 1),
        "reference_core_seconds_per_case": reference_seconds
        / max(len(rows) - len(missing) - len(failed), 1),
    }
    if output is not None:
        _write(told_all, pairs, _worst_curves(dataset, pairs, source), output)
    return told_all


def _worst_curves(dataset: Path, pairs: Sequence[Row], source: Source) -> list[Curve]:
    """Of the vessel ends with the largest differences, where the model tells pressures along lines."""
    ends = sorted(
        (row for row in pairs if row.kind == "vessel"), key=lambda r: -abs(r.other - r.reference)
    )
    found = []
    for row in ends[:SHOWN]:
        vessel, answers = read(dataset / "cases" / f"{row.case}.h5")
        told, Pa = source(vessel), answers["Pa_mmHg"]
        if told is not None and row.name in told.pressure_mmHg:
            s = vessel.lines[row.name].abscissa_mm
            reference, other = answers["pressure_mmHg"][row.name], told.pressure_mmHg[row.name]
            found.append(Curve(row.case, row.name, s, reference / Pa, other / Pa))
    return found


def _source(model: str) -> Source:
    path = Path(model)
    if path.suffix.lower() in (".csv", ".json"):
        predictions = from_file(path)
        return lambda vessel: predictions.get(vessel.case)
    found: FastModel = find(model)
    return found.predict


def from_file(path: Path) -> dict[str, Prediction]:
    """Predictions, by case.

    Raises:
        InputError: The file is not as expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else list(_csv_rows(text))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            file=path,
            wanted="predictions: CSV with the columns case, name, ffr (std, seconds), or JSON {case: {name: ffr}}",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="names are those of vessel ends and lesions in the labels",
        ) from None
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
        case: Prediction(told, told, seconds=seconds[case], std=std.get(case, {}))
        for case, told in ffr.items()
    }


def _json_rows(text: str) -> list[dict[str, Any]]:
    told = json.loads(text)
    return [
        {"case": case, "name": name, "ffr": ffr}
        for case, values in told.items()
        for name, ffr in values.items()
    ]


def _csv_rows(text: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(text.splitlines())
    absent = _COLUMNS - set(reader.fieldnames or ())
    if absent:
        raise ValueError(f"no column {', '.join(sorted(absent))}")
    for number, row in enumerate(reader, start=2):
        try:
            float(row["ffr"])
        except (TypeError, ValueError):
            raise ValueError(f"line {number}: ffr is {row['ffr']!r}") from None
        yield row


def _pairs(vessel: Vessel, answers: Mapping[str, Any], told: Prediction) -> Iterator[Row]:
    stenosis = {x["name"]: float(x["diameter_stenosis"]) for x in vessel.lesions}
    reynolds = answers["throat_reynolds"]
    for kind, said in (("vessel", told.ffr), ("lesion", told.lesions)):
        for name, (ffr, error) in answers[f"{kind}s"].items():
            if name not in said:
                continue
            on_way = [x["name"] for x in vessel.lesions if (kind == "lesion" and x["name"] == name)
                      or (kind == "vessel" and name in x["outlets"])]  # fmt: skip
            worst = max(on_way, key=lambda x: stenosis[x], default=None)
            yield Row(
                vessel.case,
                answers["group"],
                kind,
                name,
                float(ffr),
                math.nan if error is None else float(error),
                float(said[name]),
                float(told.std.get(name, math.nan)),
                0.0 if worst is None else stenosis[worst],
                math.nan if worst is None else float(reynolds[worst]),
            )


def _points(answers: Mapping[str, Any], told: Prediction) -> Iterator[float]:
    """Differences of FFR along the lines."""
    for name, pressure in told.pressure_mmHg.items():
        yield from ((pressure - answers["pressure_mmHg"][name]) / answers["Pa_mmHg"]).tolist()


def _along(differences: Sequence[float]) -> dict[str, Any] | None:
    if not differences:
        return None
    d = np.array(differences)
    return {
        "n": len(d),
        "bias": float(d.mean()),
        "mae": float(np.abs(d).mean()),
        "rmse": float(np.sqrt((d**2).mean())),
    }


def _told(rows: Sequence[Row], kind: str) -> dict[str, Any]:
    chosen = [row for row in rows if row.kind == kind]
    return agreement(
        np.array([row.reference for row in chosen]),
        np.array([row.other for row in chosen]),
        [row.group for row in chosen],
        np.array([row.error for row in chosen]),
    )


def _strata(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Bias, mean absolute difference and flips by stenosis and by Reynolds number of the throat."""
    found = []
    for what, limits in (("stenosis", STENOSES), ("reynolds", REYNOLDS)):
        for low, high in limits:
            chosen = [
                row for row in rows if row.kind == "vessel" and low <= getattr(row, what) < high
            ]
            if chosen:
                d = np.array([row.other - row.reference for row in chosen])
                flips = sum((row.other <= 0.8) != (row.reference <= 0.8) for row in chosen)
                found.append({"by": what, "from": low, "to": None if math.isinf(high) else high, "n": len(d),
                              "bias": float(d.mean()), "mae": float(np.abs(d).mean()), "flips": flips})  # fmt: skip
    return found


def _plain(row: Row) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(row).items()
    }


def _write(
    told: Mapping[str, Any], rows: Sequence[Row], curves: Sequence[Curve], output: Path
) -> None:
    from pipeline.compare.page import render

    output.mkdir(parents=True, exist_ok=True)
    (output / "comparison.json").write_text(json.dumps(told, indent=2, allow_nan=False))
    with (output / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(_plain(row) for row in rows)
    (output / "comparison.html").write_text(render(told, rows, curves), encoding="utf-8")
