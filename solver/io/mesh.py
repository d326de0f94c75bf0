"""Read a vessel mesh on rank 0 and distribute it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import MeshArrays, Patch, VesselMesh
from solver.engine import dolfinx, element
from solver.parallel import on_root

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, slots=True)
class FlowMesh:
    """A distributed mesh in units of ``length``.

    Attributes:
        mesh: The DOLFINx mesh; coordinates are divided by ``length``.
        facet_tags: Patch tags of the boundary facets.
        patches: The patches by name, with their areas [m^2].
        length: Reference length [m].
        nodes: Number of nodes of the mesh file.
        kept: On rank 0 the file's number of each node that a cell uses; None elsewhere.
        cells: Number of tetrahedra.
        order: Geometric order, 1 or 2.
    """

    mesh: Any
    facet_tags: Any
    patches: dict[str, Patch]
    length: float
    nodes: int
    kept: npt.NDArray[np.int64] | None
    cells: int
    order: int

    @property
    def inlet(self) -> str:
        """Name of the inlet patch."""
        return next(patch.name for patch in self.patches.values() if patch.role == "inlet")

    def facets(self, name: str) -> npt.NDArray[np.int32]:
        """Local facets of a patch."""
        found: npt.NDArray[np.int32] = self.facet_tags.find(self.patches[name].tag)
        return found


def read(path: Path) -> tuple[VesselMesh, MeshArrays]:
    """Read and check a vessel mesh (one process).

    Raises:
        InputError: A file is missing or its arrays do not make a mesh.
    """
    vessel = VesselMesh.load(path)
    remedy = "run the mesh stage again: ffr3d run CASE --from mesh"
    try:
        arrays = vessel.arrays()
    except (OSError, KeyError) as error:
        raise InputError(
            file=vessel.path, wanted="the arrays of a vessel mesh", got=str(error), remedy=remedy
        ) from error
    fault = _fault(vessel, arrays)
    if fault:
        raise InputError(file=vessel.path, wanted="a tetrahedral mesh", got=fault, remedy=remedy)
    return vessel, arrays


def _fault(vessel: VesselMesh, arrays: MeshArrays) -> str:
    """What is wrong with the arrays; empty when nothing is."""
    if arrays.cells.ndim != 2 or arrays.cells.shape[1] not in (4, 10):
        return f"cells of shape {arrays.cells.shape}"
    if arrays.facets.shape[1:] != ({4: 3, 10: 6}[arrays.cells.shape[1]],):
        return f"facets of shape {arrays.facets.shape} for cells of shape {arrays.cells.shape}"
    if not np.isfinite(arrays.points).all():
        return "coordinates that are not finite"
    for name, index in (("cells", arrays.cells), ("facets", arrays.facets)):
        if index.size == 0 or index.min() < 0 or index.max() >= len(arrays.points):
            return f"{name} that are empty or name nodes that are not there"
    return _geometric_fault(vessel, arrays)


def _geometric_fault(vessel: VesselMesh, arrays: MeshArrays) -> str:
    if (inverted := int((_corner_volumes(arrays) <= 0.0).sum())) > 0:
        return f"{inverted} cells turned inside out"
    if not _same_faces(arrays):
        return "boundary facets that are not exactly the free faces of the cells"
    stray = set(np.unique(arrays.facet_tags).tolist()) ^ {patch.tag for patch in vessel.patches}
    return f"facet tags and patches that do not match (tags {sorted(stray)})" if stray else ""


def _corner_volumes(arrays: MeshArrays) -> npt.NDArray[np.float64]:
    """Six times the signed volumes of the straight tetrahedra."""
    a, b, c, d = (arrays.points[arrays.cells[:, i]] for i in range(4))
    volumes: npt.NDArray[np.float64] = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)
    return volumes


def _same_faces(arrays: MeshArrays) -> bool:
    """Whether the facets are the faces that belong to one cell, each once."""
    corners = arrays.cells[:, :4]
    faces = np.concatenate([np.delete(corners, i, axis=1) for i in range(4)])
    keys, counts = np.unique(_face_keys(faces, len(arrays.points)), return_counts=True)
    mine = np.sort(_face_keys(arrays.facets[:, :3], len(arrays.points)))
    return np.array_equal(keys[counts == 1], mine) and bool(counts.max() <= 2)


def _face_keys(faces: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint64]:
    """One number a triangle, whatever the order of its corners (beyond 2.6 million nodes: a hash)."""
    a, b, c = np.sort(faces, axis=1).astype(np.uint64).T
    size = np.uint64(count)
    return np.asarray((a * size + b) * size + c, dtype=np.uint64)


def _compress(arrays: MeshArrays) -> tuple[npt.NDArray[np.int64], MeshArrays]:
    """Leave out nodes that no cell uses; return the file's number of each kept node."""
    used, renumbered = np.unique(arrays.cells.ravel(), return_inverse=True)
    new = np.zeros(len(arrays.points), dtype=np.int64)
    new[used] = np.arange(used.size)
    cells = renumbered.reshape(arrays.cells.shape)
    return used, MeshArrays(arrays.points[used], cells, new[arrays.facets], arrays.facet_tags)


def distribute(
    comm: MPI.Comm, source: tuple[VesselMesh, MeshArrays] | None, length: float
) -> FlowMesh:
    """Distribute the mesh that rank 0 holds, scaled to ``length``."""
    facts, kept = None, None
    if source is not None:
        vessel, (kept, arrays) = source[0], _compress(source[1])
        facts = (arrays.order, len(source[1].points), len(arrays.cells), vessel.patches)
    order, nodes, count, patches = comm.bcast(facts, root=0)
    cell_nodes, facet_nodes = {1: (4, 3), 2: (10, 6)}[order]
    cells, points = np.empty((0, cell_nodes), np.int64), np.empty((0, 3))
    facets, tags = np.empty((0, facet_nodes), np.int64), np.empty(0, np.int32)
    if source is not None:
        cells = arrays.cells[:, _permutation("tetrahedron", cell_nodes)]
        facets = arrays.facets[:, _permutation("triangle", facet_nodes)]
        points, tags = arrays.points / length, arrays.facet_tags
    shape = element("Lagrange", "tetrahedron", order, shape=(3,))
    mesh = dolfinx.mesh.create_mesh(comm, np.ascontiguousarray(cells), shape, points)
    facet_tags = _facet_tags(mesh, np.ascontiguousarray(facets), tags.astype(np.int32))
    by_name = {patch.name: patch for patch in patches}
    return FlowMesh(mesh, facet_tags, by_name, length, nodes, kept, count, order)


def _permutation(cell: str, nodes: int) -> npt.NDArray[np.int64]:
    """Columns that bring VTK's node order to DOLFINx's."""
    kind = dolfinx.mesh.CellType[cell]
    return np.asarray(dolfinx.io.utils.cell_perm_vtk(kind, nodes), dtype=np.int64)


def _facet_tags(mesh: Any, facets: npt.NDArray[np.int64], tags: npt.NDArray[np.int32]) -> Any:  # noqa: ANN401
    """Bring the facet tags of rank 0 to the ranks that own the facets."""
    mesh.topology.create_entities(2)
    mesh.topology.create_connectivity(2, 3)
    entities, values = dolfinx.io.distribute_entity_data(mesh, 2, facets, tags)
    return dolfinx.mesh.meshtags_from_entities(
        mesh, 2, dolfinx.graph.adjacencylist(entities), values.astype(np.int32, copy=False)
    )


def load(comm: MPI.Comm, path: Path, length: float) -> FlowMesh:
    """Read on rank 0, then distribute.

    Raises:
        InputError: On every rank, see `read`.
    """
    held: list[tuple[VesselMesh, MeshArrays]] = []
    on_root(comm, lambda: held.append(read(path)))
    return distribute(comm, held[0] if held else None, length)
