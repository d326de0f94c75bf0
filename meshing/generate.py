"""From a lumen surface to a vessel mesh on disk: the one public call of the mesh generator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from meshing.check import check_surface
from meshing.export import write_vtu
from meshing.ladder import Made, Sizes, climb
from meshing.lumen import LumenSurface
from meshing.options import MeshOptions
from meshing.quality import facet_areas
from meshing.sizing import Finer
from meshing.vessel import WALL_TAG, MeshArrays, Patch, VesselMesh, write_arrays

_log = logging.getLogger(__name__)
_METRES = 1e-3  # a millimetre


def generate(
    surface: LumenSurface,
    options: MeshOptions,
    folder: Path,
    progress: Callable[[str], None] = _log.info,
    sizes: Sizes | None = None,
) -> VesselMesh:
    """Mesh a lumen and write ``mesh.h5``, ``mesh.json`` and ``mesh.vtu`` [m] into a folder.

    The same input gives the same mesh, bit by bit.

    Args:
        surface: The closed lumen with its caps [mm].
        options: Sizes, order and acceptance criteria.
        folder: Created if need be.
        progress: Told in one line each what is being done.
        sizes: What is to be finer than the options say, or sizes from a solution, or the mesh that this one is to be
            self-similar to.

    Raises:
        InputError: The surface is not a closed oriented lumen with flat caps, or the options ask
            for more cells than allowed.
        ComputationError: No rung of the ladder gave an acceptable mesh.
    """
    check_surface(surface)
    made = climb(surface, options, progress, sizes=sizes or Finer())
    progress("meshing: writing mesh.h5, mesh.json, mesh.vtu")
    return write_mesh(surface, made, folder)


def write_mesh(surface: LumenSurface, made: Made, folder: Path) -> VesselMesh:
    """Write a finished mesh as `generate` does.

    Args:
        surface: What was meshed.
        made: The mesh [mm].
        folder: Created if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = MeshArrays(
        made.points * _METRES, made.cells, made.facets, made.facet_tags.astype(np.int32)
    )
    write_arrays(folder / "mesh.h5", arrays)
    mesh = VesselMesh(folder / "mesh.h5", _patches(surface, made), made.quality)
    mesh.save(folder / "mesh.json")
    write_vtu(folder / "mesh.vtu", arrays, made.scaled_jacobian)
    return mesh


def _patches(surface: LumenSurface, made: Made) -> tuple[Patch, ...]:
    area = facet_areas(made.points * _METRES, made.facets)

    def total(tag: int) -> float:
        return float(area[made.facet_tags == tag].sum())

    caps = [Patch(cap.name, cap.role, cap.patch, total(cap.patch)) for cap in surface.caps]
    return (Patch("wall", "wall", WALL_TAG, total(WALL_TAG)), *caps)
