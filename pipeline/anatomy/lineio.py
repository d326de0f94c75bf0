"""``centerlines.vtp``: write and read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.anatomy.types import Centerline
from pipeline.anatomy.vtkio import add_arrays, array, line_cells, points_of, poly_data, read, write

_ARRAYS = ("abscissa_mm", "radius_mm", "area_mm2", "tangent", "branch")


def save_centerlines(path: Path, lines: Sequence[Centerline]) -> None:
    """Write poly-lines, one an outlet, in the order of ``anatomy.json``."""
    sizes = [len(line.points_mm) for line in lines]
    data = poly_data(np.vstack([line.points_mm for line in lines]), line_sizes=sizes)
    arrays = {name: np.concatenate([getattr(line, name) for line in lines]) for name in _ARRAYS}
    arrays["extension"] = np.concatenate([line.extension for line in lines]).astype(np.uint8)
    add_arrays(data.GetPointData(), arrays)
    add_arrays(data.GetCellData(), {"outlet": np.arange(len(lines), dtype=np.int32)})
    write(path, data)


def read_centerlines(path: Path, outlets: Sequence[str]) -> tuple[Centerline, ...]:
    """Read the lines; `outlets` are the outlet names of ``anatomy.json``.

    Raises:
        InputError: The file or an array is missing.
    """
    data = read(path)
    points, values = points_of(data), data.GetPointData()
    arrays = {name: array(values, name, path) for name in (*_ARRAYS, "extension")}
    outlet = array(data.GetCellData(), "outlet", path).astype(int)
    return tuple(
        Centerline(
            outlet=outlets[outlet[k]],
            points_mm=points[ids],
            abscissa_mm=arrays["abscissa_mm"][ids],
            radius_mm=arrays["radius_mm"][ids],
            area_mm2=arrays["area_mm2"][ids],
            tangent=arrays["tangent"][ids],
            branch=arrays["branch"][ids].astype(np.int32),
            extension=arrays["extension"][ids].astype(np.bool_),
        )
        for k, ids in enumerate(line_cells(data))
    )
