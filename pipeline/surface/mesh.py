"""A triangle surface with marked caps: measures and files. VTK is imported only to read and write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TriangleMesh:
    """Triangles in space [mm].

    Attributes:
        points: ``(n, 3)``.
        triangles: ``(m, 3)``; normals outward where the surface is closed.
        cap: ``(m,)``; 0 wall, i >= 1 the i-th cap.
    """

    points: Floats
    triangles: Ints
    cap: npt.NDArray[np.int32]

    @classmethod
    def of(
        cls, points: Floats, triangles: Ints, cap: npt.NDArray[np.int32] | None = None
    ) -> TriangleMesh:
        """Make a mesh; all wall if ``cap`` is absent."""
        cells = np.asarray(triangles, dtype=np.int64).reshape(-1, 3)
        return cls(
            np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3),
            cells,
            np.zeros(len(cells), np.int32) if cap is None else np.asarray(cap, np.int32),
        )

    @property
    def corners(self) -> Floats:
        """``(m, 3, 3)``: triangle, corner, coordinate."""
        return np.asarray(self.points[self.triangles])

    @property
    def area_vectors(self) -> Floats:
        """Normals with the length of the area, ``(m, 3)`` [mm^2]."""
        c = self.corners
        return np.asarray(0.5 * np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]))

    @property
    def areas(self) -> Floats:
        """``(m,)`` [mm^2]."""
        return np.asarray(np.linalg.norm(self.area_vectors, axis=1))

    @property
    def volume(self) -> float:
        """Enclosed volume [mm^3] (divergence theorem); meaningful for closed surfaces."""
        c = self.corners - self.points.mean(axis=0)
        return float(np.einsum("ij,ij->", c[:, 0], np.cross(c[:, 1], c[:, 2])) / 6.0)

    def keep(self, cells: npt.NDArray[np.bool_]) -> TriangleMesh:
        """Some triangles, unused points dropped."""
        used, inverse = np.unique(self.triangles[cells], return_inverse=True)
        return TriangleMesh(
            self.points[used], inverse.reshape(-1, 3).astype(np.int64), self.cap[cells]
        )

    def compact(self) -> TriangleMesh:
        """The same without unused points."""
        return self.keep(np.ones(len(self.triangles), np.bool_))


def poly_data(mesh: TriangleMesh) -> Any:  # noqa: ANN401
    """The mesh as vtkPolyData with the cell array ``cap``."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    nodes, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    nodes.SetData(numpy_to_vtk(mesh.points, deep=True))
    offsets = np.arange(0, 3 * len(mesh.triangles) + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(mesh.triangles.ravel()), deep=True),
    )
    data.SetPoints(nodes)
    data.SetPolys(cells)
    cap = numpy_to_vtk(mesh.cap, deep=True)
    cap.SetName("cap")
    data.GetCellData().AddArray(cap)
    return data


def write_vtp(mesh: TriangleMesh, path: Path) -> None:
    """Write a VTP file with the cell array ``cap`` (binary, compressed, double precision)."""
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(poly_data(mesh))
    writer.SetDataModeToBinary()
    if writer.Write() != 1:
        raise OSError(f"VTK could not write {path}")


def write_stl(mesh: TriangleMesh, path: Path) -> None:
    """Write a binary STL file (single precision; caps are not marked)."""
    record = np.zeros(
        len(mesh.triangles),
        dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")],
    )
    vectors = mesh.area_vectors
    record["normal"] = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-300)[:, None]
    record["corners"] = mesh.corners
    header = b"ffr3d lumen surface, millimetres, LPS".ljust(80)
    path.write_bytes(header + np.uint32(len(record)).astype("<u4").tobytes() + record.tobytes())
