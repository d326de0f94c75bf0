"""The mesh as VTU for other tools."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np

from meshing.topology import Floats
from meshing.vessel import MeshArrays


def write_vtu(path: Path, mesh: MeshArrays, scaled_jacobian: Floats) -> None:
    """Write tetrahedra and boundary triangles (quadratic ones at order 2) [m].

    Cell data ``patch``: -1 in the volume, the patch tag on boundary triangles; ``scaled_jacobian``:
    of the tetrahedra, NaN on triangles. Point data ``patch``: -1 inside, else the largest tag of
    the triangles around (a rim node has the tag of its cap).
    """
    second = mesh.order == 2
    at_point = np.full(len(mesh.points), -1, dtype=np.int32)
    np.maximum.at(at_point, mesh.facets, mesh.facet_tags[:, None])
    cells, facets = len(mesh.cells), len(mesh.facets)
    meshio.write(
        path,
        meshio.Mesh(
            mesh.points,
            [
                ("tetra10" if second else "tetra", mesh.cells),
                ("triangle6" if second else "triangle", mesh.facets),
            ],
            point_data={"patch": at_point},
            cell_data={
                "patch": [np.full(cells, -1, dtype=np.int32), mesh.facet_tags],
                "scaled_jacobian": [scaled_jacobian, np.full(facets, np.nan)],
            },
        ),
    )
