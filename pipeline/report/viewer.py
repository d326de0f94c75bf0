"""Data of the rotatable view: the wall, decimated and quantised, small enough to lie inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report.colours import MASKED, Scale
from pipeline.report.scenes import Label, vessel_axes

if TYPE_CHECKING:
    import pyvista as pv

MAX_TRIANGLES = 60_000
NEIGHBOURS = 3
STEPS = 65534  # of a 16-bit value; 65535 is "masked"
MASK_VALUE = 65535


def scene(wall: pv.PolyData, scales: Sequence[Scale], labels: Sequence[Label]) -> dict[str, Any]:
    """Everything ``viewer.js`` needs, JSON-able.

    Args:
        wall: The wall with its nodal fields (``ffr/wall.vtp``).
        scales: The fields to choose from and their colours; the first is shown first.
        labels: Texts at points.
    """
    light = decimate(wall)
    points = np.asarray(light.points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    fields = [_field(wall, points, scale) for scale in scales]
    triangles = np.asarray(light.regular_faces)
    index_type = np.uint16 if len(points) <= 65535 else np.uint32
    return {
        "origin_mm": low.tolist(),
        "size_mm": size,
        "positions": _pack(np.round((points - low) / size * 65535), np.uint16),
        "triangles": _pack(triangles, index_type),
        "index_bytes": np.dtype(index_type).itemsize,
        "fields": fields,
        "labels": [{"text": x.text, "point_mm": list(x.point_mm), "kind": x.kind} for x in labels],
        "masked_colour": MASKED,
        "view": vessel_axes(wall, labels).tolist(),
    }


def decimate(wall: pv.PolyData, limit: int = MAX_TRIANGLES) -> pv.PolyData:
    """The wall with at most ``limit`` triangles (quadric error metric)."""
    bare = wall.copy()
    bare.clear_data()
    if bare.n_cells > limit:
        bare = bare.decimate(1.0 - limit / bare.n_cells, volume_preservation=True)
    return bare


def _field(full: pv.PolyData, points: npt.NDArray[np.float64], scale: Scale) -> dict[str, Any]:
    values = _sample(full, scale.name, points)
    masked = np.isnan(values)
    top = float(np.nanmax(values)) if not masked.all() else scale.high
    bottom = float(np.nanmin(values)) if not masked.all() else scale.low
    span = max(top - bottom, 1e-12)
    quantised = np.where(masked, MASK_VALUE, np.round((values - bottom) / span * STEPS))
    return {
        "name": scale.name,
        "caption": scale.caption,
        "unit": scale.unit,
        "digits": 3 if scale.high <= 2 else 1,
        "data_low": bottom,
        "data_high": top,
        "low": scale.low,
        "high": scale.high,
        "under": scale.under,
        "colours": _pack(_table(scale.colours), np.uint8),
        "values": _pack(quantised, np.uint16),
    }


def _sample(
    full: pv.PolyData, name: str, points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Inverse-distance mean of the nearest original nodes; NaN where the nearest one is masked."""
    from scipy.spatial import KDTree

    original = np.asarray(full.points, dtype=np.float64)
    values = np.asarray(full.point_data[name], dtype=np.float64)
    distance, index = KDTree(original).query(points, k=min(NEIGHBOURS, len(original)))
    near = values[index]
    weight = np.where(np.isnan(near), 0.0, 1.0 / (distance + 1e-9))
    mean: npt.NDArray[np.float64] = (np.nan_to_num(near) * weight).sum(axis=1) / np.maximum(
        weight.sum(axis=1), 1e-300
    )
    return np.where(np.isnan(near[:, 0]), np.nan, mean)


def _table(name: str) -> npt.NDArray[np.float64]:
    """A colour map as 256 rows of red, green, blue, 0 to 255."""
    from matplotlib import colormaps

    table: npt.NDArray[np.float64] = np.round(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255)
    return table


def _pack(values: npt.NDArray[Any], kind: type[np.generic]) -> str:
    """Little-endian bytes in base64."""
    data = np.ascontiguousarray(values).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(data.tobytes()).decode("ascii")
