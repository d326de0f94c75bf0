"""Nearest facet of a triangle surface (VTK's static cell locator)."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import mutable, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData, vtkStaticCellLocator

from meshing.topology import Floats, Ints


class FacetLocator:
    """Answers which triangle lies nearest to a point, and where on it."""

    def __init__(self, points: Floats, triangles: Ints) -> None:
        self._points, self._triangles = points, triangles
        self._surface = poly_data(points, triangles)
        self._locator = vtkStaticCellLocator()
        self._locator.SetDataSet(self._surface)
        self._locator.BuildLocator()

    def closest(self, queries: Floats) -> tuple[Ints, Floats]:
        """Triangle ``(k,)`` and barycentric weights ``(k, 3)`` of the nearest facet point."""
        find: Any = self._locator.FindClosestPoint
        found = np.empty(len(queries), dtype=np.int64)
        nearest = np.empty((len(queries), 3))
        cell: Any = mutable(0)
        sub, square, point = mutable(0), mutable(0.0), [0.0, 0.0, 0.0]
        for k, query in enumerate(queries.tolist()):
            find(query, point, cell, sub, square)
            found[k] = cell.get()
            nearest[k] = point
        return found, barycentric(nearest, self._points[self._triangles[found]])


def barycentric(points: Floats, corners: Floats) -> Floats:
    """Barycentric weights ``(k, 3)`` of ``points`` in triangles ``(k, 3, 3)``, clipped to them."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    r = points - corners[:, 0]
    a, b, c = (np.sum(x * y, axis=1) for x, y in ((e1, e1), (e1, e2), (e2, e2)))
    p, q = np.sum(r * e1, axis=1), np.sum(r * e2, axis=1)
    det = a * c - b * b
    flat = det <= 1e-14 * a * c
    safe = np.where(flat, 1.0, det)
    s = np.where(flat, np.clip(p / np.where(a > 0, a, 1.0), 0, 1), (c * p - b * q) / safe)
    t = np.where(flat, 0.0, (a * q - b * p) / safe)
    weights = np.clip(np.stack([1.0 - s - t, s, t], axis=1), 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def poly_data(points: Floats, triangles: Ints) -> vtkPolyData:
    """A VTK surface of triangles."""
    surface = vtkPolyData()
    vertices = vtkPoints()
    vertices.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    surface.SetPoints(vertices)
    cells = vtkCellArray()
    offsets = np.arange(0, 3 * len(triangles) + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles).ravel(), deep=True),
    )
    surface.SetPolys(cells)
    return surface
