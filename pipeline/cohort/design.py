r"""The design of a cohort: which vessels and which conditions, drawn evenly from ranges; one YAML.

::

    name: left_trees
    count: 64
    seed: 1
    vessel:                      # phantom trees; or {kind: variants, case: left.yaml}: `pipeline.cohort.variants`;
                                 # or {kind: files, paths: ["patients/*"]}: `pipeline.cohort.files`
      kind: phantom
      tree: [left, right]
      inlet_diameter_mm: [3.4, 5.0]
      lesions: [0, 2]
      diameter_reduction: [0.2, 0.7]
    conditions:
      mean_aortic_pressure_mmHg: [75, 110]
      hyperaemic_resistance_factor: [0.2, 0.3]
    splits: {train: 0.6, validation: 0.1, test: 0.3}   # of the data set, by tree
    case: {solver: {element: P2-P2}}     # the same in every case

Continuous numbers are a scrambled Sobol sequence over all ranges, so that any part of a cohort covers them; what is
drawn for a lesion comes from the case's own generator. Case ``k`` of a design is the same however many there are.

Reference of the default ranges:
    Dodge et al. (1992), Circulation 86, 232-246, https://doi.org/10.1161/01.CIR.86.1.232 (left main 4.5 +- 0.5 mm,
    RCA 3.9 +- 0.6 mm in men with right dominance; read at second hand); Murray's exponent 2 to 3, 7/3 in the middle:
    Huo & Kassab (2009), Biophys. J. 96, 347-353, https://doi.org/10.1016/j.bpj.2008.09.039; total coronary resistance
    index in hyperaemia 0.24: Wilson et al. (1990), https://doi.org/10.1161/01.CIR.82.5.1595. Ranges without a source
    (lengths, reductions, eccentricity) are those in which lesions are looked at with FFR: 20 to 75 per cent.
"""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from meshing.errors import InputError
from pipeline.case import Case, Section
from pipeline.manifest import pseudonym

Range = tuple[float, float]
Whole = tuple[int, int]
MOST = 1_000_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Ranges(Section):
    """Base of sections whose fields are ranges."""

    @field_validator("*", mode="after")
    @classmethod
    def _ordered(cls, value: Any) -> Any:  # noqa: ANN401
        pair = isinstance(value, tuple) and len(value) == 2
        if pair and all(isinstance(x, int | float) for x in value) and value[0] > value[1]:
            raise ValueError(f"a range from low to high wanted, got [{value[0]:g}, {value[1]:g}]")
        return value


class Phantoms(_Ranges):
    """Trees of the phantom generator."""

    kind: Literal["phantom"] = "phantom"
    tree: tuple[Literal["left", "right"], ...] = Field(default=("left", "right"), min_length=1)
    inlet_diameter_mm: Range = (3.4, 5.0)
    min_diameter_mm: Range = (1.6, 2.0)
    side_branches: Whole = (0, 2)
    murray_exponent: Range = (2.2, 2.6)
    lesions: Whole = (0, 2)
    diameter_reduction: Range = (0.2, 0.7)
    length_mm: Range = (5.0, 20.0)
    position: Range = (0.1, 0.7)
    eccentricity: Range = (0.0, 0.8)
    plateau: Range = (0.0, 0.5)


class Variants(_Ranges):
    """Copies of one case's vessel with a narrowing more, a lesion less, or wider and narrower stretches."""

    kind: Literal["variants"] = "variants"
    case: Path
    changes: tuple[Literal["narrow", "widen", "stent"], ...] = Field(
        default=("narrow", "widen", "stent"), min_length=1
    )
    diameter_reduction: Range = (0.2, 0.7)
    widening: Range = (0.05, 0.25)
    length_mm: Range = (5.0, 20.0)
    position: Range = (0.1, 0.8)


class Files(Section):
    """Cases, surfaces, label maps or CTs that are there, one each."""

    kind: Literal["files"] = "files"
    paths: tuple[str, ...] = Field(
        min_length=1, description="of files or DICOM folders; * and ** stand for any"
    )


class Conditions(_Ranges):
    """Of the flow; what has no range stays as the case says."""

    mean_aortic_pressure_mmHg: Range | None = (75.0, 110.0)
    hyperaemic_resistance_factor: Range | None = (0.20, 0.30)
    distal_pressure_mmHg: Range | None = None
    flow_split_exponent: Range | None = (2.15, 2.6)
    haematocrit: Range | None = (0.36, 0.50)
    myocardial_mass_g: Range | None = None


class Splits(Section):
    """Shares of the trees (or patients) in each split of the data set."""

    train: float = Field(default=0.8, ge=0.0, le=1.0)
    validation: float = Field(default=0.1, ge=0.0, le=1.0)
    test: float = Field(default=0.1, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if abs(self.train + self.validation + self.test - 1.0) > 1e-9:
            raise ValueError(
                f"shares that add up to 1 wanted, got {self.train + self.validation + self.test:g}"
            )
        return self


class Design(Section):
    """A cohort."""

    name: str = Field(pattern=_NAME)
    count: int = Field(ge=1, le=MOST, description="trees; of variants, pairs; of files, at most")
    seed: int = Field(default=0, ge=0)
    vessel: Annotated[Phantoms | Variants | Files, Field(discriminator="kind")] = Phantoms()
    conditions: Conditions = Conditions()
    splits: Splits = Splits()
    case: dict[str, Any] = Field(default_factory=dict, description="sections of every case")
    retry: bool = Field(
        default=True, description="a second way for what ends without a result (docs/clusters.md)"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_files(cls, data: Any) -> Any:  # noqa: ANN401
        """Files are all taken, and keep their own conditions, unless told otherwise."""
        vessel = data.get("vessel") if isinstance(data, dict) else None
        if not isinstance(vessel, dict) or vessel.get("kind") != "files":
            return data
        own = dict.fromkeys(Conditions.model_fields)
        told = data.get("conditions")
        conditions = {**own, **told} if isinstance(told, dict) else (own if told is None else told)
        return {"count": MOST, **data, "conditions": conditions}

    @model_validator(mode="after")
    def _case(self) -> Design:
        of_files = isinstance(self.vessel, Files) and isinstance(self.case.get("input"), dict)
        own = of_files and not {"kind", "path"} & self.case["input"].keys()  # a CT's tree, say
        for taken in ("name",) if own else ("input", "name"):
            if taken in self.case:
                raise ValueError(f"case.{taken} is the design's to choose: leave it out")
        return self


def load(path: Path) -> Design:
    """Read a design; a path in it is taken from its folder.

    Raises:
        InputError: Unreadable, unknown keys, values out of range.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        design = Design.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else []
        got = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in faults)
        raise InputError(
            file=path,
            wanted="the design of a cohort (docs/cohorts.md)",
            got=got or str(error).splitlines()[0],
            remedy="mend these keys; ffr3d cohort --help says where the keys are told",
        ) from None
    home, vessel = path.resolve().parent, design.vessel
    if isinstance(vessel, Variants):
        vessel = vessel.model_copy(update={"case": (home / vessel.case).resolve()})
    elif isinstance(vessel, Files):
        vessel = vessel.model_copy(update={"paths": tuple(str(home / x) for x in vessel.paths)})
    design = design.model_copy(update={"vessel": vessel})
    if isinstance(vessel, Files) and not files(design):
        raise InputError(
            file=path,
            field="vessel.paths",
            wanted="paths of cases, surfaces, label maps or CTs",
            got=f"nothing at {', '.join(vessel.paths)}",
            remedy="name files, DICOM folders, or patterns with * that match some",
        )
    return design


def dump(design: Design) -> str:
    """As YAML, every default written out."""
    return yaml.safe_dump(design.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def identifiers(design: Design) -> list[str]:
    """Names of the cases, in order; of variants, the vessel as it is and changed."""
    if isinstance(design.vessel, Files):
        return list(files(design))
    names = [f"{design.name}-{k:05d}" for k in range(design.count)]
    if isinstance(design.vessel, Phantoms):
        return names
    kinds = design.vessel.changes
    return [x for k, name in enumerate(names) for x in (name, f"{name}-{kinds[k % len(kinds)]}")]


def files(design: Design) -> dict[str, Path]:
    """The files of a design by the names of their cases, in order of these.

    A case file gives its case its own name; of anything else the name tells nothing: it may be a patient's.

    Raises:
        InputError: Two case files of one name.
    """
    assert isinstance(design.vessel, Files)
    found = dict[str, Path]()
    for path in sorted(
        {Path(x) for each in design.vessel.paths for x in glob(each, recursive=True)}
    ):
        plain = path.suffix.lower() in (".yaml", ".yml")
        short = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem) if plain else pseudonym(str(path))
        name = f"{design.name}-{short}"
        if name in found:
            raise InputError(
                file=path,
                wanted="case files of different names",
                got=f"another one of that name, {found[name]}",
                remedy="name one of them differently, or narrow vessel.paths",
            )
        found[name] = path
    return {name: found[name] for name in sorted(found)[: design.count]}


def case_of(
    design: Design,
    name: str,
    given: dict[str, Any],
    drawn: dict[str, float],
    base: dict[str, Any] | None = None,
) -> Case:
    """A case with the design's sections, what is given, and conditions at their places in the ranges.

    Args:
        design: The design.
        name: Of the case.
        given: Sections (``input``, maybe ``anatomy`` and ``physiology``) that win over the design's.
        drawn: Places in the ranges, 0 to 1.
        base: Sections that count where nothing else tells.

    Raises:
        InputError: It is not valid.
    """
    told = {key: value for key, value in _conditions(design, drawn).items() if value}
    data: dict[str, Any] = {"name": name, "solver": {"ranks": 1}}
    for part in (base or {}, design.case, told, given):
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(data.get(key), dict)
            data[key] = {**data[key], **value} if both else value
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            field=f"case.{'.'.join(map(str, first['loc']))} of {name}",
            wanted=first["msg"],
            got=f"{first['input']!r:.80}",
            remedy="mend the design",
        ) from None


def dimensions(design: Design) -> list[str]:
    """What has a place in the Sobol sequence, in a fixed order."""
    ranges = ("inlet_diameter_mm", "min_diameter_mm", "murray_exponent", "lesions")
    vessel = ranges if isinstance(design.vessel, Phantoms) else ("reduction", "length", "position")
    return [*vessel, *type(design.conditions).model_fields]


def sobol(design: Design, names: list[str]) -> np.ndarray:
    """Points of the unit cube, ``(count, names)``; the first ones are the same whatever the count."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(design.seed))
    return np.asarray(sequence.random_base2(max(design.count - 1, 1).bit_length()))[: design.count]


def within(limits: Range, place: float) -> float:
    """The number at a place, 0 to 1, of a range; four digits."""
    return float(f"{limits[0] + place * (limits[1] - limits[0]):.4g}")


def _conditions(design: Design, drawn: dict[str, float]) -> dict[str, dict[str, Any]]:
    at = {
        name: within(limits, drawn[name])
        for name, limits in design.conditions
        if limits is not None
    }
    blood = {"haematocrit": at.pop("haematocrit")} if "haematocrit" in at else {}
    mass = at.pop("myocardial_mass_g", None)
    physiology: dict[str, Any] = dict(at)
    if mass is not None:
        physiology["resting"] = {"myocardial_mass_g": mass}
    return {"physiology": physiology, "blood": blood}
