"""Read a vessel mesh on rank 0 and distribute it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import MeshArrays, Patch, VesselMesh
from solver.engine import basix, dolfinx
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
        cells: Number of tetrahedra.
        order: Geometric order, 1 or 2.
    """

    mesh: Any
    facet_tags: Any
    patches: dict[str, Patch]
    length: float
    nodes: int
    cells: int
    order: int

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
    count = len(arrays.points)
    for name, index in (("cells", arrays.cells), ("facets", arrays.facets)):
        if index.size == 0 or index.min() < 0 or index.max() >= count:
            return f"{name} that are empty or name nodes outside 0..{count - 1}"
    stray = set(np.unique(arrays.facet_tags).tolist()) ^ {patch.tag for patch in vessel.patches}
    if stray:
        return f"facet tags and patches that do not match (tags {sorted(stray)})"
    return ""


def distribute(comm: MPI.Comm, source: tuple[VesselMesh, MeshArrays] | None, length: float) -> FlowMesh:
    """Distribute the mesh that rank 0 holds, scaled to ``length``."""
    facts = None
    if source is not None:
        vessel, arrays = source
        facts = (arrays.order, len(arrays.points), len(arrays.cells), vessel.patches)
    order, nodes, count, patches = comm.bcast(facts, root=0)
    cell_nodes, facet_nodes = {1: (4, 3), 2: (10, 6)}[order]
    cells, points = np.empty((0, cell_nodes), np.int64), np.empty((0, 3))
    facets, tags = np.empty((0, facet_nodes), np.int64), np.empty(0, np.int32)
    if source is not None:
        cells = arrays.cells[:, _permutation("tetrahedron", cell_nodes)]
        facets = arrays.facets[:, _permutation("triangle", facet_nodes)]
        points, tags = arrays.points / length, arrays.facet_tags
    element = basix.ufl.element("Lagrange", "tetrahedron", order, shape=(3,))
    mesh = dolfinx.mesh.create_mesh(comm, np.ascontiguousarray(cells), element, points)
    facet_tags = _facet_tags(mesh, np.ascontiguousarray(facets), tags.astype(np.int32))
    return FlowMesh(
        mesh, facet_tags, {patch.name: patch for patch in patches}, length, nodes, count, order
    )


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
