"""Files for ParaView: centrelines, volume, wall. Lengths in mm; values in flow extensions are NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ffr.curves import Curve
from pipeline.ffr.load import Solution
from pipeline.ffr.masks import extension_cells

Array = npt.NDArray[Any]
ON_WALL = ("tawss", "osi", "rrt")
VTK_TETRA, VTK_QUADRATIC_TETRA = 10, 24


def nodal_fields(solution: Solution, reference_mmHg: float, mask: Array) -> dict[str, Array]:
    """The fields in clinical units, single precision, NaN where ``mask``."""
    fields: dict[str, Array] = {
        "pressure_mmHg": solution.pressure_mmHg,
        "ffr": solution.pressure_mmHg / reference_mmHg,
        "velocity_m_per_s": solution.velocity_m_per_s,
        "wall_shear_stress_Pa": np.linalg.norm(solution.wall_shear_stress_Pa, axis=1),
        "wall_shear_stress_vector_Pa": solution.wall_shear_stress_Pa,
    }
    names = {"tawss": "tawss_Pa", "osi": "osi", "rrt": "rrt_per_Pa"}
    fields |= {names[key]: solution.more[key] for key in names if key in solution.more}
    masked = {}
    for name, values in fields.items():
        masked[name] = values.astype(np.float32)
        masked[name][mask] = np.nan
    masked["extension"] = mask.astype(np.uint8)
    return masked


def write_volume(
    path: Path, solution: Solution, fields: Mapping[str, Array], mask: Array, notice: str
) -> None:
    """Write ``volume.vtu``; quadratic tetrahedra stay quadratic."""
    from vtkmodules.vtkCommonDataModel import vtkUnstructuredGrid
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    grid = vtkUnstructuredGrid()
    grid.SetPoints(_points(solution.points_mm))
    kind = VTK_TETRA if solution.mesh.order == 1 else VTK_QUADRATIC_TETRA
    grid.SetCells(kind, _cells(solution.mesh.cells))
    names = [name for name in fields if not name.startswith(("wall_shear", *ON_WALL))]
    _add(grid.GetPointData(), {name: fields[name] for name in names})
    extension = extension_cells(solution.mesh.cells, mask)
    _add(grid.GetCellData(), {"extension": extension.astype(np.uint8)})
    _save(vtkXMLUnstructuredGridWriter(), grid, path, notice)


def write_wall(
    path: Path,
    points_mm: Array,
    triangles: npt.NDArray[np.int64],
    fields: Mapping[str, Array],
    notice: str,
) -> None:
    """Write ``wall.vtp``: the wall triangles and the nodes they use."""
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    used, local = np.unique(triangles, return_inverse=True)
    data = vtkPolyData()
    data.SetPoints(_points(points_mm[used]))
    data.SetPolys(_cells(local.reshape(triangles.shape)))
    keep = [name for name in fields if name != "velocity_m_per_s"]  # zero on the wall
    _add(data.GetPointData(), {name: fields[name][used] for name in keep})
    _save(vtkXMLPolyDataWriter(), data, path, notice)


def write_centerlines(
    path: Path, curves: Sequence[Curve], reference_mmHg: float, notice: str
) -> None:
    """Write ``centerlines.vtp``: one poly-line an outlet, in the order of the outlets' centrelines."""
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    data = vtkPolyData()
    data.SetPoints(_points(np.concatenate([curve.line.points_mm for curve in curves])))
    offsets = np.cumsum([0, *(len(curve.line.abscissa_mm) for curve in curves)])
    data.SetLines(_cell_array(offsets, np.arange(offsets[-1])))
    columns = [_columns(curve, reference_mmHg) for curve in curves]
    _add(
        data.GetPointData(),
        {name: np.concatenate([column[name] for column in columns]) for name in columns[0]},
    )
    _add(data.GetCellData(), {"outlet": np.arange(len(curves), dtype=np.int32)})
    _add_names(data.GetFieldData(), "outlet_names", [curve.line.outlet for curve in curves])
    _save(vtkXMLPolyDataWriter(), data, path, notice)


def _columns(curve: Curve, reference_mmHg: float) -> dict[str, Array]:
    line = curve.line

    def masked(values: Array) -> Array:
        return np.where(line.extension, np.nan, values)

    return {
        "abscissa_mm": line.abscissa_mm,
        "radius_mm": line.radius_mm,
        "area_mm2": line.area_mm2,
        "branch": line.branch,
        "extension": line.extension.astype(np.uint8),
        "pressure_mmHg": masked(curve.pressure_mmHg),
        "ffr": masked(curve.pressure_mmHg / reference_mmHg),
        "flow_mL_per_s": masked(curve.flow_mL_per_s),
        "peak_velocity_m_per_s": masked(curve.peak_m_per_s),
        "whole_section": curve.whole.astype(np.uint8),
    }


def _points(points: Array) -> Any:  # noqa: ANN401
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    made = vtkPoints()
    made.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float64), deep=True))
    return made


def _cells(cells: Array) -> Any:  # noqa: ANN401
    count, size = cells.shape
    return _cell_array(np.arange(0, count * size + 1, size), cells.ravel())


def _cell_array(offsets: Array, flat: Array) -> Any:  # noqa: ANN401
    from vtkmodules.util.numpy_support import numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonDataModel import vtkCellArray

    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(offsets, dtype=np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(flat, dtype=np.int64), deep=True),
    )
    return cells


def _add(attributes: Any, arrays: Mapping[str, Array]) -> None:  # noqa: ANN401
    from vtkmodules.util.numpy_support import numpy_to_vtk

    for name, values in arrays.items():
        made = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        made.SetName(name)
        attributes.AddArray(made)


def _add_names(attributes: Any, name: str, values: Sequence[str]) -> None:  # noqa: ANN401
    from vtkmodules.vtkCommonCore import vtkStringArray

    made = vtkStringArray()
    made.SetName(name)
    for value in values:
        made.InsertNextValue(value)
    attributes.AddArray(made)


def _save(writer: Any, data: Any, path: Path, notice: str) -> None:  # noqa: ANN401
    from meshing.errors import ComputationError

    _add_names(data.GetFieldData(), "notice", [notice])
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToZLib()
    if writer.Write() != 1:
        raise ComputationError(f"{path} could not be written; is the disk full?")
