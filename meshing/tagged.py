"""Any tetrahedral mesh with tagged boundary faces as a vessel mesh: benchmarks, and other people's generators.

Reads what meshio reads (Gmsh, VTU, Medit, Abaqus, XDMF ...). A face's tag is its Gmsh physical group, else the file's
one integer array on cells; a group without a name is called by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.quality import facet_areas
from meshing.vessel import MeshArrays, Patch, Role, VesselMesh, write_arrays

Ints = npt.NDArray[np.int64]
TETRAHEDRA = {"tetra": "triangle", "tetra10": "triangle6"}
FLIPPED = {4: [1, 0, 2, 3], 10: [1, 0, 2, 3, 4, 6, 5, 8, 7, 9]}
"""A tetrahedron with its first two vertices exchanged."""
REMEDY = "give every boundary surface one physical group in the mesh generator, and save tetrahedra and triangles"


@dataclass(frozen=True, slots=True)
class _Faces:
    """Tagged triangles of a file and the names of the tags."""

    nodes: Ints
    tags: npt.NDArray[np.int32]
    names: Mapping[int, str]


def from_tagged(
    file: Path, roles: Mapping[str, Role], folder: Path, scale: float = 1.0
) -> VesselMesh:
    """Write ``mesh.h5`` and ``mesh.json`` from a mesh file with tagged faces.

    Args:
        file: Straight or second-order tetrahedra and the triangles of their boundary. Triangles inside are left out,
            inverted tetrahedra turned.
        roles: ``inlet``, ``outlet``, ``wall`` or ``slip``, by the name of each boundary group.
        folder: For the two files; made if need be.
        scale: Metres in the file's unit of length.

    Raises:
        InputError: The file cannot be read, has other cells, or its tags and the roles do not cover the boundary.
    """
    mesh = _read(file)
    kind = _kind(mesh, file)
    points = np.asarray(mesh.points, dtype=np.float64)[:, :3] * scale
    cells = _turned(points, np.asarray(mesh.cells_dict[kind], dtype=np.int64))
    faces = _faces(mesh, TETRAHEDRA[kind], file)
    facets, tags = _boundary(points, cells, faces, file)
    area = facet_areas(points, facets)
    patches = tuple(
        Patch(name, role, tag, float(area[tags == tag].sum()))
        for tag, name, role in _patches(faces, tags, roles, file)
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / "mesh.h5", MeshArrays(points, cells, facets, tags))
    vessel = VesselMesh(folder / "mesh.h5", patches)
    vessel.save(folder / "mesh.json")
    return vessel


def _read(file: Path) -> Any:  # noqa: ANN401 - meshio ships no type information
    try:
        return meshio.read(file)
    except (Exception, SystemExit) as error:  # meshio exits where a file is not what its name says
        raise InputError(
            file=file,
            wanted="a mesh file that meshio reads",
            got=f"{type(error).__name__}: {error}",
            remedy="save it as a Gmsh .msh (4.1) or a .vtu",
        ) from error


def _kind(mesh: Any, file: Path) -> str:  # noqa: ANN401
    """The one kind of volume cell."""
    solid = sorted({block.type for block in mesh.cells if block.dim == 3})
    if len(solid) != 1 or solid[0] not in TETRAHEDRA:
        raise InputError(
            file=file,
            wanted="tetrahedra of first or second order, one kind",
            got=f"cells {solid or 'without volume'}",
            remedy=REMEDY,
        )
    return str(solid[0])


def _turned(points: npt.NDArray[np.float64], cells: Ints) -> Ints:
    """The cells, positively oriented."""
    a, b, c, d = (points[cells[:, i]] for i in range(4))
    inverted = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0.0
    cells[inverted] = cells[inverted][:, FLIPPED[cells.shape[1]]]
    return cells


def _faces(mesh: Any, kind: str, file: Path) -> _Faces:  # noqa: ANN401
    arrays = [name for name, data in mesh.cell_data_dict.items() if kind in data]
    whole = [n for n in arrays if np.issubdtype(mesh.cell_data_dict[n][kind].dtype, np.integer)]
    whole = [n for n in whole if n == "gmsh:physical"] or [
        n for n in whole if not n.startswith("gmsh:")
    ]
    if len(whole) != 1:
        raise InputError(
            file=file,
            field=f"data on {kind} cells",
            wanted="one integer tag a boundary face (Gmsh: physical groups)",
            got=f"{arrays or 'none'}",
            remedy=REMEDY,
        )
    tags = np.asarray(mesh.cell_data_dict[whole[0]][kind], dtype=np.int32)
    called = {int(tag): str(n) for n, (tag, dim) in mesh.field_data.items() if dim == 2}
    names = {int(tag): called.get(int(tag), str(tag)) for tag in np.unique(tags)}
    return _Faces(np.asarray(mesh.cells_dict[kind], dtype=np.int64), tags, names)


def _boundary(
    points: npt.NDArray[np.float64], cells: Ints, faces: _Faces, file: Path
) -> tuple[Ints, npt.NDArray[np.int32]]:
    """The tagged faces that are free faces of the cells: all of them, each once."""
    corners = np.concatenate([np.delete(cells[:, :4], i, axis=1) for i in range(4)])
    found, count = np.unique(np.sort(corners, axis=1), axis=0, return_counts=True)
    free = {tuple(row) for row in found[count == 1].tolist()}
    keys = [tuple(row) for row in np.sort(faces.nodes[:, :3], axis=1).tolist()]
    mine = np.array([key in free for key in keys], dtype=bool)
    tagged = [key for key in keys if key in free]
    bare = free - set(tagged)
    if bare or len(tagged) != len(set(tagged)):
        twice = len(tagged) - len(set(tagged))
        at = f", the first at {points[list(min(bare))].mean(axis=0).round(6)} m" if bare else ""
        raise InputError(
            file=file,
            wanted="one tag on each boundary face",
            got=f"{len(bare)} of {len(free)} faces without{at}; {twice} tagged twice",
            remedy=REMEDY,
        )
    return faces.nodes[mine], faces.tags[mine]


def _patches(
    faces: _Faces, tags: npt.NDArray[np.int32], roles: Mapping[str, Role], file: Path
) -> list[tuple[int, str, Role]]:
    """Tag, name and role of each patch."""
    present = {int(tag): faces.names[int(tag)] for tag in np.unique(tags)}
    if set(present.values()) != set(roles):
        raise InputError(
            file=file,
            field="roles",
            wanted=f"a role for each of the boundary groups {sorted(present.values())}",
            got=f"roles of {sorted(roles)}",
            remedy="name each group once: inlet, outlet, wall or slip",
        )
    return [(tag, name, roles[name]) for tag, name in present.items()]
