"""Whether a data set is what its index says: schema, hashes, values, splits; on demand, a sample computed again."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from meshing.errors import InputError
from pipeline import manifest
from pipeline.labels import schema
from pipeline.labels.images import files
from pipeline.labels.write import read_index

SAME_FFR = 2e-3
"""How far FFR may be off when a case is computed again (another machine, another number of ranks)."""


def verify(dataset: Path, *, again: int = 0, seed: int = 0) -> list[str]:
    """Faults of a data set, each in one line; none if it is sound.

    Args:
        dataset: Its folder.
        again: So many cases of phantom trees, drawn at random, are computed again from the case stored in them.
        seed: Of that draw.

    Raises:
        InputError: There is no index to hold it against.
    """
    rows, faults = read_index(dataset), list(_schema(dataset))
    faults += _splits(rows)
    for row in rows:
        faults += _case(dataset, row)
    known = {f"{row['case']}.h5" for row in rows}
    strange = sorted(
        path.name for path in (dataset / "cases").glob("*.h5") if path.name not in known
    )
    faults += [f"cases/{name}: not in the index" for name in strange]
    if not faults:
        whole = [
            row for row in rows if row["input"] == "phantom"
        ]  # others' surfaces are not in a data set
        drawn = np.random.default_rng(seed).permutation(len(whole))[:again]
        for k in sorted(drawn):
            faults += _again(dataset, whole[k])
    return faults


def _schema(dataset: Path) -> Iterator[str]:
    try:
        told = json.loads((dataset / "schema.json").read_text())
        if told != schema.described():
            found = told.get("version") if isinstance(told, dict) else told
            yield f"schema.json: wanted version {schema.VERSION} as this ffr3d writes it; got version {found}"
    except (OSError, ValueError) as error:
        yield f"schema.json: {error}"


def _splits(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A tree or patient in two splits; a case or a geometry twice; a name of no split."""
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(row["group"], set()).add(row["split"])
        if row["split"] not in schema.SPLITS:
            yield f"index: {row['case']} is in split {row['split']!r}; wanted one of {', '.join(schema.SPLITS)}"
    for group, splits in sorted(homes.items()):
        if len(splits) > 1:
            yield f"index: group {group} is in the splits {' and '.join(sorted(splits))}: it leaks"
    names = [row["case"] for row in rows]
    yield from (
        f"index: {name} is there twice" for name in sorted({x for x in names if names.count(x) > 1})
    )
    seen: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        other = seen.setdefault(row["geometry_sha256"], row)
        if other["split"] != row["split"]:
            yield f"index: {row['case']} and {other['case']} are one geometry in two splits: it leaks"


def _case(dataset: Path, row: Mapping[str, Any]) -> Iterator[str]:
    path = dataset / "cases" / f"{row['case']}.h5"
    name = f"cases/{path.name}"
    if not path.is_file():
        yield f"{name}: in the index, but there is no such file"
        return
    if manifest.sha256(path) != row["file_sha256"]:
        yield f"{name}: its SHA-256 is not the index's: it was changed or cut short"
    if row["verdict"] not in ("PASS", "WARN"):
        yield f"{name}: verdict {row['verdict']} is not exported"
    yield from _images(dataset, row)
    try:
        with h5py.File(path) as file:
            yield from (f"{name}: {fault}" for fault in _inside(file, row))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        yield f"{name}: cannot be read ({error})"


def _images(dataset: Path, row: Mapping[str, Any]) -> Iterator[str]:
    """CT and label map, where the case has them."""
    hashes = (row.get("image_sha256"), row.get("label_map_sha256"))
    for path, wanted in zip(files(dataset, row["case"], row["split"]), hashes, strict=True):
        name = path.relative_to(dataset)
        if wanted is not None and not path.is_file():
            yield f"{name}: in the index, but there is no such file"
        elif wanted is not None and manifest.sha256(path) != wanted:
            yield f"{name}: its SHA-256 is not the index's: it was changed or cut short"


def _inside(file: Any, row: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401 - h5py ships no types
    version = int(file.attrs["schema"])
    if version != schema.VERSION:
        yield f"wanted schema version {schema.VERSION}; got {version}"
    labels, _, provenance = (json.loads(file.attrs[name]) for name in schema.ATTRIBUTES)
    paths: list[str] = []
    file.visititems(lambda path, it: paths.append(path) if isinstance(it, h5py.Dataset) else None)
    ends = [vessel["name"] for vessel in labels["vessels"]]
    wanted = {one.path.replace("NAME", end) for one in schema.ARRAYS for end in ends}
    for path in sorted(wanted - set(paths)):
        yield f"{path} is missing"
    for path in sorted(set(paths) - wanted):
        yield f"{path} is not in the schema"
    for path in sorted(wanted & set(paths)):
        yield from _array(path, file[path])
    if wanted <= set(paths):
        yield from _agree(file, labels)
    if provenance["case_sha256"] != row["case_sha256"] or provenance["group"] != row["group"]:
        yield "its provenance is not the index's"
    least = min(vessel["ffr"] for vessel in labels["vessels"])
    if not math.isclose(least, row["ffr_min"], abs_tol=1e-9):
        yield f"lowest FFR {least:.6f}; the index has {row['ffr_min']:.6f}"


def _array(path: str, values: Any) -> Iterator[str]:  # noqa: ANN401
    told = schema.of(path)
    if told is None:
        return
    if values.dtype.name != told.dtype:
        yield f"{path}: wanted {told.dtype}; got {values.dtype.name}"
    data = values[:]
    may_be_nan = path.rsplit("/", 1)[-1] in ("area", "flow", "ffr_error")
    if data.dtype.kind == "f" and not may_be_nan and not np.isfinite(data).all():
        yield f"{path}: {int((~np.isfinite(data)).sum())} values are not finite"


def _agree(file: Any, labels: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    """Arrays against each other and against the scalar labels."""
    nodes, cells = len(file["volume/points"]), file["volume/cells"][:]
    if cells.min() < 0 or cells.max() >= nodes:
        yield f"volume/cells: nodes from {cells.min()} to {cells.max()}; there are {nodes}"
    for name in ("pressure", "velocity", "extension"):
        if len(file[f"volume/{name}"]) != nodes:
            yield f"volume/{name}: {len(file[f'volume/{name}'])} rows; there are {nodes} nodes"
    Pa = labels["reference"]["Pa_mmHg"]
    for vessel in labels["vessels"]:
        line = file[f"centerlines/{vessel['name']}"]
        s, ffr, pressure = (line[key][:] for key in ("abscissa", "ffr", "pressure"))
        if len({len(line[key]) for key in line}) != 1:
            yield f"centerlines/{vessel['name']}: arrays of several lengths"
            continue
        if np.abs(pressure / Pa - ffr).max() > 1e-4:
            yield f"centerlines/{vessel['name']}: ffr is not pressure over {Pa:g} mmHg"
        at_end = float(np.interp(vessel["length_mm"], s, ffr))
        if abs(at_end - vessel["ffr"]) > 5e-3:
            yield f"centerlines/{vessel['name']}: FFR {at_end:.4f} at the end; the label says {vessel['ffr']:.4f}"


def _again(dataset: Path, row: Mapping[str, Any]) -> Iterator[str]:
    """Compute a case again and compare its FFR."""
    import yaml

    from pipeline.case import Case
    from pipeline.run import run

    path = dataset / "cases" / f"{row['case']}.h5"
    with h5py.File(path) as file:
        labels, _, provenance = (json.loads(file.attrs[name]) for name in schema.ATTRIBUTES)
    case = Case.model_validate(yaml.safe_load(provenance["case_yaml"]))
    with tempfile.TemporaryDirectory(prefix="ffr3d-verify-") as folder:
        try:
            run(case, Path(folder) / "run", stop="ffr")
        except InputError as error:
            yield f"cases/{path.name}: cannot be computed again: {error}"
            return
        numbers = json.loads((Path(folder) / "run" / "ffr" / "ffr.json").read_text())
    found = {v["name"]: v["ffr"] for v in numbers["vessels"]}
    for vessel in labels["vessels"]:
        got = found.get(vessel["name"], math.nan)
        if not abs(got - vessel["ffr"]) <= SAME_FFR:
            yield f"cases/{path.name}: FFR of {vessel['name']} again {got:.4f}; the label says {vessel['ffr']:.4f}"
