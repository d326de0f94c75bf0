"""A given surface file -> one clean lumen in mm, its caps marked, its flat ends open or closed as given."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshing.errors import InputError
from pipeline.case import SurfaceInput, SurfaceOptions
from pipeline.surface.caps import with_caps
from pipeline.surface.mend import Record, close_holes, manifold, one_body, uncross, weld
from pipeline.surface.mesh import Ints, TriangleMesh
from pipeline.surface.reading import TO_MM, read_surface
from pipeline.surface.topology import Edges, boundary_loops

# A coronary tree or a part of one: extent and mean diameter (4 V / A) that are believed. The left main is 3 to 6 mm
# wide, the smallest imaged branches 1 mm; giant aneurysms stay within.
EXTENT_MM = (5.0, 450.0)
DIAMETER_MM = (0.6, 25.0)


def lumen_of_file(
    source: SurfaceInput, options: SurfaceOptions
) -> tuple[TriangleMesh, dict[str, Any]]:
    """Read, check and mend a surface.

    Args:
        source: File, unit, cap patches.
        options: Whether to repair, what to do with several bodies.

    Returns:
        The surface [mm] and the report (repairs, bodies dropped, open ends, unit).

    Raises:
        InputError: What is wrong with it and where.
    """
    record = Record(source.path, options.repair)
    mesh = read_surface(source.path, source.unit)
    _check_extent(mesh, source)
    mesh = weld(mesh, record)
    mesh = with_caps(mesh, source.caps, source.unit)
    mesh = manifold(mesh, record)
    mesh = one_body(mesh, options.keep, record)
    mesh, ends = close_holes(mesh, record)
    mesh = one_body(uncross(mesh.compact(), record), options.keep, record).compact()
    _check_diameter(mesh, source)
    _check_caps(mesh, source)
    if not ends and mesh.volume <= 0.0:
        raise record.refusal(
            "a surface that encloses a volume", "none", "export it as a closed surface"
        )
    report = {
        "source": str(source.path),
        "given_unit": source.unit,
        "repairs": record.repairs,
        "bodies_dropped": record.dropped,
        "open_ends": [
            {"centre_mm": [float(x) for x in end.centre], "diameter_mm": end.diameter}
            for end in ends
        ],
        "handles": _handles(mesh, len(ends)),
    }
    if report["handles"]:
        report["notes"] = [
            f"the wall has {report['handles']} handle(s): vessels that touch or are joined twice"
        ]
    return mesh, report


def _handles(mesh: TriangleMesh, holes: int) -> int:
    """Genus of one body: chi = 2 - 2 g - holes."""
    chi = len(np.unique(mesh.triangles)) - len(Edges.of(mesh.triangles).ends) + len(mesh.triangles)
    return (2 - holes - chi) // 2


def _check_extent(mesh: TriangleMesh, source: SurfaceInput) -> None:
    extent = float(np.linalg.norm(np.ptp(mesh.points, axis=0)))
    if not EXTENT_MM[0] <= extent <= EXTENT_MM[1]:
        raise _implausible(source, mesh, "extent", extent, EXTENT_MM)


def _check_diameter(mesh: TriangleMesh, source: SurfaceInput) -> None:
    closed = mesh
    for loop in boundary_loops(mesh):
        closed = _fanned(closed, loop)
    diameter = 4.0 * closed.volume / float(mesh.areas.sum())
    if not DIAMETER_MM[0] <= diameter <= DIAMETER_MM[1]:
        raise _implausible(source, mesh, "mean diameter", diameter, DIAMETER_MM)


def _fanned(mesh: TriangleMesh, loop: Ints) -> TriangleMesh:
    hub = len(mesh.points)
    fan = np.column_stack([np.roll(loop, -1), loop, np.full(len(loop), hub)])
    return TriangleMesh.of(
        np.vstack([mesh.points, mesh.points[loop].mean(axis=0)]), np.vstack([mesh.triangles, fan])
    )


def _box(mesh: TriangleMesh) -> list[list[float]]:
    return [mesh.points.min(axis=0).tolist(), mesh.points.max(axis=0).tolist()]


def _implausible(
    source: SurfaceInput, mesh: TriangleMesh, what: str, value: float, span: tuple[float, float]
) -> InputError:
    raw = value / TO_MM[source.unit]
    typical = {"extent": 60.0, "mean diameter": 2.5}[what]
    likely = min(TO_MM, key=lambda unit: abs(np.log(raw * TO_MM[unit] / typical)))
    if likely == source.unit:
        remedy = "give the surface of a coronary tree; check its unit"
    else:
        remedy = f"the coordinates look like {likely}: set input.unit: {likely}"
    low, high = (f"({x:.6g}, {y:.6g}, {z:.6g})" for x, y, z in _box(mesh))
    return InputError(
        file=source.path,
        field="input.unit",
        wanted=f"a coronary lumen whose {what} is {span[0]:g} to {span[1]:g} mm",
        got=f"{value:.3g} mm with the unit {source.unit}, from {low} to {high}",
        remedy=remedy,
    )


def _check_caps(mesh: TriangleMesh, source: SurfaceInput) -> None:
    for number, name in enumerate(source.caps, start=1):
        if not (mesh.cap == number).any():
            raise InputError(
                file=source.caps[name],
                field=f"input.caps.{name}",
                wanted="a patch on the lumen that is kept",
                got="one on a part that was dropped",
                remedy="remove the patch or the other bodies",
            )
