"""Fills a closed triangle surface with tetrahedra by Gmsh (run by `meshing.worker`)."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, Any]
_ALGORITHM = {"delaunay": 1, "hxt": 10}


def fill(given: Arrays) -> Arrays:
    """Fill a surface; its vertices keep their numbers, new ones follow.

    In: ``points`` (n, 3), ``triangles`` (m, 3), ``algorithm`` ("hxt", "delaunay"), ``netgen`` (bool); and, where sizes
    inside are given, ``background_points`` (k, 3), ``background_tetrahedra`` (j, 4), ``background_size`` (k,).
    Out: ``points``, ``tetrahedra`` (k, 4), positively oriented.
    """
    import gmsh

    points, triangles = given["points"], given["triangles"]
    gmsh.initialize(interruptible=False)
    options = {
        "General.Terminal": 0,
        "General.NumThreads": 1,
        "Mesh.Algorithm3D": _ALGORITHM[str(given["algorithm"])],
        "Mesh.MeshSizeExtendFromBoundary": 1,
        "Mesh.MeshSizeFromPoints": 0,
        "Mesh.Optimize": 1,
        "Mesh.OptimizeNetgen": int(bool(given["netgen"])),
        "Mesh.OptimizeThreshold": 0.4,
        "Mesh.RandomSeed": 1,
    }
    for name, value in options.items():
        gmsh.option.setNumber(name, value)
    _surface(gmsh, points, triangles)
    if "background_size" in given:
        _background(gmsh, given)
    gmsh.model.mesh.generate(3)
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    kind, _, nodes = gmsh.model.mesh.getElements(3)
    gmsh.finalize()
    if len(kind) != 1 or kind[0] != 4:
        raise RuntimeError("gmsh filled nothing: the surface crosses itself or is not closed")
    return _numbered(points, tags, coordinates.reshape(-1, 3), nodes[0].reshape(-1, 4))


def _surface(gmsh: Any, points: Any, triangles: Any) -> None:  # noqa: ANN401
    gmsh.model.addDiscreteEntity(2, 1)
    gmsh.model.mesh.addNodes(2, 1, np.arange(1, len(points) + 1), points.ravel())
    gmsh.model.mesh.addElementsByType(1, 2, [], (triangles + 1).ravel())
    gmsh.model.geo.addSurfaceLoop([1], 1)
    gmsh.model.geo.addVolume([1], 1)
    gmsh.model.geo.synchronize()


def _background(gmsh: Any, given: Arrays) -> None:  # noqa: ANN401
    """Sizes inside are at most those of a view, which is linear on tetrahedra."""
    tetrahedra = given["background_tetrahedra"]
    corners = given["background_points"][tetrahedra].transpose(0, 2, 1).reshape(-1, 12)
    rows = np.concatenate([corners, given["background_size"][tetrahedra]], axis=1)
    view = gmsh.view.add("size")
    gmsh.view.addListData(view, "SS", len(rows), rows.ravel())
    field = gmsh.model.mesh.field.add("PostView")
    gmsh.model.mesh.field.setNumber(field, "ViewTag", view)
    gmsh.model.mesh.field.setAsBackgroundMesh(field)


def _numbered(points: Any, tags: Any, coordinates: Any, nodes: Any) -> Arrays:  # noqa: ANN401
    """Number the nodes: surface vertices first as given, then the inner ones in use."""
    place = {}
    where = np.full(int(tags.max()) + 1, -1, dtype=np.int64)
    where[tags.astype(np.int64)] = np.arange(len(tags))
    used = np.unique(nodes.astype(np.int64))
    inner = used[used > len(points)]
    number = np.full(int(tags.max()) + 1, -1, dtype=np.int64)
    number[1 : len(points) + 1] = np.arange(len(points))
    number[inner] = len(points) + np.arange(len(inner))
    place["points"] = np.concatenate([points, coordinates[where[inner]]])
    place["tetrahedra"] = _positive(place["points"], number[nodes.astype(np.int64)])
    return place


def _positive(points: Any, tetrahedra: Any) -> Any:  # noqa: ANN401
    a, b, c, d = (points[tetrahedra[:, k]] for k in range(4))
    negative = np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a) < 0
    tetrahedra[negative] = tetrahedra[negative][:, [0, 2, 1, 3]]
    return tetrahedra
