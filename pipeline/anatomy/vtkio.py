"""VTK at the border: files in and out, and its messages turned into exceptions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import (
    mutable,
    vtkLogger,
    vtkOutputWindow,
    vtkPoints,
    vtkStringOutputWindow,
)
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData, vtkStaticCellLocator
from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader, vtkXMLPolyDataWriter

from meshing.errors import ComputationError, InputError
from pipeline.anatomy.surface import Flags, Floats, Surface

_log = logging.getLogger(__name__)
_FATAL = ("ERR", "Target not reached")  # VMTK only warns of a centreline that breaks off


@contextmanager
def vtk_errors(what: str) -> Iterator[None]:
    """Raise ComputationError for errors VTK reports inside the block; log its warnings.

    Args:
        what: What is being done, for the message.
    """
    before, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    loud = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkOutputWindow.SetInstance(before)
        vtkLogger.SetStderrVerbosity(loud)
        text = str(window.GetOutput()).strip()
    if any(word in text for word in _FATAL):
        raise ComputationError(f"{what}: {text.splitlines()[-1]}")
    if text:
        _log.debug("%s: %s", what, text)


def poly_data(
    points: Floats,
    triangles: npt.NDArray[np.int64] | None = None,
    line_sizes: list[int] | None = None,
) -> vtkPolyData:
    """Make a VTK data set of triangles, or of consecutive poly-lines."""
    data, nodes = vtkPolyData(), vtkPoints()
    nodes.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float64), deep=True))
    data.SetPoints(nodes)
    if triangles is not None:
        offsets = np.arange(0, 3 * len(triangles) + 1, 3)
        data.SetPolys(_cell_array(offsets, triangles.ravel()))
    if line_sizes is not None:
        data.SetLines(_cell_array(np.cumsum([0, *line_sizes]), np.arange(sum(line_sizes))))
    return data


def _cell_array(offsets: npt.NDArray[np.int64], flat: npt.NDArray[np.int64]) -> vtkCellArray:
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(offsets, dtype=np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(flat, dtype=np.int64), deep=True),
    )
    return cells


def add_arrays(attributes: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> None:  # noqa: ANN401
    """Attach named arrays to VTK point, cell or field data."""
    for name, values in arrays.items():
        made = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        made.SetName(name)
        attributes.AddArray(made)


def array(attributes: Any, name: str, file: Path) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return a named array of VTK data.

    Raises:
        InputError: It is not there.
    """
    found = attributes.GetArray(name)
    if found is None:
        raise InputError(
            file=file,
            field=name,
            wanted=f"an array {name!r}",
            got="none of that name",
            remedy="run the stage that writes this file again",
        )
    return np.array(vtk_to_numpy(found))


def read(path: Path) -> vtkPolyData:
    """Read a VTP file.

    Raises:
        InputError: The file is missing or empty.
    """
    if not path.is_file():
        raise InputError(
            file=path,
            wanted="a VTP file",
            got="no such file",
            remedy="run the stage before this one",
        )
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    with vtk_errors(f"reading {path}"):
        reader.Update()
    data: vtkPolyData = reader.GetOutput()
    if data.GetNumberOfPoints() == 0:
        raise InputError(
            file=path,
            wanted="points",
            got="an empty file",
            remedy="run the stage that writes it again",
        )
    return data


def write(path: Path, data: vtkPolyData) -> None:
    """Write a VTP file (binary, compressed).

    Raises:
        ComputationError: It could not be written.
    """
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    with vtk_errors(f"writing {path}"):
        if writer.Write() != 1:
            raise ComputationError(f"{path} could not be written")


def points_of(data: vtkPolyData) -> Floats:
    """Points as ``(n, 3)`` float64."""
    return np.array(vtk_to_numpy(data.GetPoints().GetData()), dtype=np.float64)


def read_surface(path: Path, patch: str = "cap") -> Surface:
    """Read a triangle surface with its patch array and, if there, its `extension` array.

    Raises:
        InputError: Missing file or array, or cells that are not triangles.
    """
    data = read(path)
    offsets = np.array(vtk_to_numpy(data.GetPolys().GetOffsetsArray()))
    if len(offsets) < 2 or (np.diff(offsets) != 3).any():
        raise InputError(
            file=path, wanted="triangles", got="other cells", remedy="triangulate the surface"
        )
    triangles = np.array(vtk_to_numpy(data.GetPolys().GetConnectivityArray()), dtype=np.int64)
    extension = data.GetCellData().GetArray("extension")
    return Surface.of(
        points_of(data),
        triangles.reshape(-1, 3),
        array(data.GetCellData(), patch, path).astype(np.int32),
        None if extension is None else np.array(vtk_to_numpy(extension)).astype(np.bool_),
    )


def write_surface(path: Path, surface: Surface) -> None:
    """Write ``vessel.vtp``: cell arrays `patch` and `extension`."""
    data = poly_data(surface.points, surface.triangles)
    add_arrays(
        data.GetCellData(),
        {"patch": surface.patch, "extension": surface.extension.astype(np.uint8)},
    )
    write(path, data)


def line_cells(data: vtkPolyData) -> list[npt.NDArray[np.int64]]:
    """Point indices of each poly-line."""
    lines = data.GetLines()
    offsets = np.array(vtk_to_numpy(lines.GetOffsetsArray()))
    flat = np.array(vtk_to_numpy(lines.GetConnectivityArray()), dtype=np.int64)
    return [flat[a:b] for a, b in pairwise(offsets.tolist())]


def wall_distance(surface: Surface, points: Floats) -> Floats:
    """Distance of points to the wall triangles (patch 0), caps left out, ``(n,)`` [mm]."""
    locator = vtkStaticCellLocator()
    locator.SetDataSet(poly_data(surface.points, surface.triangles[surface.patch == 0]))
    locator.BuildLocator()
    found: list[float] = []
    where: Any = [0.0, 0.0, 0.0]
    cell: Any = mutable(0)
    part: Any = mutable(0)
    square: Any = mutable(0.0)
    for point in points.tolist():
        locator.FindClosestPoint(point, where, cell, part, square)
        found.append(float(square))
    return np.sqrt(np.array(found))


def enclosed(surface: Surface, points: Floats) -> Flags:
    """Whether points lie inside a closed surface, by the sign of the distance, ``(n,)``."""
    distance = vtkImplicitPolyDataDistance()
    distance.SetInput(poly_data(surface.points, surface.triangles))
    return np.array([distance.EvaluateFunction(point) < 0.0 for point in points.tolist()], np.bool_)
