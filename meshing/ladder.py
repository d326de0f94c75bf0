"""The rungs a mesh is tried on, in order, and what makes a mesh acceptable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from meshing.accept import RefusedError, accept, accept_shape, throat_share
from meshing.background import Background
from meshing.boundary_layer import join, layer_report, make_layers
from meshing.crossing import crossing_triangles
from meshing.curve import CurvedMesh, curve
from meshing.errors import InputError
from meshing.faults import Fault, at_point, nearest_radius, no_mesh, suspect
from meshing.lumen import LumenSurface
from meshing.options import MeshOptions
from meshing.place import FailedError, Place
from meshing.quality import (
    CellQuality,
    cell_quality,
    elements_across_throats,
    elements_by_radius,
    summary,
)
from meshing.section import throat_areas
from meshing.sizing import Finer, SizeField, Throat, nearest_vertices, size_field
from meshing.smooth_wall import SmoothWall
from meshing.surface_mesh import Remesher, SurfaceMesh, remesh
from meshing.tetra import TetraMesh, fill, predicted_cells
from meshing.topology import Floats, Ints

Progress = Callable[[str], None]
AS_ASKED = Finer()
FAILURES = (FailedError, ArithmeticError, LookupError, TypeError, ValueError)
_log = logging.getLogger(__name__)
_ROUNDS = 4  # a rung refines throats that lack elements at most three times


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to a mesh.

    Attributes:
        name: For the report.
        remesher: Of the surface.
        algorithm: Of Gmsh, ``"hxt"`` or ``"delaunay"``.
        netgen: Optimise with Netgen.
        factor: Of all target sizes.
    """

    name: str
    remesher: Remesher
    algorithm: str
    netgen: bool = False
    factor: float = 1.0


_FREE, _CLOSE = Remesher("mmgs"), Remesher("mmgs", tolerance=0.1)
RUNGS = (
    Rung("mmgs + hxt", _FREE, "hxt"),
    Rung("mmgs close + hxt", _CLOSE, "hxt"),
    Rung("mmgs close + delaunay + netgen", _CLOSE, "delaunay", netgen=True),
    Rung("mmgs close, finer + hxt", _CLOSE, "hxt", factor=0.8),
    Rung("vmtk + delaunay + netgen", Remesher("vmtk"), "delaunay", netgen=True),
    Rung("input surface + delaunay + netgen", Remesher("none"), "delaunay", netgen=True),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A mesh that passed [mm].

    Attributes:
        points: Nodes, ``(n, 3)``.
        cells: ``(m, 4)`` or ``(m, 10)``.
        facets: Boundary triangles, ``(k, 3)`` or ``(k, 6)``.
        facet_tags: Patch of each, ``(k,)``.
        scaled_jacobian: Of each cell, ``(m,)``.
        quality: JSON-able numbers.
        like: What another mesh of the surface takes to be self-similar.
    """

    points: Floats
    cells: Ints
    facets: Ints
    facet_tags: Ints
    scaled_jacobian: Floats
    quality: dict[str, Any]
    like: Like


_ABOUT = 0.75
"""Part of the elements across a throat that a coarser mesh of the same sizes must have at least."""


@dataclass(frozen=True, slots=True)
class Like:
    """Size field of a mesh that was made before, scaled.

    Attributes:
        finer: Its factors, throats included.
        scale: Of all its sizes.
        background: Sizes from a solution that it was made with, as they were.
    """

    finer: Finer
    scale: float = 1.0
    background: Background | None = None

    @classmethod
    def of(cls, quality: Mapping[str, Any], scale: float, background: Background | None) -> Like:
        """The size field of the mesh with a quality report, scaled."""
        told = quality["finer"]
        return cls(
            Finer(told["everywhere"], tuple(told["throats"]), told["jets"]), scale, background
        )


Sizes = Finer | Background | Like


def climb(
    surface: LumenSurface,
    options: MeshOptions,
    progress: Progress,
    rungs: tuple[Rung, ...] = RUNGS,
    limit_s: float | None = None,
    sizes: Sizes = AS_ASKED,
) -> Made:
    """Try the rungs in order and return the first acceptable mesh.

    Args:
        surface: The lumen, already checked.
        options: Sizes and criteria.
        progress: Told what is being done.
        rungs: The ladder.
        limit_s: Time limit of each foreign step [s]; by the predicted number of cells if not given.
        sizes: What is to be finer than the options say; or sizes from a solution; or the mesh that this one is to be
            self-similar to (``options`` are those of that mesh).

    Raises:
        InputError: The sizes ask for more than ``max_cells``.
        NoMeshError: No rung gave an acceptable mesh; it holds the places.
    """
    wall = SmoothWall(surface)
    history: list[dict[str, Any]] = []
    failed: list[tuple[Fault, str]] = []
    for rung in rungs:
        began = time.monotonic()
        progress(f"meshing: {rung.name}")
        try:
            made = _Attempt(surface, wall, options, rung, limit_s, sizes).run()
        except FAILURES as failure:
            error = _as_failed(failure)
            fault = _fault(rung, error, surface)
            progress(f"meshing: {rung.name} refused: {fault.reason}")
            history.append({"rung": rung.name, "outcome": "refused", "reason": fault.reason})
            failed.append((fault, error.remedy))
            continue
        seconds = time.monotonic() - began
        progress(f"meshing: {rung.name}: {made.quality['cells']} cells in {seconds:.1f} s")
        history.append({"rung": rung.name, "outcome": "used", "reason": ""})
        crossing = len(np.unique(crossing_triangles(surface.points, surface.triangles)))
        quality = {
            "rung": rung.name,
            "rungs": history,
            "input_crossing_triangles": crossing,
            **made.quality,
        }
        return replace(made, quality=quality)
    raise no_mesh(*zip(*failed, strict=True))


def _as_failed(error: Exception) -> FailedError:
    """What ended a rung; a fault of the program, too, ends its rung only, and is told as such.

    Raises:
        InputError: It was one.
    """
    if isinstance(error, InputError):
        raise error
    if isinstance(error, FailedError):
        return error
    _log.debug("a rung ended in a fault of the program", exc_info=error)
    return FailedError(
        f"{type(error).__name__}: {error}", None, "please report it, with the surface"
    )


def _fault(rung: Rung, error: FailedError, surface: LumenSurface) -> Fault:
    """The failure of a rung with its place; the most doubtful of the surface where the rung named none."""
    reason, place = str(error), error.place
    if place is None:
        what, place = suspect(surface)
        reason += f"; suspect: {what} of the surface at {place}"
    if not len(place.around):
        place = replace(place, around=surface.points[surface.triangles])
    return Fault(rung.name, reason, place, nearest_radius(surface, place.at))


def _refuse_large(
    predicted: int, options: MeshOptions, rung: Rung, surface: LumenSurface, field: SizeField
) -> None:
    if predicted <= options.max_cells:
        return
    if rung.factor < 1:
        finest = surface.points[int(np.argmin(field.size))]
        place = at_point(finest, surface.points, surface.triangles)
        raise RefusedError(
            f"about {predicted} cells, more than max_cells = {options.max_cells}; the finest at {place}",
            place,
            "raise mesh.max_cells",
        )
    wanted = options.elements_per_diameter * (options.max_cells / predicted) ** (1 / 3)
    raise InputError(
        field="mesh.max_cells",
        wanted=f"at most {options.max_cells} cells",
        got=f"about {predicted} cells at {options.elements_per_diameter:g} elements a diameter",
        remedy=f"lower mesh.elements_per_diameter (to about {0.95 * wanted:.1f}) or "
        "mesh.elements_across_throat, or raise mesh.max_cells",
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One rung on one surface."""

    surface: LumenSurface
    wall: SmoothWall
    options: MeshOptions
    rung: Rung
    limit_s: float | None
    sizes: Sizes

    @property
    def scale(self) -> float:
        """Of all sizes that the options ask for."""
        return self.sizes.scale if isinstance(self.sizes, Like) else 1.0

    @property
    def background(self) -> Background | None:
        """Sizes from a solution, before the scale."""
        if isinstance(self.sizes, Like):
            return self.sizes.background
        return self.sizes if isinstance(self.sizes, Background) else None

    @property
    def inside(self) -> Background | None:
        """Those sizes scaled."""
        sizes = self.background
        return None if sizes is None else replace(sizes, size=sizes.size * self.scale)

    @property
    def wanted(self) -> MeshOptions:
        """The options as the scale changes them.

        Throats need what they need in the first mesh, not more; in a coarser one about what the scale leaves of it.
        """
        count, across = (
            self.options.elements_per_diameter / self.scale,
            self.options.elements_across_throat,
        )
        if self.scale > 1.0:
            across *= _ABOUT / self.scale
        changed = {"elements_per_diameter": count, "elements_across_throat": across}
        return self.options.model_copy(update=changed)

    def run(self) -> Made:
        """Mesh, refining throats until they hold enough elements and their area; check; measure."""
        fixed = isinstance(self.sizes, Like) or self.rung.remesher.name == "none"
        finer = self._finer()
        for _ in range(_ROUNDS):
            field = size_field(
                self.surface, self.wall, self.options, finer, self.background
            ).scaled(self.scale)
            straight = self._straight(field)
            throats = elements_across_throats(
                straight.mesh.points, straight.mesh.tetrahedra, field.throats
            )
            mesh = self._curved(straight)
            self._add_areas(throats, field.throats, mesh, straight.surface.patch)
            shares = [throat_share(throat, self.wanted) for throat in throats]
            if fixed or min(shares, default=1.0) >= 1.0:
                break
            finer = _finer(finer, shares)
        cells = cell_quality(mesh.points, mesh.cells)
        accept(cells, mesh, throats, self.wanted)
        quality = {
            **self._quality(mesh, cells),
            **straight.notes,
            "throats": throats,
            "finer": {**asdict(finer), "throats": list(finer.throats)},
        }
        accept_shape(quality, self.wanted, lambda at: self._place(mesh, straight, at))
        return Made(
            mesh.points,
            mesh.cells,
            mesh.facets,
            straight.surface.patch,
            cells.scaled_jacobian,
            quality,
            Like(finer),
        )

    def _finer(self) -> Finer:
        """The factors to begin with."""
        if isinstance(self.sizes, Like):
            return self.sizes.finer
        if isinstance(self.sizes, Background):
            return Finer(self.rung.factor)
        sizes = self.sizes
        return replace(sizes, everywhere=self.rung.factor * sizes.everywhere)

    def _straight(self, field: SizeField) -> _Straight:
        layers = self.options.boundary_layers
        predicted = predicted_cells(self.surface.points, self.surface.triangles, field, layers)
        if self.inside is not None:
            predicted = max(predicted, int(self.inside.predicted_cells()))
        _refuse_large(predicted, self.wanted, self.rung, self.surface, field)
        limit_s = self.limit_s or 60 + 1e-3 * predicted
        surface = remesh(self.surface, self.wall, field, self.rung.remesher, limit_s)
        if not layers:
            mesh = fill(surface, self.rung.algorithm, self.rung.netgen, limit_s, self.inside)
            return _Straight(surface, mesh, None, {"predicted_cells": predicted})
        radius = field.radius[nearest_vertices(self.surface.points, surface.points)]
        offset = make_layers(surface, self.wall, radius, layers, self.options.boundary_layer_growth)
        core = fill(offset.core, self.rung.algorithm, self.rung.netgen, limit_s, self.inside)
        joined = join(surface, offset, core)
        notes = {"predicted_cells": predicted, "boundary_layers": layer_report(offset, surface)}
        return _Straight(joined.surface, joined.mesh, joined.copies, notes)

    def _place(self, mesh: CurvedMesh, straight: _Straight, at: Any) -> Place:  # noqa: ANN401
        """A point of the mesh; where its boundary is farthest from the smooth wall if none is given."""
        if at is None:
            facets = mesh.facets[straight.surface.patch == 0]
            weights = [-1 / 9] * 3 + [4 / 9] * 3 if facets.shape[1] == 6 else [1 / 3] * 3
            middle = np.einsum("i,kid->kd", np.array(weights), mesh.points[facets])
            off = np.linalg.norm(self.wall.project(middle) - middle, axis=1)
            at = middle[int(np.argmax(off))]
        return at_point(at, mesh.points, mesh.facets[:, :3])

    def _curved(self, straight: _Straight) -> CurvedMesh:
        surface, mesh = straight.surface, straight.mesh
        if self.options.order == 2:
            least = self.options.min_scaled_jacobian
            return curve(surface, mesh, self.wall, straight.copies, least)
        return CurvedMesh(mesh.points, mesh.tetrahedra, surface.triangles, 0, 0, 0)

    def _add_areas(
        self, rows: list[dict[str, Any]], throats: tuple[Throat, ...], mesh: CurvedMesh, patch: Ints
    ) -> None:
        on_wall = mesh.facets[patch == 0]
        areas = throat_areas(throats, self.surface.centerline, self.wall, mesh.points, on_wall)
        for row, (smooth, meshed) in zip(rows, areas, strict=True):
            error = None if meshed is None or smooth is None else meshed / smooth - 1.0
            row |= {"area_mm2": meshed, "area_error": error}

    def _quality(self, mesh: CurvedMesh, cells: CellQuality) -> dict[str, Any]:
        volume = self.wall.volume()
        return {
            **summary(cells),
            "nodes": len(mesh.points),
            "order": self.options.order,
            "smooth_volume_mm3": volume,
            "volume_error": float(cells.volume.sum()) / volume - 1.0,
            "curved_edges": mesh.curved,
            "relaxed_edges": mesh.relaxed,
            "straightened_edges": mesh.straightened,
            "across_by_radius": elements_by_radius(mesh.points, mesh.cells, self.surface),
        }


@dataclass(frozen=True, slots=True)
class _Straight:
    surface: SurfaceMesh
    mesh: TetraMesh
    copies: Ints | None
    notes: dict[str, Any]


def _finer(finer: Finer, shares: list[float]) -> Finer:
    """Sizes that should give every throat what it lacks, with a little to spare."""
    before = finer.throats or (1.0,) * len(shares)
    after = (b * (0.95 * s if s < 1 else 1.0) for b, s in zip(before, shares, strict=True))
    return replace(finer, throats=tuple(after))
