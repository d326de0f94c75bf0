"""The case file: one YAML read, overridden, checked as a whole before anything starts, and written back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from meshing.errors import InputError
from pipeline.case import Case, CtInput, Input, PhantomInput, Physiology, SurfaceInput
from pipeline.imaging.names import FILE_OF_CORONARIES
from pipeline.segmentation import BUNDLED, BUNDLED_WALLS

PREVIEW = (
    "mesh.elements_per_diameter=3",
    "mesh.elements_across_throat=4",
    "mesh.jet_growth=0.06",
    "solver.steady.least_viscosity=1.5",
    "solver.steady.tolerance=1e-4",
    "certificate.levels=1",
)
"""Overrides of a preview: a coarse mesh, and the last part of the viscosity extrapolated (docs/decisions/0017)."""


PRESETS = Path(__file__).parents[1] / "configs" / "presets"


def load(path: Path, overrides: Sequence[str] = ()) -> Case:
    """Read a case, or make the default case of a surface, a label map, a CT.

    Args:
        path: YAML file; or an STL, VTP, PLY, OBJ, NIfTI, NRRD or MHA file or a folder of DICOM files, which becomes
            the input of a case that is otherwise all defaults.
        overrides: ``"a.b=c"``: the key ``a.b`` takes the YAML value ``c``. ``preset`` (in the file, too) names one of
            `PRESETS`, whose keys count where the case has none of its own.

    Returns:
        The validated, immutable case; relative input paths are made absolute from the case's folder.

    Raises:
        InputError: With every fault at once: unreadable, unknown or missing keys, values out of range,
            input files that are not there.
    """
    data = _read(path)
    for text in overrides:
        _override(data, text)
    data = _with_waveforms(path, _with_preset(path, data))
    try:
        case = Case.model_validate(data)
    except ValidationError as error:
        raise _faults(path, [_fault(e) for e in error.errors()]) from None
    case = case.model_copy(update={"input": _absolute(case.input, path.resolve().parent)})
    missing = [
        f"{field}: wanted a file; got {file}, which is not there"
        for field, file in input_files(case).items()
        if not _there(file, case.input, field)
    ]
    if missing:
        raise _faults(path, missing)
    return case


def _with_waveforms(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The case with waveforms that are files or coefficients as values (`pipeline.physiology.waveforms`)."""
    physiology = data.get("physiology") or {}
    if not isinstance(physiology, dict):
        return data
    rate = physiology.get("heart_rate_per_min", Physiology().heart_rate_per_min)
    if not isinstance(rate, int | float) or rate <= 0:
        return data
    outlets = physiology.get("outlets")
    names = tuple(outlets) if isinstance(outlets, dict) else ()
    wave = "flow_waveform_mL_per_min"
    for keys in (
        ("physiology", "aortic_waveform_mmHg"),
        ("inlet", wave),
        *(("physiology", "outlets", name, wave) for name in names),
    ):
        data = _with_waveform(data, keys, float(rate), path.resolve().parent, ".".join(keys))
    return data


def _with_waveform(
    data: dict[str, Any], keys: tuple[str, ...], rate: float, folder: Path, field: str
) -> dict[str, Any]:
    """The same data with one waveform, where it is there, as values."""
    key, *below = keys
    held = data.get(key)
    if held is None:
        return data
    if below:
        if not isinstance(held, dict):
            return data
        return {**data, key: _with_waveform(held, tuple(below), rate, folder, field)}
    from pipeline.physiology.waveforms import resolved

    return {**data, key: resolved(held, rate, folder, field)}


def _with_preset(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The case's keys over those of the preset it names."""
    name = data.pop("preset", None)
    if name is None:
        return data
    known = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    if name not in known:
        raise InputError(
            file=path,
            field="preset",
            wanted=f"one of {', '.join(known) or f'the files in {PRESETS}, which is not there'}",
            got=str(name),
            remedy="leave it out, or give the keys themselves",
        )
    base: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return _over(base, data)


def _over(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, told in data.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(told, dict):
            merged[key] = _over(below, told)
        else:
            merged[key] = told
    return merged


def _there(file: Path, source: Input, field: str) -> bool:
    folder = isinstance(source, CtInput) and field == "input.path"
    return file.is_file() or (folder and file.is_dir())


def input_files(case: Case) -> dict[str, Path]:
    """The files (of a CT in DICOM: the folder) a case reads, by the key that names them."""
    if isinstance(case.input, PhantomInput):
        return {}
    files = {"input.path": case.input.path}
    if isinstance(case.input, SurfaceInput):
        files |= {f"input.caps.{name}": file for name, file in case.input.caps.items()}
    if isinstance(case.input, CtInput) and (case.input.model or BUNDLED.is_file()):
        files["input.model"] = case.input.model or BUNDLED
    if isinstance(case.input, CtInput) and case.input.walls != "none":
        bundled = case.input.walls == "bundled"
        files["input.walls"] = BUNDLED_WALLS if bundled else Path(case.input.walls)
    return files


def dump(case: Case) -> str:
    """The resolved case as YAML, every default written out."""
    return yaml.safe_dump(case.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


SURFACE_SUFFIXES = (".stl", ".vtp", ".ply", ".obj")
DICOM_SUFFIXES = (".dcm", ".ima")
LABEL_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
LOWEST_LABEL = -100.0


def _holds_air(path: Path, name: str) -> bool:
    """Whether an image is a CT: labels have no values as low as air's."""
    from pipeline.imaging import read_volume

    if not name.endswith(LABEL_SUFFIXES):
        return False
    try:
        return bool((read_volume(path).array < LOWEST_LABEL).any())
    except InputError:  # told when it is read as what the user meant
        return False


def _read(path: Path) -> dict[str, Any]:
    name = path.name.lower()
    if path.is_dir() and (path / FILE_OF_CORONARIES).is_file():  # TotalSegmentator's output
        file = (path / FILE_OF_CORONARIES).resolve()
        return {"name": "coronary_arteries", "input": {"kind": "labels", "path": str(file)}}
    if path.is_dir() or name.endswith(DICOM_SUFFIXES) or _holds_air(path, name):
        return {
            "name": "ct",
            "input": {"kind": "ct", "path": str(path.resolve())},
        }  # names may be a patient's
    for kind, suffixes in (("surface", SURFACE_SUFFIXES), ("labels", LABEL_SUFFIXES)):
        if name.endswith(suffixes):
            stem = re.sub(r"[^A-Za-z0-9._-]", "_", path.name.split(".")[0]) or "case"
            return {"name": stem, "input": {"kind": kind, "path": path.name}}
    if not name.endswith((".yaml", ".yml")):
        raise InputError(
            file=path,
            wanted="a case (.yaml), a surface (.stl .vtp .ply .obj), a label map or a CT (.nii .nii.gz .nrrd .mha) "
            "or a folder of DICOM files",
            got=f"a file called {path.name!r}",
            remedy="write a case: README, section The case",
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            file=path,
            wanted="a readable YAML file",
            got=" ".join(str(error).split()),
            remedy="mend the file; examples are in configs/",
        ) from None
    if not isinstance(data, dict):
        raise InputError(
            file=path,
            wanted="a YAML mapping (name: ..., input: ...)",
            got=type(data).__name__,
            remedy="start from an example in configs/",
        )
    return data


def _override(data: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(
            field=f"--set {text}",
            wanted="a.b=value",
            got=text,
            remedy="e.g. --set mesh.elements_per_diameter=6",
        )
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InputError(
                field=f"--set {text}",
                wanted=f"a section at {parent!r}",
                got=f"the value {child!r}",
                remedy="see ffr3d schema for the keys",
            )
        data = child
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(
            field=f"--set {text}",
            wanted="a YAML value",
            got=" ".join(str(error).split()),
            remedy="quote the value for the shell, e.g. --set 'anatomy.inlet=[1.0, 2.0, 3.0]'",
        ) from None


def _absolute(source: Input, folder: Path) -> Input:
    if isinstance(source, PhantomInput):
        return source
    update: dict[str, Any] = {"path": folder / source.path}
    if isinstance(source, CtInput) and source.model is not None:
        update["model"] = folder / source.model
    if isinstance(source, CtInput) and isinstance(source.walls, Path):
        update["walls"] = folder / source.walls
    if isinstance(source, SurfaceInput):
        update["caps"] = {name: folder / file for name, file in source.caps.items()}
    return source.model_copy(update=update)


def _fault(error: ErrorDetails) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), _all_keys(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{field}: wanted a known key; got an unknown one{hint}"
    if error["type"] == "missing":
        return f"{field}: wanted a value; got none"
    wanted = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{field or 'case'}: wanted {wanted}; got {error['input']!r:.80}"


def _all_keys() -> list[str]:
    schema = Case.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    return sorted({key for table in tables for key in table.get("properties", {})})


def _faults(path: Path, faults: list[str]) -> InputError:
    listing = "".join(f"\n  - {fault}" for fault in faults)
    return InputError(
        file=path,
        wanted="a valid case",
        got=f"{len(faults)} fault{'s' if len(faults) > 1 else ''}:{listing}",
        remedy="mend these keys; ffr3d schema lists every key with its range",
    )
