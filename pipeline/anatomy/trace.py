"""Raw centrelines: shortest paths on the Voronoi diagram, weighted by 1 / radius.

Along the Voronoi edges first (`pipeline.anatomy.voronoi`: several times faster than VMTK, equal after smoothing,
cannot break off); then VMTK, whose fronts run over the Voronoi faces.

Reference: Antiga, Ene-Iordache, Remuzzi, IEEE Trans Med Imaging 22:674 (2003), doi 10.1109/TMI.2003.812261.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkIdList

from meshing.errors import ComputationError
from pipeline.anatomy.surface import Floats, Surface
from pipeline.anatomy.voronoi import voronoi_paths
from pipeline.anatomy.vtkio import line_cells, points_of, poly_data, vtk_errors

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RawLine:
    """A centreline as VMTK gives it, from the source to a target.

    Attributes:
        points: ``(n, 3)`` [mm].
        radius: Maximum-inscribed-sphere radius ``(n,)`` [mm].
    """

    points: Floats
    radius: Floats


def trace(surface: Surface, source: int, targets: Sequence[int]) -> list[RawLine]:
    """Centrelines from one surface vertex to others, in the order of `targets`.

    The points are moved by a thousandth of an edge first, because cospherical ones (every swept tube) have no unique
    Delaunay tetrahedra.

    Raises:
        ComputationError: No attempt gave a line to every target; names the targets missed.
    """
    noise = surface.edge_length * np.random.default_rng(0).standard_normal(surface.points.shape)
    problems: list[str] = []
    for method, amount in ATTEMPTS:
        moved = replace(surface, points=surface.points + amount * noise)
        try:
            return _complete(surface, method(moved, source, targets), targets)
        except ComputationError as error:
            problems.append(f"{method.__name__.strip('_')}: {error}")
            _log.info("centrelines: %s; next attempt", problems[-1])
    raise ComputationError(
        f"centrelines failed on the surface of {len(surface.triangles)} triangles: "
        f"{'; '.join(problems)}. Look there for self-intersections or a gap in the vessel."
    )


def _complete(surface: Surface, lines: list[RawLine], targets: Sequence[int]) -> list[RawLine]:
    """Return the lines if each reaches its target.

    Raises:
        ComputationError: One does not.
    """
    missed = _missed(surface, lines, targets)
    if missed:
        raise ComputationError(f"no line to the ends near {missed} mm")
    return lines


def _missed(surface: Surface, lines: list[RawLine], targets: Sequence[int]) -> list[list[float]]:
    ends = [surface.points[target] for target in targets]
    reached = [
        len(line.points) > 2
        and float(np.linalg.norm(line.points[-1] - end)) < 4 * line.radius.max()
        for line, end in zip(lines, ends, strict=False)
    ]
    reached += [False] * (len(ends) - len(lines))
    return [np.round(end, 2).tolist() for end, ok in zip(ends, reached, strict=True) if not ok]


def _voronoi(surface: Surface, source: int, targets: Sequence[int]) -> list[RawLine]:
    return [RawLine(*path) for path in voronoi_paths(surface, source, targets)]


def _vmtk(surface: Surface, source: int, targets: Sequence[int]) -> list[RawLine]:
    one, many = vtkIdList(), vtkIdList()
    one.InsertNextId(source)
    for target in targets:
        many.InsertNextId(target)
    from vmtk import vtkvmtk  # half a second, which only who traces should wait

    lines = vtkvmtk.vtkvmtkPolyDataCenterlines()
    lines.SetInputData(poly_data(surface.points, surface.triangles))
    lines.SetSourceSeedIds(one)
    lines.SetTargetSeedIds(many)
    lines.SetRadiusArrayName("radius")
    lines.SetCostFunction("1/R")
    lines.SetFlipNormals(0)
    lines.SetAppendEndPointsToCenterlines(1)
    lines.SetSimplifyVoronoi(0)
    lines.SetCenterlineResampling(0)
    with vtk_errors("VMTK centrelines"):
        lines.Update()
    data = lines.GetOutput()
    if data.GetNumberOfCells() == 0:
        raise ComputationError("VMTK found no centreline")
    where, radius = points_of(data), np.array(vtk_to_numpy(data.GetPointData().GetArray("radius")))
    return [RawLine(where[ids], radius[ids]) for ids in line_cells(data)]


ATTEMPTS: tuple[tuple[Callable[[Surface, int, Sequence[int]], list[RawLine]], float], ...] = (
    (_voronoi, 1e-3),  # jitter in median edge lengths
    (_vmtk, 1e-3),
    (_voronoi, 1e-2),
    (_vmtk, 1e-2),
)
