"""Which nodes lie in the flow extensions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meshing.vessel import MeshArrays, VesselMesh
from pipeline.anatomy.types import Anatomy, End
from pipeline.ffr.sections import EDGES

Mask = npt.NDArray[np.bool_]

PLANE_TOLERANCE = 1e-3  # of the end's diameter: nodes on the plane belong to the vessel
LATERAL = 2.0  # diameters around the axis of the extension
BEYOND = 1.0  # diameters an extension may reach beyond its nominal length


def extension_nodes(
    points_mm: npt.NDArray[np.float64], mesh: MeshArrays, vessel: VesselMesh, anatomy: Anatomy
) -> Mask:
    """True on nodes in a flow extension, ``(n,)``.

    A node is in the extension of an end when it lies beyond the anatomical plane, near the axis, and is joined to the
    end's cap through such nodes: another vessel that crosses the plane is not.
    """
    mask = np.zeros(len(points_mm), dtype=np.bool_)
    for end in anatomy.ends:
        if end.extension_mm > 0:
            tag = vessel.patch(end.name).tag
            cap = np.unique(mesh.facets[mesh.facet_tags == tag])
            mask |= _joined(_candidates(points_mm, end), cap, mesh.cells)
    return mask


def extension_cells(cells: npt.NDArray[np.int64], nodes: Mask) -> Mask:
    """True on cells (or facets) that have all their vertices beyond an end plane or on it, and one beyond."""
    beyond = nodes[cells]
    return np.asarray(beyond.sum(axis=1) * 2 > cells.shape[1], dtype=np.bool_)


def _candidates(points_mm: npt.NDArray[np.float64], end: End) -> Mask:
    offset = points_mm - np.asarray(end.centre_mm)
    height = offset @ np.asarray(end.normal)
    lateral = np.linalg.norm(offset - height[:, None] * np.asarray(end.normal), axis=1)
    d = end.diameter_mm
    return np.asarray(
        (height > PLANE_TOLERANCE * d)
        & (height < end.extension_mm + BEYOND * d)
        & (lateral < LATERAL * d),
        dtype=np.bool_,
    )


def _joined(candidate: Mask, cap: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> Mask:
    """The candidates that are joined to ``cap`` through edges between candidates."""
    pairs = _edges(cells[candidate[cells].any(axis=1)])
    pairs = pairs[candidate[pairs].all(axis=1)]
    n = len(candidate)
    graph = coo_matrix(
        (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n)
    )
    _, label = connected_components(graph, directed=False)
    start = cap[candidate[cap]]
    return candidate & np.isin(label, np.unique(label[start]))


def _edges(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if cells.shape[1] == 4:
        return np.concatenate([cells[:, pair] for pair in EDGES])
    halves = [[vertex, 4 + k] for k, pair in enumerate(EDGES) for vertex in pair]
    return np.concatenate([cells[:, half] for half in halves])
