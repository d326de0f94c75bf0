"""Run folders with analytic fields: what the FFR and report stages are given, without the stages before them."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.spatial import Delaunay

from meshing.quality import cell_quality, summary
from meshing.vessel import MeshArrays, Patch, VesselMesh, write_arrays
from pipeline.anatomy.types import Anatomy, End, Lesion
from pipeline.case import Case
from pipeline.physiology import MMHG, flow_problem
from solver.problem import FlowResult, PatchFlow

EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))
VISCOSITY = 0.0035


def disc(rings):
    """A triangulated unit disc."""
    points = [(0.0, 0.0)]
    for k in range(1, rings + 1):
        angle = 2 * np.pi * np.arange(6 * k) / (6 * k)
        points += list(zip(k / rings * np.cos(angle), k / rings * np.sin(angle), strict=True))
    flat = np.array(points)
    return flat, Delaunay(flat).simplices


def tube_mesh(radius, length, rings=4, layers=40, order=2, start=0.0):
    """Tetrahedra of a round tube along z, ``radius(z)``, lengths in metres; tags 1 at z = start, 2 at the other end."""
    flat, triangles = disc(rings)
    n = len(flat)
    z = np.linspace(start, start + length, layers + 1)
    points = np.column_stack([np.tile(flat, (layers + 1, 1)), np.repeat(z, n)])
    a, b, c = np.sort(triangles, axis=1).T
    prisms = [
        np.stack(t) for t in ((a, b, c, c + n), (a, b, b + n, c + n), (a, a + n, b + n, c + n))
    ]
    one = np.concatenate([p.T for p in prisms])
    cells = np.concatenate([one + k * n for k in range(layers)])
    edge = points[cells[:, 1:]] - points[cells[:, :1]]
    flip = np.linalg.det(edge) < 0
    cells[flip, :2] = cells[flip, 1::-1]
    facets, tags = boundary(points, cells, start, start + length)
    if order == 2:
        points, cells, facets = quadratic(points, cells, facets)
    rho = np.linalg.norm(points[:, :2], axis=1)
    on_rim = (rho > 1 - 0.6 / rings**2) if order == 2 else rho > 2
    points[on_rim, :2] /= rho[on_rim, None]
    points[:, :2] *= np.array([radius(v) for v in points[:, 2]])[:, None]
    return MeshArrays(points, cells, facets, tags)


def boundary(points, cells, low, high):
    faces = np.concatenate([cells[:, f] for f in ([0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3])])
    _, index, count = np.unique(
        np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True
    )
    faces = faces[index[count == 1]]
    z = points[faces, 2]
    tags = np.where(
        (abs(z - low) < 1e-12).all(1), 1, np.where((abs(z - high) < 1e-12).all(1), 2, 0)
    )
    return faces, tags.astype(np.int32)


def quadratic(points, cells, facets):
    """Add mid-edge nodes."""
    pairs = np.sort(cells[:, EDGES].reshape(-1, 2), axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    middle = inverse.reshape(len(cells), 6) + len(points)
    number = {tuple(pair): len(points) + k for k, pair in enumerate(unique)}
    sides = [
        [number[tuple(sorted((int(f[a]), int(f[b]))))] for a, b in ((0, 1), (1, 2), (2, 0))]
        for f in facets
    ]
    points = np.concatenate([points, points[unique].mean(axis=1)])
    return points, np.hstack([cells, middle]), np.hstack([facets, np.array(sides)])


@dataclass
class Tube:
    """A straight tube along z [mm]: vessel from 0 to `length`, extensions, maybe a lesion in the middle."""

    length: float = 40.0
    radius: float = 1.5
    extension: float = 6.0
    reduction: float = 0.0
    lesion: tuple[float, float] = (16.0, 24.0)
    order: int = 2
    rings: int = 4
    layers: int = 52
    flow_mL_per_s: float = 2.0
    inlet_pressure: float = 93 * MMHG
    gradient: float = 40e3  # Pa/m
    case: dict[str, Any] = field(default_factory=dict)

    def radius_at(self, z):
        start, stop = self.lesion
        if not start < z < stop:
            return self.radius
        bump = 0.5 * (1 - math.cos(2 * math.pi * (z - start) / (stop - start)))
        return self.radius * (1 - self.reduction * bump)

    def pressure(self, z_mm):
        return self.inlet_pressure - self.gradient * (z_mm + self.extension) * 1e-3

    def mesh(self):
        total = self.length + 2 * self.extension
        return tube_mesh(
            lambda z: self.radius_at(z * 1e3) * 1e-3,
            total * 1e-3,
            self.rings,
            self.layers,
            self.order,
            start=-self.extension * 1e-3,
        )

    def anatomy(self):
        area, d = math.pi * self.radius**2, 2 * self.radius
        ends = (
            End("inlet", "inlet", 1, (0.0, 0.0, 0.0), (0.0, 0.0, -1.0), area, d, self.extension),
            End(
                "LAD",
                "outlet",
                2,
                (0.0, 0.0, self.length),
                (0.0, 0.0, 1.0),
                area,
                d,
                self.extension,
            ),
        )
        lesions = (self.describe_lesion(),) if self.reduction else ()
        return Anatomy(ends, lesions, area * self.length, ("Synthetic tube.",))

    def describe_lesion(self):
        start, stop = self.lesion
        throat = 0.5 * (start + stop)
        d = 2 * self.radius * (1 - self.reduction)
        return Lesion(
            name="LAD-1",
            outlet="LAD",
            outlets=("LAD",),
            throat_mm=throat,
            start_mm=start,
            end_mm=stop,
            length_mm=stop - start,
            reference_diameter_mm=2 * self.radius,
            minimum_lumen_diameter_mm=d,
            minimum_lumen_area_mm2=math.pi * d**2 / 4,
            diameter_stenosis=self.reduction,
            area_stenosis=1 - (1 - self.reduction) ** 2,
            centre_mm=(0.0, 0.0, throat),
        )

    def flows(self):
        Q = self.flow_mL_per_s * 1e-6
        return {"inlet": -Q, "LAD": Q}

    def end_pressures(self):
        return {
            "inlet": self.inlet_pressure,
            "LAD": self.pressure(self.length + self.extension),
        }

    def field(self, mesh):
        return self.pressure(mesh.points[:, 2] * 1e3)

    def lines(self):
        return [self.line()]

    def line(self):
        z = np.linspace(-self.extension, self.length + self.extension, 209)
        radius = np.array([self.radius_at(v) for v in z])
        return {
            "outlet": 0,
            "points": np.column_stack([0 * z, 0 * z, z]),
            "abscissa_mm": z,
            "radius_mm": radius,
            "area_mm2": math.pi * radius**2,
            "tangent": np.tile([0.0, 0.0, 1.0], (len(z), 1)),
            "branch": np.zeros(len(z), dtype=np.int32),
            "extension": ((z < -1e-9) | (z > self.length + 1e-9)).astype(np.uint8),
        }

    def velocity(self, points):
        radius = np.array([self.radius_at(v * 1e3) for v in points[:, 2]]) * 1e-3
        rho = np.linalg.norm(points[:, :2], axis=1)
        mean = self.flow_mL_per_s * 1e-6 / (np.pi * radius**2)
        speed = 2 * mean * np.clip(1 - (rho / radius) ** 2, 0, None)
        return np.column_stack([0 * speed, 0 * speed, speed])

    def shear(self, mesh):
        wall = np.unique(mesh.facets[mesh.facet_tags == 0])
        radius = np.array([self.radius_at(v * 1e3) for v in mesh.points[wall, 2]]) * 1e-3
        shear = np.zeros_like(mesh.points)
        shear[wall, 2] = 4 * VISCOSITY * self.flow_mL_per_s * 1e-6 / (np.pi * radius**3)
        return shear


def write_lines(path, lines):
    """``centerlines.vtp`` as the anatomy stage writes it."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    data, points, cells = vtkPolyData(), vtkPoints(), vtkCellArray()
    points.SetData(numpy_to_vtk(np.concatenate([line["points"] for line in lines]), deep=True))
    start = 0
    for line in lines:
        cells.InsertNextCell(len(line["points"]))
        for k in range(len(line["points"])):
            cells.InsertCellPoint(start + k)
        start += len(line["points"])
    data.SetPoints(points)
    data.SetLines(cells)
    names = ("abscissa_mm", "radius_mm", "area_mm2", "tangent", "branch", "extension")
    for name in names:
        array = numpy_to_vtk(np.concatenate([line[name] for line in lines]), deep=True)
        array.SetName(name)
        data.GetPointData().AddArray(array)
    outlet = numpy_to_vtk(np.array([line["outlet"] for line in lines], dtype=np.int32), deep=True)
    outlet.SetName("outlet")
    data.GetCellData().AddArray(outlet)
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    assert writer.Write() == 1


def flow_result(ends, Q, p, cells):
    patches = {
        end.name: PatchFlow(Q=Q[end.name], p=p[end.name], area=end.area_mm2 * 1e-6) for end in ends
    }
    history = [
        {
            "step": k,
            "phase": "P1-P1" if k < 4 else "P2-P2",
            "residual": 10.0**-k,
            "cfl": 2.0**k,
            "linear_iterations": 20,
            "Q": {name: q * (1 - 2.0 ** -(k + 1)) for name, q in Q.items()},
        }
        for k in range(9)
    ]
    return FlowResult(
        status="converged",
        element="P2-P2",
        ranks=2,
        dofs=4 * cells,
        cells=cells,
        steps=9,
        linear_iterations=180,
        residual=1e-9,
        mass_balance=2e-12,
        inlet=ends[0].name,
        patches=patches,
        scales={"length": 3e-3, "velocity": 0.3, "pressure": 100.0},
        seconds={"assembly": 3.0, "solve": 4.5},
        peak_memory_GiB=0.8,
        history=history,
    )


def write_run(folder: Path, model) -> Case:
    """Write ``anatomy/``, ``mesh/`` and ``solve/`` of a `Tube` or `Fork`; return its case."""
    for name in ("anatomy", "mesh", "solve", "surface"):
        (folder / name).mkdir(parents=True)
    anatomy, mesh = model.anatomy(), model.mesh()
    anatomy.save(folder / "anatomy" / "anatomy.json")
    write_lines(folder / "anatomy" / "centerlines.vtp", model.lines())
    write_arrays(folder / "mesh" / "mesh.h5", mesh)
    patches = (
        Patch("wall", "wall", 0, 1e-4),
        *(Patch(end.name, end.role, end.patch, end.area_mm2 * 1e-6) for end in anatomy.ends),
    )
    quality = {
        "min_dihedral_deg": 12.0,
        "min_scaled_jacobian": 0.2,
        "elements_across_throat": 4.0,
        "volume_error": -0.01,
        "rungs": [{"rung": "mmgs + hxt", "outcome": "used", "reason": ""}],
        "histograms": summary(cell_quality(mesh.points, mesh.cells))["histograms"],
        "across_by_radius": [
            {
                "radius_from_mm": r,
                "radius_to_mm": 1.4 * r,
                "across_median": 6.0,
                "across_1_percent": 5,
            }
            for r in (0.7, 1.0, 1.4)
        ],
    }
    VesselMesh(folder / "mesh" / "mesh.h5", patches, quality).save(folder / "mesh" / "mesh.json")
    case = Case.model_validate(
        {
            "input": {"kind": "surface", "path": "x.stl"},
            "name": "model",
            "certificate": {"levels": 1},
            **model.case,
        }
    )
    problem, record = flow_problem(case, anatomy, Path("../mesh/mesh.json"))
    problem.save(folder / "solve" / "problem.json")
    (folder / "solve" / "physiology.json").write_text(json.dumps(record))
    (folder / "surface" / "surface.json").write_text("{}")
    flow_result(anatomy.ends, model.flows(), model.end_pressures(), len(mesh.cells)).save(
        folder / "solve" / "flow.json"
    )
    with h5py.File(folder / "solve" / "fields.h5", "w") as f:
        f["pressure"] = model.field(mesh)
        f["velocity"] = model.velocity(mesh.points)
        f["wall_shear_stress"] = model.shear(mesh)
    return case


@dataclass
class Fork:
    """A stem along z that forks into two branches [mm]; pressure linear in space, no flow extensions at the outlets.

    The stem's lesion is a claim of the anatomy only: the mesh has none.
    """

    stem: float = 20.0
    arm: float = 24.0
    radius: tuple[float, ...] = (1.5, 1.2, 1.0)
    angle: tuple[float, ...] = (0.6, -0.7)
    slope: tuple[float, ...] = (60.0, 0.0, -300.0)  # Pa/mm
    case: dict[str, Any] = field(default_factory=dict)

    def direction(self, k):
        return np.array([math.sin(self.angle[k]), 0.0, math.cos(self.angle[k])])

    def mesh(self):
        import gmsh

        gmsh.initialize(interruptible=False)
        try:
            gmsh.option.setNumber("General.Terminal", 0)
            gmsh.option.setNumber("Mesh.MeshSizeMax", 0.6)
            gmsh.option.setNumber("Mesh.ElementOrder", 2)
            occ = gmsh.model.occ
            parts = [(3, occ.addCylinder(0, 0, 0, 0, 0, self.stem, self.radius[0]))]
            parts.append((3, occ.addSphere(0, 0, self.stem, self.radius[0])))
            for k in range(2):
                arm = self.direction(k) * self.arm
                parts.append((3, occ.addCylinder(0, 0, self.stem, *arm, self.radius[k + 1])))
            occ.fuse(parts[:1], parts[1:])
            occ.synchronize()
            gmsh.model.mesh.generate(3)
            return self._read(gmsh)
        finally:
            gmsh.finalize()

    def _read(self, gmsh):
        tags, points, _ = gmsh.model.mesh.getNodes()
        where = np.zeros(int(tags.max()) + 1, dtype=np.int64)
        where[tags] = np.arange(len(tags))
        points = points.reshape(-1, 3)
        cells = where[gmsh.model.mesh.getElementsByType(11)[1].reshape(-1, 10)]
        cells = cells[:, [0, 1, 2, 3, 4, 5, 6, 7, 9, 8]]  # Gmsh ends with edges 23, 13
        facets = where[gmsh.model.mesh.getElementsByType(9)[1].reshape(-1, 6)]
        tags = np.zeros(len(facets), dtype=np.int32)
        for end in self.anatomy().ends:
            height = (points[facets] - np.array(end.centre_mm)) @ np.array(end.normal)
            tags[(np.abs(height) < 1e-6).all(axis=1)] = end.patch
        return MeshArrays(points * 1e-3, cells, facets, tags)

    def anatomy(self):
        area = [math.pi * r**2 for r in self.radius]
        ends = [End("inlet", "inlet", 1, (0, 0, 0), (0, 0, -1.0), area[0], 2 * self.radius[0], 0.0)]
        for k, name in enumerate(("LAD", "LCX")):
            tip = np.array([0, 0, self.stem]) + self.direction(k) * self.arm
            ends.append(
                End(name, "outlet", k + 2, tuple(tip), tuple(self.direction(k)), area[k + 1],
                    2 * self.radius[k + 1], 0.0)
            )  # fmt: skip
        lesion = Lesion("LAD-1", "LAD", ("LAD", "LCX"), 12.0, 10.0, 14.0, 4.0, 3.0, 2.0, math.pi, 1 / 3, 5 / 9,
                        (0.0, 0.0, 12.0))  # fmt: skip
        return Anatomy(tuple(ends), (lesion,), 300.0)

    def lines(self):
        return [self._line(k) for k in range(2)]

    def _line(self, k):
        s = np.arange(0.0, self.stem + self.arm + 1e-9, 0.25)
        on_arm = np.maximum(s - self.stem, 0.0)
        points = np.column_stack([0 * s, 0 * s, np.minimum(s, self.stem)])
        points += on_arm[:, None] * self.direction(k)
        radius = np.where(s <= self.stem, self.radius[0], self.radius[k + 1])
        area = math.pi * radius**2
        area[(s > self.stem - 3) & (s < self.stem + 5)] = np.nan
        stem = (s <= self.stem)[:, None]
        return {
            "outlet": k,
            "points": points,
            "abscissa_mm": s,
            "radius_mm": radius,
            "area_mm2": area,
            "tangent": np.where(stem, [0.0, 0.0, 1.0], self.direction(k)),
            "branch": np.where(s <= self.stem, 0, k + 1).astype(np.int32),
            "extension": np.zeros(len(s), dtype=np.uint8),
        }

    def flows(self):
        return {"inlet": -3e-6, "LAD": 2e-6, "LCX": 1e-6}

    def end_pressures(self):
        return dict.fromkeys(("inlet", "LAD", "LCX"), 11000.0)

    def pressure(self, points_mm):
        return 93 * MMHG + points_mm @ np.array(self.slope)

    def field(self, mesh):
        return self.pressure(mesh.points * 1e3)

    def velocity(self, points):
        return np.zeros_like(points)

    def shear(self, mesh):
        return np.zeros_like(mesh.points)


@pytest.fixture(scope="session")
def tube_run(tmp_path_factory):
    """A finished run up to ``solve`` of a tube with a 50 % lesion: ``(folder, case, tube)``; do not write to it."""
    folder = tmp_path_factory.mktemp("tube")
    tube = Tube(reduction=0.5)
    return folder, write_run(folder, tube), tube


@pytest.fixture
def make_run(tmp_path):
    """Write the run folder of a given tube; returns ``(folder, case)``."""

    def make(tube):
        folder = tmp_path / "run"
        return folder, write_run(folder, tube)

    return make


@pytest.fixture
def make_tube():
    """The `Tube` class."""
    return Tube


@pytest.fixture
def make_tube_mesh():
    """The `tube_mesh` function."""
    return tube_mesh


@pytest.fixture
def fork():
    """A `Fork`."""
    return Fork()
