"""What the FFR stage is given: anatomy, mesh and flow solution of a run folder, in clinical units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import ComputationError
from meshing.vessel import MeshArrays, VesselMesh
from pipeline.anatomy.types import Anatomy, Centerline
from pipeline.attempts import Refinement
from pipeline.manifest import Manifest
from pipeline.physiology import MMHG
from solver.problem import FlowProblem, FlowResult

STEADY = ("velocity", "pressure", "wall_shear_stress")


@dataclass(frozen=True)
class Solution:
    """A finished computation.

    Attributes:
        anatomy: Ends and lesions.
        centerlines: One an outlet.
        vessel: The mesh and its patches.
        mesh: Its arrays; lengths in metres.
        points_mm: Its nodes [mm], ``(n, 3)``.
        pressure_mmHg: Nodal, ``(n,)``.
        velocity_m_per_s: Nodal, ``(n, 3)``.
        wall_shear_stress_Pa: Nodal, zero off the wall, ``(n, 3)``.
        more: Further nodal fields of a periodic flow (SI), ``(n,)`` by name: ``tawss``, ``osi``, ``rrt``, and
            ``pressure_NAME`` of each window; empty for a steady one.
        problem: What was solved (SI).
        result: What came out (SI).
        physiology: The record of `pipeline.physiology.flow_problem`.
        refinement: Meshes that were too coarse before this one.
    """

    anatomy: Anatomy
    centerlines: tuple[Centerline, ...]
    vessel: VesselMesh
    mesh: MeshArrays
    points_mm: npt.NDArray[np.float64]
    pressure_mmHg: npt.NDArray[np.float64]
    velocity_m_per_s: npt.NDArray[np.float64]
    wall_shear_stress_Pa: npt.NDArray[np.float64]
    more: dict[str, npt.NDArray[np.float64]]
    problem: FlowProblem
    result: FlowResult
    physiology: dict[str, Any]
    refinement: Refinement


def load(run_folder: Path) -> Solution:
    """Read ``anatomy/``, ``mesh/`` and ``solve/``.

    Raises:
        ComputationError: The fields do not fit the mesh, or are not finite.
    """
    vessel = VesselMesh.load(run_folder / "mesh" / "mesh.json")
    mesh = vessel.arrays()
    path = run_folder / "solve" / "fields.h5"
    with h5py.File(path, "r") as f:
        fields = {name: np.asarray(f[name][:], dtype=np.float64) for name in f}
    _check(fields, len(mesh.points), path)
    anatomy = Anatomy.load(run_folder / "anatomy" / "anatomy.json")
    return Solution(
        anatomy=anatomy,
        centerlines=read_centerlines(run_folder / "anatomy" / "centerlines.vtp", anatomy),
        vessel=vessel,
        mesh=mesh,
        points_mm=mesh.points * 1e3,
        pressure_mmHg=fields["pressure"] / MMHG,
        velocity_m_per_s=fields["velocity"],
        wall_shear_stress_Pa=fields["wall_shear_stress"],
        more={name: fields[name] for name in fields.keys() - set(STEADY)},
        problem=FlowProblem.load(run_folder / "solve" / "problem.json"),
        result=FlowResult.load(run_folder / "solve" / "flow.json"),
        physiology=json.loads((run_folder / "solve" / "physiology.json").read_text()),
        refinement=Manifest.open(run_folder).refinement,
    )


def _check(fields: dict[str, npt.NDArray[np.float64]], nodes: int, path: Path) -> None:
    for name, values in fields.items():
        if len(values) != nodes:
            raise ComputationError(
                f"{path}: {name} has {len(values)} rows, the mesh {nodes} nodes; "
                f"solve again: ffr3d run CASE --from solve"
            )
        if not np.isfinite(values).all():
            raise ComputationError(
                f"{path}: {name} has {np.count_nonzero(~np.isfinite(values))} values that are not finite; "
                f"solve again: ffr3d run CASE --from solve"
            )


def read_centerlines(path: Path, anatomy: Anatomy) -> tuple[Centerline, ...]:
    """Read ``centerlines.vtp`` (see `pipeline.anatomy.types`)."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64)
    arrays = {
        name: vtk_to_numpy(data.GetPointData().GetArray(name))
        for name in ("abscissa_mm", "radius_mm", "area_mm2", "tangent", "branch", "extension")
    }
    offsets = vtk_to_numpy(data.GetLines().GetOffsetsArray())
    connectivity = vtk_to_numpy(data.GetLines().GetConnectivityArray())
    outlet = vtk_to_numpy(data.GetCellData().GetArray("outlet")).astype(int)
    lines = []
    for k, (start, stop) in enumerate(pairwise(offsets)):
        ids = connectivity[start:stop]
        lines.append(
            Centerline(
                outlet=anatomy.outlets[outlet[k]].name,
                points_mm=points[ids],
                abscissa_mm=arrays["abscissa_mm"][ids].astype(np.float64),
                radius_mm=arrays["radius_mm"][ids].astype(np.float64),
                area_mm2=arrays["area_mm2"][ids].astype(np.float64),
                tangent=arrays["tangent"][ids].astype(np.float64),
                branch=arrays["branch"][ids].astype(np.int32),
                extension=arrays["extension"][ids].astype(np.bool_),
            )
        )
    return tuple(lines)
