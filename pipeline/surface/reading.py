"""Triangle surfaces from files: STL (ASCII, binary), VTP, PLY, OBJ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meshing.errors import InputError
from pipeline.surface.mesh import Floats, TriangleMesh

FORMATS = ".stl, .vtp, .ply, .obj"
TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


def read_surface(path: Path, unit: str = "mm", field: str | None = None) -> TriangleMesh:
    """Read a surface, scaled to mm. Polygons are cut into triangles; STL corners are not merged yet.

    Args:
        path: STL, VTP, PLY or OBJ file.
        unit: Unit of its coordinates.
        field: Key of the case named in errors.

    Raises:
        InputError: Missing, unreadable or empty file, no triangles, NaN or infinite coordinates.
    """
    path = Path(path)
    if not path.is_file():
        raise _refusal(path, field, "no such file", "check the path")
    if path.stat().st_size == 0:
        raise _refusal(path, field, "an empty file", "export the surface again")
    suffix = path.suffix.lower()
    if suffix == ".stl":
        points, triangles = _read_stl(path, field)
    elif suffix in (".vtp", ".ply", ".obj"):
        points, triangles = _read_vtk(path, suffix, field)
    else:
        raise _refusal(path, field, f"a file called *{path.suffix}", f"give one of {FORMATS}")
    if len(triangles) == 0:
        raise _refusal(path, field, "no triangle", "export the surface as triangles")
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        got = f"NaN or infinite coordinates at {len(wrong)} points (first: point {wrong[0]})"
        raise _refusal(path, field, got, "export the surface again, or remove these points")
    return TriangleMesh.of(points * TO_MM[unit], triangles)


def _refusal(path: Path, field: str | None, got: str, remedy: str) -> InputError:
    return InputError(
        file=path, field=field, wanted=f"a triangle surface ({FORMATS})", got=got, remedy=remedy
    )


def _read_stl(path: Path, field: str | None) -> tuple[Floats, Any]:
    """ASCII if it starts with "solid" and says "facet" early; binary if the count fits the size."""
    data = path.read_bytes()
    count = int(np.frombuffer(data[80:84], "<u4")[0]) if len(data) >= 84 else -1
    if count >= 0 and len(data) == 84 + 50 * count:
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
        corners = np.frombuffer(data[84:], record, count)["corners"].astype(np.float64)
    elif data.lstrip()[:5].lower() == b"solid":
        corners = _ascii_corners(path, data, field)
    else:
        got = f"{len(data)} bytes where the header announces {84 + 50 * count}"
        raise _refusal(path, field, got, "the STL file is cut off or damaged; export it again")
    return corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)


def _ascii_corners(path: Path, data: bytes, field: str | None) -> Floats:
    words = data.lower().split()
    at = [i for i, word in enumerate(words) if word == b"vertex"]
    try:
        numbers = np.array([words[i + 1 : i + 4] for i in at], dtype=np.float64)
        return numbers.reshape(-1, 3, 3)
    except ValueError as error:
        remedy = "the STL file is cut off or damaged; export it again"
        raise _refusal(path, field, f"ASCII STL with a fault: {error}", remedy) from error


def _read_vtk(path: Path, suffix: str, field: str | None) -> tuple[Floats, Any]:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter
    from vtkmodules.vtkIOGeometry import vtkOBJReader
    from vtkmodules.vtkIOPLY import vtkPLYReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    reader: Any = {".vtp": vtkXMLPolyDataReader, ".ply": vtkPLYReader, ".obj": vtkOBJReader}[
        suffix
    ]()
    reader.SetFileName(str(path))
    cut: Any = vtkTriangleFilter()
    cut.SetInputConnection(reader.GetOutputPort())
    cut.PassLinesOff()
    cut.PassVertsOff()
    before, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    vtkOutputWindow.SetInstance(window)  # VTK prints its errors; here they become ours
    try:
        cut.Update()
    finally:
        vtkOutputWindow.SetInstance(before)
    text = str(window.GetOutput())
    output = cut.GetOutput()
    if "ERR" in text:
        line = [line for line in text.splitlines() if line.strip()][-1].split("): ")[-1]
        raise _refusal(path, field, f"an unreadable file ({line.strip()})", "export it again")
    if output.GetNumberOfPolys() == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    points = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    return points, vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3)
