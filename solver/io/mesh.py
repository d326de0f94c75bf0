"""Read a vessel mesh: each rank a slab of its rows, until DOLFINx gives every rank its part of the vessel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import MeshArrays, Patch, VesselMesh
from solver.engine import MPI, dolfinx, element
from solver.io import rows
from solver.parallel import on_all, on_root

REMEDY = "run the mesh stage again: ffr3d run CASE --from mesh"
Indices = npt.NDArray[np.int64]


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

    @property
    def inlet(self) -> str:
        """Name of the inlet patch."""
        return next(patch.name for patch in self.patches.values() if patch.role == "inlet")

    def facets(self, name: str) -> npt.NDArray[np.int32]:
        """Local facets of a patch."""
        found: npt.NDArray[np.int32] = self.facet_tags.find(self.patches[name].tag)
        return found


@dataclass(frozen=True, slots=True)
class Slab:
    """A rank's rows of a vessel mesh (`solver.io.rows`).

    Attributes:
        vessel: The mesh.
        arrays: Its rows on this rank; indices count the nodes of the whole.
        nodes: Of the whole.
        cells: Of the whole.
    """

    vessel: VesselMesh
    arrays: MeshArrays
    nodes: int
    cells: int

    def extent(self, comm: MPI.Comm) -> float:
        """Diagonal of the whole mesh's box [m] (collective)."""
        points = self.arrays.points
        low = points.min(axis=0) if len(points) else np.full(3, np.inf)
        high = points.max(axis=0) if len(points) else np.full(3, -np.inf)
        ends = np.empty((2, 3))
        comm.Allreduce(np.stack([low, -high]), ends, op=MPI.MIN)
        return float(np.linalg.norm(ends[0] + ends[1]))

    def triangles(self, comm: MPI.Comm, tag: int) -> tuple[Indices, npt.NDArray[np.float64]]:
        """The facets of a patch, and their corners [m], ``(k, 3 or 6)`` and ``(k, 3, 3)``; the same on all ranks."""
        mine = self.arrays.facets[self.arrays.facet_tags == tag]
        corners = self.at_nodes(comm, self.arrays.points, mine[:, :3].ravel())
        facets = np.concatenate(comm.allgather(mine))
        return facets, np.concatenate(comm.allgather(corners.reshape(-1, 3, 3)))

    def at_nodes(
        self, comm: MPI.Comm, values: npt.NDArray[np.float64], nodes: Indices
    ) -> npt.NDArray[np.float64]:
        """Values of any nodes, of which each rank holds its slab's (collective)."""
        first, _ = rows.span(comm, self.nodes)
        whom = rows.holder(nodes, self.nodes, comm.size)
        return rows.ask(comm, whom, nodes, lambda asked: values[asked - first])


def read(comm: MPI.Comm, path: Path) -> Slab:
    """Read and check a vessel mesh (collective).

    Raises:
        InputError: On every rank: a file is missing or its arrays do not make a mesh.
    """
    vessel, nodes, cells = on_root(comm, lambda: _open(path))

    def load() -> MeshArrays:
        try:
            points, tetrahedra, facets, tags = rows.read(
                comm, vessel.path, "points", "cells", "facets", "facet_tags"
            )
        except (OSError, KeyError) as error:
            raise _no_arrays(vessel, error) from error
        return MeshArrays(
            points.astype(np.float64),
            tetrahedra.astype(np.int64),
            facets.astype(np.int64),
            tags.astype(np.int32),
        )

    slab = Slab(vessel, on_all(comm, load), nodes, cells)
    fault = next(filter(None, comm.allgather(_fault(slab))), "") or _common_fault(comm, slab)
    if fault:
        raise _no_mesh(vessel, fault)
    return slab


def _open(path: Path) -> tuple[VesselMesh, int, int]:
    """The mesh, its number of nodes and of cells (one process)."""
    vessel = VesselMesh.load(path)
    try:
        with h5py.File(vessel.path, "r") as f:
            shape = {name: f[name].shape for name in ("points", "cells", "facets", "facet_tags")}
    except (OSError, KeyError, AttributeError) as error:
        raise _no_arrays(vessel, error) from error
    points, cells, facets = shape["points"], shape["cells"], shape["facets"]
    if len(points) != 2 or points[1] != 3:
        raise _no_mesh(vessel, f"points of shape {points}")
    if len(cells) != 2 or cells[1] not in (4, 10):
        raise _no_mesh(vessel, f"cells of shape {cells}")
    if facets[1:] != ({4: 3, 10: 6}[cells[1]],):
        raise _no_mesh(vessel, f"facets of shape {facets} for cells of shape {cells}")
    if shape["facet_tags"] != facets[:1]:
        raise _no_mesh(vessel, f"{shape['facet_tags']} tags for {facets[0]} facets")
    for name in ("cells", "facets"):
        if not shape[name][0]:
            raise _no_mesh(vessel, f"no {name}")
    return vessel, points[0], cells[0]


def _no_arrays(vessel: VesselMesh, error: Exception) -> InputError:
    return InputError(
        file=vessel.path, wanted="the arrays of a vessel mesh", got=str(error), remedy=REMEDY
    )


def _no_mesh(vessel: VesselMesh, fault: str) -> InputError:
    return InputError(file=vessel.path, wanted="a tetrahedral mesh", got=fault, remedy=REMEDY)


def _fault(slab: Slab) -> str:
    """What is wrong with a rank's rows by themselves; empty when nothing is."""
    arrays = slab.arrays
    if not np.isfinite(arrays.points).all():
        return "coordinates that are not finite"
    for name, index in (("cells", arrays.cells), ("facets", arrays.facets)):
        if index.size and (index.min() < 0 or index.max() >= slab.nodes):
            return f"{name} that name nodes that are not there"
    return ""


def _common_fault(comm: MPI.Comm, slab: Slab) -> str:
    """What is wrong with the mesh as a whole; the same on every rank (collective)."""
    if (inverted := comm.allreduce(int((_corner_volumes(comm, slab) <= 0.0).sum()))) > 0:
        return f"{inverted} cells turned inside out"
    if not _same_faces(comm, slab):
        return "boundary facets that are not exactly the free faces of the cells"
    tags = set().union(*comm.allgather(set(np.unique(slab.arrays.facet_tags).tolist())))
    stray = tags ^ {patch.tag for patch in slab.vessel.patches}
    return f"facet tags and patches that do not match (tags {sorted(stray)})" if stray else ""


def _corner_volumes(comm: MPI.Comm, slab: Slab) -> npt.NDArray[np.float64]:
    """Six times the signed volumes of the rank's straight tetrahedra (collective)."""
    nodes, where = np.unique(slab.arrays.cells[:, :4], return_inverse=True)
    corners = slab.at_nodes(comm, slab.arrays.points, nodes)[where.reshape(-1, 4)]
    a, b, c, d = (corners[:, i] for i in range(4))
    volumes: npt.NDArray[np.float64] = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)
    return volumes


def _same_faces(comm: MPI.Comm, slab: Slab) -> bool:
    """Whether the facets are the faces that belong to one cell, each once (collective)."""
    corners = slab.arrays.cells[:, :4]
    sides = [_face_keys(np.delete(corners, i, axis=1), slab.nodes) for i in range(4)]
    keys, counts = np.unique(_met(comm, np.concatenate(sides)), return_counts=True)
    mine = np.sort(_met(comm, _face_keys(slab.arrays.facets[:, :3], slab.nodes)))
    good = np.array_equal(keys[counts == 1], mine) and bool((counts <= 2).all())
    return bool(comm.allreduce(good, op=MPI.LAND))


def _met(comm: MPI.Comm, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Keys, brought to one rank for all that are the same."""
    to = (keys % np.uint64(comm.size)).astype(np.int64)
    return rows.send(comm, to, keys)[0]


def _face_keys(faces: Indices, count: int) -> npt.NDArray[np.uint64]:
    """One number a triangle, whatever the order of its corners (beyond 2.6 million nodes: a hash)."""
    a, b, c = np.sort(faces, axis=1).astype(np.uint64).T
    size = np.uint64(count)
    return np.asarray((a * size + b) * size + c, dtype=np.uint64)


def distribute(comm: MPI.Comm, slab: Slab, length: float) -> FlowMesh:
    """Give every rank its part of a mesh, scaled to ``length`` (collective)."""
    arrays = slab.arrays
    cells = arrays.cells[:, _permutation("tetrahedron", arrays.cells.shape[1])]
    facets = arrays.facets[:, _permutation("triangle", arrays.facets.shape[1])]
    shape = element("Lagrange", "tetrahedron", arrays.order, shape=(3,))
    mesh = dolfinx.mesh.create_mesh(
        comm, np.ascontiguousarray(cells), shape, arrays.points / length
    )
    facet_tags = _facet_tags(mesh, np.ascontiguousarray(facets), arrays.facet_tags)
    by_name = {patch.name: patch for patch in slab.vessel.patches}
    return FlowMesh(mesh, facet_tags, by_name, length, slab.nodes, slab.cells, arrays.order)


def _permutation(cell: str, nodes: int) -> Indices:
    """Columns that bring VTK's node order to DOLFINx's."""
    kind = dolfinx.mesh.CellType[cell]
    return np.asarray(dolfinx.io.utils.cell_perm_vtk(kind, nodes), dtype=np.int64)


def _facet_tags(mesh: Any, facets: Indices, tags: npt.NDArray[np.int32]) -> Any:  # noqa: ANN401
    """Bring facet tags to the ranks that own the facets."""
    mesh.topology.create_entities(2)
    mesh.topology.create_connectivity(2, 3)
    entities, values = dolfinx.io.distribute_entity_data(mesh, 2, facets, tags)
    return dolfinx.mesh.meshtags_from_entities(
        mesh, 2, dolfinx.graph.adjacencylist(entities), values.astype(np.int32, copy=False)
    )


def load(comm: MPI.Comm, path: Path, length: float) -> FlowMesh:
    """Read and distribute (collective).

    Raises:
        InputError: On every rank, see `read`.
    """
    return distribute(comm, read(comm, path), length)
