"""A fast model, or numbers from a file, against the labels of a data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshing.errors import ComputationError, InputError
from pipeline.compare.conditions import separated
from pipeline.compare.pairs import Curve, Row, pairs, strata
from pipeline.compare.predictions import Predict, Source, source
from pipeline.compare.statistics import agreement, spread_told
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import read
from pipeline.labels import schema
from pipeline.labels.write import read_index

WORST, SHOWN = 8, 4


@dataclass(slots=True)
class _Found:
    """What was found case by case."""

    same: list[Row] = field(default_factory=list)
    own: list[Row] = field(default_factory=list)
    along: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    cases: int = 0
    seconds: float = 0.0
    reference_seconds: float = 0.0


def compare_models(
    dataset: Path,
    model: str,
    *,
    split: str | None = "test",
    assumptions: Path | None = None,
    output: Path | None = None,
) -> dict[str, Any]:
    """Hold a model against a data set.

    Args:
        dataset: Its folder.
        model: Name of a fast model (`pipeline.fast`), a fitted one, or predictions (`pipeline.compare.predictions`).
        split: Cases of this split; None for all.
        assumptions: YAML of the conditions that the model takes by itself; its error and theirs are told apart.
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
    told_by = source(model, assumptions)
    found = _collect(dataset, rows, told_by)
    if not found.same:
        raise InputError(
            file=Path(model) if Path(model).suffix else None,
            wanted=f"predictions of the {len(rows)} cases of the split",
            got="; ".join(sorted(set(found.failed.values())))[:200] or "none of them",
            remedy="cases are named as in index.parquet",
        )
    told = {
        "dataset": str(dataset),
        "model": model,
        "name": Path(model).stem,
        "split": split or "all",
        "cases": len(rows),
        "fitted_to": sorted(row["case"] for row in rows if row["group"] in told_by.seen),
        "missing": found.missing,
        "failed": found.failed,
        "vessels": _told(found.same, "vessel"),
        "lesions": _told(found.same, "lesion"),
        "points": _along(found.along),
        "conditions": {"own": told_by.own_told, **separated(found.same, found.own)}
        if found.own
        else None,
        "strata": strata(found.same),
        "worst": [row.plain() for row in _worst(found.same)[:WORST]],
        "seconds_per_case": found.seconds / found.cases,
        "reference_core_seconds_per_case": found.reference_seconds / found.cases,
    }
    if output is not None:
        _write(told, found.same, dataset, told_by.same, output)
    return told


def _collect(dataset: Path, rows: Sequence[Mapping[str, Any]], told_by: Source) -> _Found:
    found = _Found()
    for row in rows:
        vessel, answers = read(dataset / "cases" / f"{row['case']}.h5")
        try:
            same = told_by.same(vessel)
            own = None if told_by.own is None else told_by.own(vessel)
        except ComputationError as error:
            found.failed[vessel.case] = str(error)
            continue
        if same is None:
            found.missing.append(vessel.case)
            continue
        found.cases += 1
        found.seconds += same.seconds
        found.reference_seconds += row["core_seconds"]
        found.same += pairs(vessel, answers, same)
        found.own += () if own is None else pairs(vessel, answers, own)
        found.along += _differences(answers, same)
    return found


def _differences(answers: Mapping[str, Any], told: Prediction) -> list[float]:
    """Of FFR along the lines."""
    return [
        float(d)
        for name, pressure in told.pressure_mmHg.items()
        for d in (pressure - answers["pressure_mmHg"][name]) / answers["Pa_mmHg"]
    ]


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
    reference, other, error, std = (
        np.array([getattr(row, name) for row in chosen])
        for name in ("reference", "other", "error", "std")
    )
    told = agreement(reference, other, [row.group for row in chosen], error)
    return {**told, "spread": spread_told(reference, other, std)}


def _worst(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -abs(row.difference))


def _write(
    told: Mapping[str, Any], rows: Sequence[Row], dataset: Path, predict: Predict, output: Path
) -> None:
    from pipeline.compare.page import render
    from pipeline.compare.pictures import pictures

    output.mkdir(parents=True, exist_ok=True)
    (output / "comparison.json").write_text(json.dumps(told, indent=2, allow_nan=False))
    with (output / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(row.plain() for row in rows)
    ends = _worst([row for row in rows if row.kind == "vessel"])[:SHOWN]
    curves = _curves(dataset, ends, predict)
    page = render(told, rows, curves, pictures(dataset, ends))
    (output / "comparison.html").write_text(page, encoding="utf-8")


def _curves(dataset: Path, ends: Sequence[Row], predict: Predict) -> list[Curve]:
    """Of these vessel ends, where the model tells pressures along lines."""
    found = []
    for row in ends:
        vessel, answers = read(dataset / "cases" / f"{row.case}.h5")
        told, Pa = predict(vessel), answers["Pa_mmHg"]
        if told is not None and row.name in told.pressure_mmHg:
            s = vessel.lines[row.name].abscissa_mm
            reference, other = answers["pressure_mmHg"][row.name], told.pressure_mmHg[row.name]
            found.append(Curve(row.case, row.name, s, reference / Pa, other / Pa))
    return found
