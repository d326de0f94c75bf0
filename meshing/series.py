"""Several meshes of one lumen for convergence studies: self-similar, or nested."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from meshing.check import check_surface
from meshing.errors import InputError
from meshing.generate import write_mesh
from meshing.ladder import RUNGS, Like, Made, Rung, climb
from meshing.lumen import LumenSurface
from meshing.options import MeshOptions, SeriesOptions
from meshing.quality import cell_quality, summary
from meshing.refine import refine
from meshing.vessel import MeshArrays, VesselMesh

_log = logging.getLogger(__name__)


def mesh_series(
    surface: LumenSurface,
    options: MeshOptions,
    folder: Path,
    series: SeriesOptions,
    progress: Callable[[str], None] = _log.info,
) -> list[VesselMesh]:
    """Mesh a lumen several times, each time finer by a factor; ``level_1`` is the mesh of the options.

    Self-similar: the size field of every level is that of the first, divided by powers of the factor (throats and what
    was refined there included), made on the same rung of the ladder where that works. Nested: every level is the one
    before with each tetrahedron cut in eight (factor 2): the same domain, also where it is curved.

    Args:
        surface: The lumen, closed, with its caps [mm].
        options: Of the first level.
        folder: Gets ``level_1``, ``level_2``, ... as `meshing.generate.generate` writes them, and ``series.json``.
        series: How many, how much finer, or nested.
        progress: Told what is being done.

    Raises:
        InputError: As `generate`; or a level would have too many cells.
        ComputationError: As `generate`.
    """
    check_surface(surface)
    for old in folder.glob("level_*"):  # of another series
        shutil.rmtree(old)
    made = [climb(surface, options, progress)]
    meshes = [write_mesh(surface, made[0], folder / "level_1")]
    for level in range(2, series.levels + 1):
        target = folder / f"level_{level}"
        progress(f"meshing: level {level} of {series.levels}")
        if series.nested:
            made.append(_nested(made[-1], options))
        else:
            like = Like(made[0].like.finer, series.factor ** (1 - level))
            made.append(climb(surface, options, progress, _rungs(made[0]), sizes=like))
        meshes.append(write_mesh(surface, made[-1], target))
    rows = [_row(mesh, level) for level, mesh in enumerate(made, start=1)]
    for before, row in pairwise(rows):
        row["refinement"] = before["edge_mm"] / row["edge_mm"]
    told = {
        "nested": series.nested,
        "factor": 2.0 if series.nested else series.factor,
        "levels": rows,
    }
    (folder / "series.json").write_text(json.dumps(told, indent=2))
    return meshes


def _rungs(first: Made) -> tuple[Rung, ...]:
    """The ladder from the rung that made the first level; the others after it."""
    used = next(rung for rung in RUNGS if rung.name == first.quality["rung"])
    return (used, *(rung for rung in RUNGS if rung is not used))


def _nested(coarse: Made, options: MeshOptions) -> Made:
    """The next level of a nested series."""
    predicted = 8 * len(coarse.cells)
    if predicted > options.max_cells:
        raise InputError(
            field="mesh.max_cells",
            wanted=f"at most {options.max_cells} cells",
            got=f"{predicted} cells",
            remedy="fewer levels, or raise mesh.max_cells",
        )
    tags = coarse.facet_tags.astype(np.int32)
    fine = refine(MeshArrays(coarse.points, coarse.cells, coarse.facets, tags))
    cells = cell_quality(fine.points, fine.cells)
    kept = ("rung", "order", "smooth_volume_mm3")
    quality = {
        **{name: coarse.quality[name] for name in kept},
        **summary(cells),
        "nodes": len(fine.points),
        "volume_error": float(cells.volume.sum()) / coarse.quality["smooth_volume_mm3"] - 1.0,
        "refined_from_cells": len(coarse.cells),
    }
    return Made(
        fine.points,
        fine.cells,
        fine.facets,
        fine.facet_tags.astype(np.int64),
        cells.scaled_jacobian,
        quality,
        coarse.like,
    )


def _row(made: Made, level: int) -> dict[str, Any]:
    """What a convergence study needs to know of one level; ``edge_mm`` is that of a cube of the mean volume."""
    quality = made.quality
    cells = len(made.cells)
    return {
        "level": level,
        "rung": quality["rung"],
        "cells": cells,
        "edge_mm": (quality["volume_mm3"] / cells) ** (1 / 3),
        "volume_error": quality["volume_error"],
        "min_scaled_jacobian": quality["min_scaled_jacobian"],
    }
