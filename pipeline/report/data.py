"""What the report is given: the files of a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import VesselMesh
from pipeline.anatomy.types import Anatomy
from pipeline.case import Case
from pipeline.manifest import Manifest
from solver.problem import FlowResult


@dataclass(frozen=True)
class PullBack:
    """One curve of ``ffr/centerlines.vtp`` without flow extensions; arrays ``(n,)``.

    Attributes:
        outlet: Vessel end.
        abscissa_mm: Distance from the anatomical inlet.
        ffr: Section means.
        diameter_mm: Area-equivalent; NaN in bifurcations.
        points_mm: ``(n, 3)``.
        branch: Branch number.
    """

    outlet: str
    abscissa_mm: npt.NDArray[np.float64]
    ffr: npt.NDArray[np.float64]
    diameter_mm: npt.NDArray[np.float64]
    points_mm: npt.NDArray[np.float64]
    branch: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Everything the report shows.

    Attributes:
        folder: The run folder.
        case: The case.
        ffr: ``ffr/ffr.json``.
        certificate: ``certify/certificate.json``.
        physiology: ``solve/physiology.json``.
        flow: ``solve/flow.json``.
        anatomy: ``anatomy/anatomy.json``.
        vessel: ``mesh/mesh.json``.
        pull_backs: The curves.
        ledger: ``run.json``; empty if there is none.
    """

    folder: Path
    case: Case
    ffr: dict[str, Any]
    certificate: dict[str, Any]
    physiology: dict[str, Any]
    flow: FlowResult
    anatomy: Anatomy
    vessel: VesselMesh
    pull_backs: tuple[PullBack, ...]
    ledger: Manifest

    @property
    def title(self) -> str:
        """The report's title."""
        return self.case.report.title or self.case.name


def gather(folder: Path, case: Case) -> Run:
    """Read a run folder.

    Raises:
        InputError: A file of an earlier stage is missing or cannot be read.
    """
    try:
        return Run(
            folder=folder,
            case=case,
            ffr=json.loads((folder / "ffr" / "ffr.json").read_text()),
            certificate=json.loads((folder / "certify" / "certificate.json").read_text()),
            physiology=json.loads((folder / "solve" / "physiology.json").read_text()),
            flow=FlowResult.load(folder / "solve" / "flow.json"),
            anatomy=Anatomy.load(folder / "anatomy" / "anatomy.json"),
            vessel=VesselMesh.load(folder / "mesh" / "mesh.json"),
            pull_backs=pull_backs(folder / "ffr" / "centerlines.vtp"),
            ledger=Manifest.open(folder),
        )
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise unfinished(folder, error) from error


def unfinished(folder: Path, error: Exception, last: str = "certify") -> InputError:
    """What to say of a run folder in which what a stage wrote cannot be read."""
    return InputError(
        file=folder,
        wanted=f"a run folder in which the stages up to {last} have ended",
        got=f"{type(error).__name__}: {error}",
        remedy="run them: ffr3d run CASE",
    )


def pull_backs(path: Path) -> tuple[PullBack, ...]:
    """The curves of a ``centerlines.vtp``."""
    import pyvista as pv

    data = pv.PolyData(str(path))
    names = [str(name) for name in data.field_data["outlet_names"]]
    if data.n_lines != len(names):
        raise ValueError(f"{path}: {data.n_lines} lines, {len(names)} outlets")
    curves = []
    for k, name in enumerate(names):
        ids = data.get_cell(k).point_ids
        keep = np.asarray(ids)[np.asarray(data.point_data["extension"])[ids] == 0]
        curves.append(
            PullBack(
                outlet=name,
                abscissa_mm=np.asarray(data.point_data["abscissa_mm"])[keep],
                ffr=np.asarray(data.point_data["ffr"])[keep],
                diameter_mm=2 * np.sqrt(np.asarray(data.point_data["area_mm2"])[keep] / np.pi),
                points_mm=np.asarray(data.points, dtype=np.float64)[keep],
                branch=np.asarray(data.point_data["branch"]).astype(np.int64)[keep],
            )
        )
    return tuple(curves)
