"""What makes a finished mesh acceptable; a refusal tells the numbers and the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from meshing.curve import CurvedMesh
from meshing.faults import at_cell, at_point
from meshing.options import MeshOptions
from meshing.place import FailedError, Place
from meshing.quality import CellQuality

_VOLUME, _THROAT = 2e-3, 1e-2  # largest relative error of volume and of a minimum lumen diameter
_STRAIGHT = 5e-2  # the same, both, of straight cells: chords of a circle in fifteen parts lose 2.6 % of its area


class RefusedError(FailedError):
    """A finished mesh misses a criterion; the message holds the numbers and the place [mm]."""


def accept(
    cells: CellQuality, mesh: CurvedMesh, throats: list[dict[str, Any]], options: MeshOptions
) -> None:
    """Refuse a mesh that misses a criterion.

    Raises:
        RefusedError: With every missed number and the place of the worst.
    """
    missed: list[tuple[str, Place]] = []
    for name, values, least in (
        ("least det J over its mean", cells.distortion, np.finfo(float).tiny),
        ("dihedral angle", cells.dihedral, options.min_dihedral_deg),
        ("scaled Jacobian", cells.scaled_jacobian, options.min_scaled_jacobian),
    ):
        worst = int(np.argmin(values))
        if values[worst] < least:
            place = at_cell(mesh.points, mesh.cells[worst, :4], mesh.facets)
            missed.append((f"{name} {values[worst]:.3g} < {least:.3g} at {place}", place))
    for throat in throats:
        if throat["across"] < options.elements_across_throat:
            place = at_point(throat["centre_mm"], mesh.points, mesh.facets[:, :3])
            wanted = f"{throat['across']:.2f} < {options.elements_across_throat:g} elements across"
            missed.append((f"{wanted} the throat at {place}", place))
    if len(cells.volume) > options.max_cells:
        place = at_cell(mesh.points, mesh.cells[int(np.argmin(cells.volume)), :4], mesh.facets)
        text = (
            f"{len(cells.volume)} cells > max_cells = {options.max_cells}, the smallest at {place}"
        )
        missed.append((text, place))
    if missed:
        raise RefusedError("; ".join(text for text, _ in missed), missed[0][1])


def throat_share(throat: dict[str, Any], options: MeshOptions) -> float:
    """Factor of the sizes in a throat with which it should pass; 1 or more if it passes.

    Args:
        throat: Row of the report, with ``across`` and ``area_error`` (None where there is no section of its own).
        options: Elements across wanted; the bound on the area holds for curved meshes only.
    """
    share = float(throat["across"]) / options.elements_across_throat
    error = abs(throat["area_error"] or 0.0) / 2
    if options.order == 2 and error > _bounds(options)[1]:
        share = min(share, 0.6)
    return share


def _bounds(options: MeshOptions) -> tuple[float, float]:
    """Of the volume and of a minimum lumen diameter.

    They hold from five elements a diameter and six across a throat on; fewer cannot keep them (the error of a
    quadratic arc goes with the fourth power of its length, that of a chord with the second).
    """
    few = max(1.0, 5.0 / options.elements_per_diameter)
    if options.order == 2:
        return _VOLUME * few**4, _THROAT * few**4
    return _STRAIGHT * few**2, _STRAIGHT * max(1.0, 6.0 / options.elements_across_throat) ** 2


def accept_shape(
    quality: dict[str, Any], options: MeshOptions, where: Callable[[Any], Place] | None = None
) -> None:
    """Refuse a mesh that has lost volume or narrowed a throat.

    Args:
        quality: The report.
        options: Order and elements a diameter.
        where: The place of a throat's centre, or (given None) where the mesh is farthest from the wall.

    Bounds: volume 0.2 %, diameter of the minimum lumen 1 %; straight cells 5 % of both.

    Raises:
        RefusedError: With the numbers and the place.
    """
    of_volume, of_diameter = _bounds(options)
    missed: list[tuple[str, Any]] = []
    if abs(quality["volume_error"]) > of_volume:
        off = f"volume off by {quality['volume_error']:.2%}, more than {of_volume:.2%}"
        missed.append((off, None))
    for throat in quality["throats"]:
        if abs(throat["area_error"] or 0.0) / 2 > of_diameter:
            at = "(" + ", ".join(f"{value:.2f}" for value in throat["centre_mm"]) + ")"
            off = f"off by {throat['area_error'] / 2:.2%} of its diameter, more than {of_diameter:.2%}"
            missed.append((f"throat at {at} mm {off}", throat["centre_mm"]))
    if missed:
        place = where(missed[0][1]) if where else None
        raise RefusedError("; ".join(text for text, _ in missed), place)
