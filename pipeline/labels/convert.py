"""A data set in the shapes that other programs read: VTK files, graphs and point clouds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from pipeline.labels import schema
from pipeline.labels.views import View, drawn, read
from pipeline.labels.write import read_index

Kind = Literal["vtk", "graph", "points"]
_TYPES = {3: 5, 6: 22, 4: 10, 10: 24}  # VTK's cell types by number of nodes


def convert(
    dataset: Path,
    target: Path,
    kind: Kind,
    *,
    view: View = "surface",
    points: int = 2048,
    seed: int = 0,
) -> int:
    """Write every case in another shape; return how many.

    ``vtk``: ``SPLIT/ID/volume.vtu``, ``surface.vtp``, ``centerlines.vtp``. ``graph``: ``SPLIT/ID.npz`` with ``pos``,
    ``x``, ``edge_index``, ``y``, ``conditions``, as PyTorch Geometric names them.
    ``points``: the same of so many points, without edges.

    Args:
        dataset: Its folder.
        target: Where to.
        kind: Which shape.
        view: Of graphs and points.
        points: Of each case.
        seed: Of their draw.

    Raises:
        InputError: No data set there.
    """
    rows = read_index(dataset)
    for number, row in enumerate(rows):
        path = dataset / "cases" / f"{row['case']}.h5"
        where = target / row["split"]
        if kind == "vtk":
            _vtk(path, where / row["case"])
            continue
        where.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = read(path, view, edges=kind == "graph")
        if kind == "points":
            arrays = drawn(arrays, points, np.random.default_rng([seed, number]))
        np.savez_compressed(where / f"{row['case']}.npz", **arrays)
    return len(rows)


def _vtk(path: Path, folder: Path) -> None:
    import pyvista as pv

    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(path) as file:
        cells = file["volume/cells"][:].astype(np.int64)
        flat = np.column_stack([np.full(len(cells), cells.shape[1]), cells]).ravel()
        volume = pv.UnstructuredGrid(
            flat, np.full(len(cells), _TYPES[cells.shape[1]]), file["volume/points"][:]
        )
        _fill(volume.point_data, file["volume"], ("pressure", "velocity", "extension"))
        triangles = file["surface/triangles"][:].astype(np.int64)
        surface = pv.PolyData(
            file["surface/points"][:],
            faces=np.column_stack([np.full(len(triangles), 3), triangles]).ravel(),
        )
        _fill(surface.point_data, file["surface"], ("normals", "pressure", "shear", "extension"))
        surface.cell_data["patch"] = file["surface/patch"][:]
        lines = _lines(file["centerlines"])
    volume.save(folder / "volume.vtu")
    surface.save(folder / "surface.vtp")
    lines.save(folder / "centerlines.vtp")


def _fill(data: Any, group: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401
    for name in names:
        told = schema.of(f"{group.name.strip('/')}/{name}")
        assert told is not None
        data[f"{name}_{told.unit}" if told.unit != "1" else name] = group[name][:]


def _lines(group: Any) -> Any:  # noqa: ANN401
    """All lines of a case, one poly-line an end."""
    import pyvista as pv

    names = sorted(group)
    lengths = [len(group[name]["abscissa"]) for name in names]
    starts = np.cumsum([0, *lengths[:-1]])
    flat = [np.r_[n, np.arange(start, start + n)] for n, start in zip(lengths, starts, strict=True)]
    lines = pv.PolyData(
        np.concatenate([group[name]["points"][:] for name in names]), lines=np.concatenate(flat)
    )
    for key in sorted(set(group[names[0]]) - {"points"}):
        told = schema.of(f"centerlines/NAME/{key}")
        assert told is not None
        column = np.concatenate([group[name][key][:] for name in names])
        lines.point_data[f"{key}_{told.unit}" if told.unit != "1" else key] = column
    lines.field_data["end_names"] = names
    return lines
