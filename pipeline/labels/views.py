"""A case as machine learning takes it: surface, volume, centreline graph; plain arrays, no torch.

A graph is what PyTorch Geometric calls ``Data``: ``pos (n, 3)``, ``x (n, f)``, ``edge_index (2, e)``, ``y (n, g)``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.labels.conditions import Conditions

View = Literal["surface", "volume", "centerline"]
Arrays = dict[str, npt.NDArray[Any]]
FEATURES = {
    "surface": ("normal x", "normal y", "normal z"),
    "volume": (),
    "centerline": ("abscissa [mm]", "radius [mm]", "area [mm2]", "flow share"),
}
TARGETS = {
    "surface": ("pressure [mmHg]", "shear x [Pa]", "shear y [Pa]", "shear z [Pa]"),
    "volume": ("pressure [mmHg]", "velocity x [m/s]", "velocity y [m/s]", "velocity z [m/s]"),
    "centerline": ("pressure [mmHg]", "FFR", "error of FFR"),
}


def read(path: Path, view: View, *, edges: bool = True) -> Arrays:
    """One case, flow extensions left out.

    Args:
        path: A case's HDF5 file.
        view: Which part of it.
        edges: Tell ``edge_index`` as well: most of the time it takes.

    Returns:
        ``pos`` [mm], ``x`` (`FEATURES`), ``y`` (`TARGETS`), ``edge_index`` (of a surface and a volume the edges of
        triangles and tetrahedra, each once; curved ones in two halves), and ``conditions (4,)``: aortic and distal
        pressure [mmHg], whole resistance of the outlets side by side [mmHg s/mL], viscosity [mPa s]. All but
        ``edge_index`` float32.
    """
    with h5py.File(path) as file:
        conditions = _numbers(Conditions.of(json.loads(file.attrs["conditions"])))
        made = _centerline(file) if view == "centerline" else _VIEWS[view](file, edges)
    made = {k: v if k == "edge_index" else v.astype(np.float32) for k, v in made.items()}
    return {**made, "conditions": conditions}


def drawn(arrays: Arrays, points: int, rng: np.random.Generator) -> Arrays:
    """So many points of a case, without edges; none twice unless there are fewer."""
    n = len(arrays["pos"])
    chosen = rng.choice(n, points, replace=n < points)
    return {
        name: values if name == "conditions" else values[chosen]
        for name, values in arrays.items()
        if name != "edge_index"
    }


def _numbers(told: Conditions) -> npt.NDArray[np.float32]:
    """Conditions as four numbers; NaN for those a case does not have."""
    Pa = np.nan if told.Pa_mmHg is None else told.Pa_mmHg
    distal = float(np.mean(list(told.distal_mmHg.values()))) if told.distal_mmHg else np.nan
    through = sum(1.0 / R for R in told.resistance.values() if R > 0)
    whole = 1.0 / through if through else np.nan
    return np.array([Pa, distal, whole, 1e3 * told.viscosity], np.float32)


def _without(arrays: Arrays, keep: npt.NDArray[np.bool_], cells: npt.NDArray[Any] | None) -> Arrays:
    """Nodes that are kept, and the edges of cells between them in the new numbers."""
    made: Arrays = {name: values[keep] for name, values in arrays.items()}
    if cells is not None:
        number, edges = np.cumsum(keep) - 1, _edges(cells)
        made["edge_index"] = number[edges[:, keep[edges].all(axis=0)]]
    return made


TRIANGLE = ((0, 1), (1, 2), (2, 0))
TETRAHEDRON = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))


def _pairs(nodes: int) -> list[tuple[int, int]]:
    """Neighbours in a cell: along straight edges the corners, along curved ones corner and middle."""
    if nodes == 3:
        return list(TRIANGLE)
    if nodes == 4:
        return list(TETRAHEDRON)
    return [(corner, 4 + k) for k, edge in enumerate(TETRAHEDRON) for corner in edge]


def _edges(cells: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Each edge once, ``(2, e)``."""
    pairs = _pairs(cells.shape[1])
    both = np.concatenate([cells[:, pair] for pair in pairs]).astype(np.int64)
    return np.ascontiguousarray(np.unique(np.sort(both, axis=1), axis=0).T)


def _surface(file: Any, edges: bool) -> Arrays:  # noqa: ANN401 - h5py ships no types
    part = file["surface"]
    wall = part["triangles"][:][part["patch"][:] == 0]
    on_wall = np.zeros(len(part["points"]), bool)
    on_wall[wall.ravel()] = True
    arrays = {
        "pos": part["points"][:],
        "x": part["normals"][:],
        "y": np.column_stack([part["pressure"][:], part["shear"][:]]),
    }
    return _without(arrays, on_wall & (part["extension"][:] == 0), wall if edges else None)


def _volume(file: Any, edges: bool) -> Arrays:  # noqa: ANN401
    part = file["volume"]
    points = part["points"][:]
    arrays = {
        "pos": points,
        "x": np.zeros((len(points), 0)),
        "y": np.column_stack([part["pressure"][:], part["velocity"][:]]),
    }
    return _without(arrays, part["extension"][:] == 0, part["cells"][:] if edges else None)


_VIEWS = {"surface": _surface, "volume": _volume}


def _centerline(file: Any) -> Arrays:  # noqa: ANN401
    """All lines as one graph; what they share is there once."""
    parts, lines = [], []
    for name in sorted(file["centerlines"]):
        line = {key: values[:] for key, values in file[f"centerlines/{name}"].items()}
        parts.append(line)
        lines.append(len(line["abscissa"]))
    joined = {key: np.concatenate([line[key] for line in parts]) for key in parts[0]}
    start = np.cumsum([0, *lines])
    edges = np.concatenate(
        [np.stack([np.arange(a, b - 1), np.arange(a + 1, b)]) for a, b in pairwise(start)],
        axis=1,
    )
    _, first, same = np.unique(
        np.round(joined["points"], 3), axis=0, return_index=True, return_inverse=True
    )
    order = np.sort(first)
    place = np.searchsorted(order, first)[np.ravel(same)]
    edges = np.unique(np.sort(place[edges], axis=0), axis=1)
    edges = edges[:, edges[0] != edges[1]]
    area = np.where(np.isfinite(joined["area"]), joined["area"], np.pi * joined["radius"] ** 2)
    flow = joined["flow"] / np.nanmax(joined["flow"])
    x = np.column_stack([joined["abscissa"], joined["radius"], area, np.nan_to_num(flow, nan=-1.0)])
    y = np.column_stack([joined["pressure"], joined["ffr"], joined["ffr_error"]])
    return {"pos": joined["points"][order], "x": x[order], "y": y[order], "edge_index": edges}
