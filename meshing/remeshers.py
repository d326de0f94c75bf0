"""Surface remeshers (run by `meshing.worker`). Each takes and returns arrays.

In: ``points`` (n, 3), ``triangles`` (m, 3), ``patch`` (m,), ``size`` (n,), ``rim_edges`` (e, 2).
Out: ``points``, ``triangles``, ``patch``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, Any]


def mmgs(given: Arrays) -> Arrays:
    """Remesh by MMG; rims are ridges, so caps stay flat and keep their boundary."""
    import mmgpy

    mesh = mmgpy.MmgMeshS()
    points, triangles, edges = given["points"], given["triangles"], given["rim_edges"]
    mesh.set_mesh_size(vertices=len(points), triangles=len(triangles), edges=len(edges))
    mesh.set_vertices(points)
    mesh.set_triangles(triangles.astype(np.int32), given["patch"].astype(np.int64))
    mesh.set_edges(edges.astype(np.int32), np.ones(len(edges), dtype=np.int64))
    mesh.set_ridge_edges(np.arange(len(edges), dtype=np.int32))
    size = given["size"]
    mesh.set_field("metric", size[:, None].astype(np.float64))
    mesh.remesh(
        hmin=0.3 * float(size.min()),
        hmax=2.0 * float(size.max()),
        hausd=float(given["tolerance"]),
        hgrad=-1.0,
        angle=0,
        verbose=-1,
    )
    made, patch = mesh.get_triangles_with_refs()
    return {
        "points": mesh.get_vertices(),
        "triangles": made.astype(np.int64),
        "patch": patch.astype(np.int32),
    }


def vmtk(given: Arrays) -> Arrays:
    """Remesh by VMTK; rims lie between entity ids, which it keeps."""
    from vmtk import vtkvmtk
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    from meshing.locator import poly_data

    surface = poly_data(given["points"], given["triangles"])
    ids = numpy_to_vtk(given["patch"].astype(np.int32) + 1, deep=True)
    ids.SetName("CellEntityIds")
    surface.GetCellData().AddArray(ids)
    area = numpy_to_vtk(0.25 * np.sqrt(3.0) * given["size"] ** 2, deep=True)
    area.SetName("TargetArea")
    surface.GetPointData().AddArray(area)
    filter_ = vtkvmtk.vtkvmtkPolyDataSurfaceRemeshing()
    filter_.SetInputData(surface)
    filter_.SetCellEntityIdsArrayName("CellEntityIds")
    filter_.SetElementSizeModeToTargetAreaArray()
    filter_.SetTargetAreaArrayName("TargetArea")
    filter_.SetNumberOfIterations(10)
    filter_.SetNumberOfConnectivityOptimizationIterations(20)
    filter_.SetMaxArea(1e16)
    filter_.Update()
    made = filter_.GetOutput()
    triangles = vtk_to_numpy(made.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    patch = vtk_to_numpy(made.GetCellData().GetArray("CellEntityIds")) - 1
    used, number = np.unique(triangles, return_inverse=True)
    return {
        "points": vtk_to_numpy(made.GetPoints().GetData())[used].astype(np.float64),
        "triangles": number.reshape(-1, 3).astype(np.int64),
        "patch": patch.astype(np.int32),
    }
