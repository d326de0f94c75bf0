"""Small vessel meshes for the solver's tests, made with Gmsh (never imported by the solver)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import gmsh
import numpy as np

from meshing.vessel import MeshArrays, Patch, VesselMesh, write_arrays

Where = Callable[[np.ndarray], str]


def _extract(order: int, name_of: Where, directory: Path) -> VesselMesh:
    """Turn the current Gmsh model into a vessel mesh; ``name_of`` maps a surface centre to its patch."""
    model = gmsh.model
    tags, coordinates, _ = model.mesh.getNodes()
    number = np.zeros(int(tags.max()) + 1, dtype=np.int64)
    number[tags] = np.arange(tags.size)
    points = coordinates.reshape(-1, 3)
    cells = number[model.mesh.getElementsByType(4 if order == 1 else 11)[1]]
    cells = cells.reshape(-1, 4 if order == 1 else 10)
    if order == 2:
        cells = cells[
            :, [0, 1, 2, 3, 4, 5, 6, 7, 9, 8]
        ]  # Gmsh and VTK differ in the last two edges
    names, facets, facet_names = ["wall"], [], []
    volumes = model.getEntities(3)
    for dimension, surface in model.getBoundary(volumes, combined=True, oriented=False):
        nodes = model.mesh.getElementsByType(2 if order == 1 else 9, surface)[1]
        if not nodes.size:
            continue
        name = name_of(np.array(model.occ.getCenterOfMass(dimension, surface)))
        facets.append(number[nodes].reshape(-1, 3 if order == 1 else 6))
        facet_names += [name] * len(facets[-1])
        if name not in names:
            names.append(name)
    names[1:] = sorted(names[1:])
    all_facets = np.concatenate(facets)
    facet_tags = np.array([names.index(name) for name in facet_names], dtype=np.int32)
    used, inverse = np.unique(
        np.concatenate([cells.ravel(), all_facets.ravel()]), return_inverse=True
    )
    cells, all_facets = (
        inverse[: cells.size].reshape(cells.shape),
        inverse[cells.size :].reshape(all_facets.shape),
    )
    points = points[used]
    p = points[cells[:, :4]]
    volume = np.einsum(
        "ij,ij->i", np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), p[:, 3] - p[:, 0]
    )
    if not (volume > 0).all():
        raise RuntimeError("inverted cells in the test mesh")
    corner = points[all_facets[:, :3]]
    areas = 0.5 * np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    patches = tuple(
        Patch(
            name,
            "wall" if name == "wall" else "inlet" if name.startswith("in") else "outlet",
            tag,
            float(areas[facet_tags == tag].sum()),
        )
        for tag, name in enumerate(names)
    )
    directory.mkdir(parents=True, exist_ok=True)
    write_arrays(directory / "mesh.h5", MeshArrays(points, cells, all_facets, facet_tags))
    mesh = VesselMesh(directory / "mesh.h5", patches)
    mesh.save(directory / "mesh.json")
    return mesh


def _start(size: float | None) -> None:
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Verbosity", 1)
    gmsh.option.setNumber("General.NumThreads", 1)
    gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)
    gmsh.option.setNumber("Mesh.MeshSizeFromPoints", 0)
    if size is not None:
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)


def _generate(order: int) -> None:
    gmsh.model.mesh.generate(3)
    if order == 2:
        gmsh.model.mesh.setOrder(2)


def tube(directory: Path, *, D: float, L: float, h: float, order: int = 2) -> VesselMesh:
    """A straight tube along x."""
    _start(h)
    try:
        gmsh.model.occ.addCylinder(0, 0, 0, L, 0, 0, D / 2)
        gmsh.model.occ.synchronize()
        _generate(order)

        def name(c: np.ndarray) -> str:
            return (
                "inlet" if abs(c[0]) < 1e-6 * L else "out" if abs(c[0] - L) < 1e-6 * L else "wall"
            )

        return _extract(order, name, directory)
    finally:
        gmsh.finalize()


def stenosis(
    directory: Path,
    *,
    D: float,
    reduction: float,
    h: float,
    upstream: float = 3.0,
    downstream: float = 8.0,
    length: float = 2.0,
    across: float = 5.0,
    order: int = 2,
) -> VesselMesh:
    """A tube with a cosine stenosis; lengths in diameters, throat at x = 0, sizes follow the lumen."""
    _start(None)
    try:
        a, b, half = -upstream * D - length * D / 2, downstream * D + length * D / 2, length * D / 2

        def radius(x: float) -> float:
            return (
                D
                / 2
                * (
                    1
                    - reduction * (0.5 * (1 + math.cos(math.pi * x / half)) if abs(x) < half else 0)
                )
            )

        occ = gmsh.model.occ
        points = [occ.addPoint(x, radius(x), 0) for x in np.linspace(-half, half, 41)]
        corners = [occ.addPoint(*c, 0) for c in ((a, 0), (a, D / 2), (b, D / 2), (b, 0))]
        curves = [
            occ.addLine(corners[0], corners[1]),
            occ.addLine(corners[1], points[0]),
            occ.addSpline(points),
            occ.addLine(points[-1], corners[2]),
            occ.addLine(corners[2], corners[3]),
            occ.addLine(corners[3], corners[0]),
        ]
        face = occ.addPlaneSurface([occ.addCurveLoop(curves)])
        occ.revolve([(2, face)], 0, 0, 0, 1, 0, 0, 2 * math.pi)
        gmsh.model.occ.synchronize()

        def size(dim: int, tag: int, x: float, y: float, z: float, lc: float) -> float:
            jet = h if not 0 < x < 5 * D else h * (0.6 + 0.4 * x / (5 * D))
            return min(h, max(2 * radius(x) / across, 1e-6), jet) if abs(x) < half else jet

        gmsh.model.mesh.setSizeCallback(size)
        _generate(order)

        def name(c: np.ndarray) -> str:
            return (
                "inlet"
                if abs(c[0] - a) < 1e-4 * D
                else "out"
                if abs(c[0] - b) < 1e-4 * D
                else "wall"
            )

        return _extract(order, name, directory)
    finally:
        gmsh.finalize()


def bifurcation(
    directory: Path, *, D: float, h: float, order: int = 2, arms: int = 2
) -> VesselMesh:
    """A trunk along x that splits into ``arms`` tubes fanned out in the xy plane."""
    _start(h)
    try:
        occ = gmsh.model.occ
        trunk = occ.addCylinder(-5 * D, 0, 0, 5 * D, 0, 0, D / 2)
        tubes, ends = [(3, occ.addSphere(0, 0, 0, 0.55 * D))], []
        span = math.radians(35 if arms == 2 else 70)
        length = 6 * D if arms == 2 else 9 * D
        for angle in np.linspace(-span, span, arms):
            d = length * np.array([math.cos(angle), math.sin(angle), 0.0])
            radius = 0.4 * D if arms == 2 else 0.25 * D
            tubes.append((3, occ.addCylinder(0, 0, 0, *d, radius)))
            ends.append(d)
        occ.fuse([(3, trunk)], tubes)
        occ.synchronize()
        _generate(order)

        def name(c: np.ndarray) -> str:
            if abs(c[0] + 5 * D) < 1e-4 * D:
                return "inlet"
            for i, end in enumerate(ends):
                if np.linalg.norm(c - end) < 1e-3 * D:
                    return f"out{i}"
            return "wall"

        return _extract(order, name, directory)
    finally:
        gmsh.finalize()


def tagged_box(path, order=1, named=("in", "out", "side"), inside=False):
    """A Gmsh file of a box 1 x 1 x 3 with named ends and sides; a tagged face across it where asked."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        occ = gmsh.model.occ
        volumes = [occ.addBox(0, 0, 0, 1, 1, 1.5), occ.addBox(0, 0, 1.5, 1, 1, 1.5)]
        occ.fragment([(3, volumes[0])], [(3, volumes[1])])
        occ.synchronize()
        groups: dict[str, list[int]] = {"in": [], "out": [], "side": [], "inside": []}
        for _, tag in gmsh.model.getEntities(2):
            x, y, z = occ.getCenterOfMass(2, tag)
            middle = abs(x - 0.5) < 1e-6 and abs(y - 0.5) < 1e-6
            where = {0.0: "in", 3.0: "out", 1.5: "inside"}[round(z, 3)] if middle else "side"
            groups[where].append(tag)
        for name in (*named, *(("inside",) if inside else ())):
            gmsh.model.addPhysicalGroup(2, groups[name], name=name)
        gmsh.model.addPhysicalGroup(3, [t for _, t in gmsh.model.getEntities(3)], name="lumen")
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.6)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


def tagged_half_tube(path, *, D, L, h, tilt):
    """A Gmsh file of half a tube along x, cut lengthwise by a plane through its axis at an angle to z [rad]."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        occ = gmsh.model.occ
        tube = occ.addCylinder(0, 0, 0, L, 0, 0, D / 2, angle=math.pi)
        occ.rotate([(3, tube)], 0, 0, 0, 1, 0, 0, tilt)
        occ.synchronize()
        groups: dict[str, list[int]] = {"in": [], "out": [], "side": [], "plane": []}
        for _, tag in gmsh.model.getEntities(2):
            x = occ.getCenterOfMass(2, tag)[0]
            flat = gmsh.model.getType(2, tag) == "Plane"
            where = {0.0: "in", L: "out"}.get(round(x, 6), "plane" if flat else "side")
            groups[where].append(tag)
        for name, tags in groups.items():
            gmsh.model.addPhysicalGroup(2, tags, name=name)
        gmsh.model.addPhysicalGroup(3, [tube], name="lumen")
        gmsh.option.setNumber("Mesh.MeshSizeMax", h)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


def tagged_cylinder(path, *, h, growth=0.25):
    """A Gmsh file of the DFG benchmark 3D-1Z: a channel with a cylinder across, ``h`` on it and 0.06 far away [m]."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        occ, H, length = gmsh.model.occ, 0.41, 2.5
        box = occ.addBox(0, 0, 0, length, H, H)
        rod = occ.addCylinder(0.5, 0.2, 0, 0, 0, H, 0.05)
        occ.cut([(3, box)], [(3, rod)])
        occ.synchronize()
        groups: dict[str, list[int]] = {"in": [], "out": [], "cylinder": [], "side": []}
        for _, tag in gmsh.model.getEntities(2):
            x = occ.getCenterOfMass(2, tag)[0]
            flat = gmsh.model.getType(2, tag) == "Plane"
            where = {0.0: "in", length: "out"}.get(round(x, 6), "side") if flat else "cylinder"
            groups[where].append(tag)
        for name, tags in groups.items():
            gmsh.model.addPhysicalGroup(2, tags, name=name)
        gmsh.model.addPhysicalGroup(3, [t for _, t in gmsh.model.getEntities(3)], name="fluid")

        def size(dim: int, tag: int, x: float, y: float, z: float, lc: float) -> float:
            away = max(math.hypot(x - 0.5, y - 0.2) - 0.05, 0.0)
            return float(min(h + growth * away, 0.06))

        gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)
        gmsh.model.mesh.setSizeCallback(size)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(2)
        gmsh.model.mesh.optimize("HighOrder")
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path
