"""The data set of a cohort: one file a case, an index, splits in which nothing leaks, a datasheet."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from meshing.errors import InputError
from pipeline import manifest
from pipeline.cohort.design import Design, Files, Variants, identifiers, load
from pipeline.cohort.run import ledger
from pipeline.labels import schema
from pipeline.labels.case import write_case
from pipeline.manifest import pseudonym, write_atomically

log = logging.getLogger("ffr3d")


def export(
    cohort: Path, target: Path, *, licence: str, images_mm: float | None = None
) -> dict[str, Any]:
    """Write or go on with the data set of a cohort.

    Cases with FAIL or without a result are left out and counted; a file that is there, of the same case, stays.

    Args:
        cohort: A cohort's folder.
        target: The data set's.
        licence: Under which its labels are given on (SPDX), e.g. ``CC-BY-4.0``; that of a real vessel decides.
        images_mm: Write pairs of CT and label map as well (`pipeline.labels.images`), phantoms' with voxels this wide.

    Returns:
        Counts: exported, left out by verdict, splits.

    Raises:
        InputError: No cohort there; no case in it to export.
    """
    design = load(cohort / "design.yaml")
    (target / "cases").mkdir(parents=True, exist_ok=True)
    known = {row["case"]: row for row in read_index(target)} if (target / INDEX).is_file() else {}
    groups, pairs = _groups(design, cohort), _pairs(design)
    rows, out = list[dict[str, Any]](), dict[str, dict[str, Any]]()
    noted = {row["case"]: row for row in ledger(cohort) if row["event"] == "failed"}
    for name in identifiers(design):
        run, path = cohort / "cases" / name, target / "cases" / f"{name}.h5"
        verdict = _verdict(run)
        if verdict not in ("PASS", "WARN"):
            out[name] = {"verdict": verdict, "reasons": _reasons(run, noted.get(name))}
            continue
        row = known.get(name)
        same = (
            row is not None
            and path.is_file()
            and row.get("schema") == schema.VERSION
            and row["case_sha256"] == _case_hash(run)
        )
        if row is None or not same:
            told = {
                "case": name,
                "group": groups[name],
                "licence": licence,
                "pair": pairs.get(name),
            }
            row = write_case(run, path, told)
            log.info("labels   %s", name)
        rows.append(row)
    if not rows:
        raise InputError(
            file=cohort,
            wanted="a cohort with a case of PASS or WARN",
            got=f"none of {len(identifiers(design))}",
            remedy="see its ledger.jsonl",
        )
    shares = design.splits.model_dump()
    split_of = splits(sorted({row["group"] for row in rows}), design.seed, shares)
    rows = [{**row, "split": split_of[row["group"]]} for row in rows]
    if images_mm is not None:
        from pipeline.labels.images import write_pair, write_table

        for row in rows:
            run = cohort / "cases" / row["case"]
            row |= write_pair(run, target, row["case"], row["split"], images_mm)
            log.info("images   %s", row["case"])
        write_table(target, rows)
    _write_index(rows, target)
    write_atomically(target / "schema.json", json.dumps(schema.described(), indent=2))
    write_atomically(target / "left_out.json", json.dumps(out, indent=2))
    verdicts = [one["verdict"] for one in out.values()]
    left_out = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    write_atomically(target / "datasheet.md", _datasheet(design, rows, left_out, licence))
    counts = {name: sum(row["split"] == name for row in rows) for name in schema.SPLITS}
    return {"exported": len(rows), "left_out": left_out, "splits": counts}


INDEX = "index.parquet"


def read_index(dataset: Path) -> list[dict[str, Any]]:
    """Rows of a data set's index.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return list(parquet.read_table(dataset / INDEX).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            file=dataset / INDEX,
            wanted="the index of a data set",
            got="no such file"
            if isinstance(error, FileNotFoundError)
            else str(error).splitlines()[0],
            remedy="write it: ffr3d labels export COHORT",
        ) from error


def _write_index(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    part = target / f"{INDEX}.part"
    parquet.write_table(pa.Table.from_pylist(list(rows)), part)
    part.replace(target / INDEX)


def splits(groups: Sequence[str], seed: int, shares: Mapping[str, float]) -> dict[str, str]:
    """Which split each group (patient, tree) is in: all of its cases are in one, and adding groups moves none.

    Args:
        groups: Their names.
        seed: Of the design.
        shares: Of the groups, by split; they add up to 1.
    """
    names, limits = list(shares), np.cumsum(list(shares.values()))
    places = {group: int(pseudonym(f"{seed} {group}"), 16) / 16**12 for group in groups}
    return {
        group: names[min(int(np.searchsorted(limits, place, side="right")), len(names) - 1)]
        for group, place in places.items()
    }


def _groups(design: Design, cohort: Path) -> dict[str, str]:
    """Of every case: its own tree, the one vessel all variants are of, or the file with its vessel."""
    names = identifiers(design)
    if isinstance(design.vessel, Files):
        return {name: pseudonym(_vessel_of(cohort, name)) for name in names}
    if isinstance(design.vessel, Variants):
        return dict.fromkeys(names, pseudonym(str(design.vessel.case)))
    return {name: pseudonym(f"{design.name} {design.seed} {name}") for name in names}


def _vessel_of(cohort: Path, name: str) -> str:
    """What tells the vessel of a case from others: its file; of a phantom, all that makes it."""
    import yaml

    path = cohort / "cases" / f"{name}.yaml"
    if not path.is_file():  # it could not be made
        return name
    told = yaml.safe_load(path.read_text())["input"]
    return str(told["path"]) if told.get("path") else json.dumps(told, sort_keys=True)


def _pairs(design: Design) -> dict[str, str]:
    """By changed vessel, the case whose conditions and resistances it has."""
    if not isinstance(design.vessel, Variants):
        return {}
    names = identifiers(design)
    return dict(zip(names[1::2], names[::2], strict=True))


def _verdict(run: Path) -> str:
    try:
        return str(json.loads((run / "certify" / "certificate.json").read_text())["status"])
    except (OSError, ValueError, KeyError):
        return "ERROR"


def _reasons(run: Path, noted: Mapping[str, Any] | None) -> list[str]:
    """Why a case is not in the data set: its certificate's reasons, else those of the cohort's ledger."""
    try:
        told = json.loads((run / "certify" / "certificate.json").read_text())
        return [str(reason) for reason in told["reasons"]]
    except (OSError, ValueError, KeyError):
        reasons = ["not computed yet"] if noted is None else noted["reasons"]
        return [re.sub(r"/[^\s:;,]+", "(a file)", str(x)) for x in reasons]  # may be a patient's


def _case_hash(run: Path) -> str:
    return manifest.sha256(run / "case.yaml")


def _public_choices(design: Design) -> dict[str, Any]:
    """A design without the files and folders it names: they may tell whose they are."""
    told = design.model_dump(mode="json")
    for key in ("case", "paths"):
        told["vessel"].pop(key, None)
    return told


def _datasheet(
    design: Design, rows: Sequence[Mapping[str, Any]], out: Mapping[str, int], licence: str
) -> str:
    """The datasheet's text (Gebru et al. 2021, https://doi.org/10.1145/3458723)."""
    import jinja2

    text = resources.files("pipeline.labels").joinpath("datasheet.md").read_text(encoding="utf-8")
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined, trim_blocks=True)
    told: str = template.render(
        design=design,
        choices=_public_choices(design),
        rows=rows,
        out=out,
        licence=licence,
        arrays=schema.ARRAYS,
        version=schema.VERSION,
        versions=manifest.versions(),
        warned=[row for row in rows if row["verdict"] == "WARN"],
        splits={name: sum(row["split"] == name for row in rows) for name in schema.SPLITS},
        errors=sorted(r["ffr_error_max"] for r in rows if r["ffr_error_max"] == r["ffr_error_max"]),
    )
    return told
