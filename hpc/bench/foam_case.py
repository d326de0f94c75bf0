"""A flow case for OpenFOAM's ``simpleFoam`` from one of ours: the same straight tetrahedra, inlet and outflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee

from meshing.vessel import MeshArrays, Patch

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OUTWARD = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))
"""Faces of a positively oriented tetrahedron, normals outward."""
HEADER = "FoamFile {{ version 2.0; format ascii; class {kind}; object {name}; }}\n"
SCHEMES = """
ddtSchemes { default steadyState; }
gradSchemes { default Gauss pointLinear; }
divSchemes { default none; div(phi,U) bounded Gauss linearUpwind default; div((nuEff*dev2(T(grad(U))))) Gauss linear; }
laplacianSchemes { default Gauss linear corrected; }
interpolationSchemes { default linear; }
snGradSchemes { default corrected; }
"""
SOLUTION = """
solvers
{
    p { solver GAMG; smoother DIC; tolerance 1e-9; relTol 0.05; }
    U { solver smoothSolver; smoother symGaussSeidel; tolerance 1e-10; relTol 0.1; }
}
SIMPLE { consistent yes; nNonOrthogonalCorrectors 1; residualControl { p 1e-7; U 1e-7; } }
relaxationFactors { fields { p 1.0; } equations { U 0.9; } }
"""
"""On tetrahedra a gradient from plain linear interpolation is not consistent (the 40 % tube converged to a drop a fifth
too large); with least-squares gradients SIMPLEC diverged, and SIMPLE was several times as slow."""


@dataclass(frozen=True, slots=True)
class PolyMesh:
    """Faces with the cells on either side, as OpenFOAM wants them.

    Attributes:
        points: [m], ``(n, 3)``.
        faces: Inner ones by owner and neighbour, then patch by patch, ``(k, 3)``.
        owner: Cell of lower number, ``(k,)``.
        neighbour: The other, of inner faces.
        spans: First face and number of faces of each patch.
    """

    points: Array
    faces: Ints
    owner: Ints
    neighbour: Ints
    spans: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, mesh: MeshArrays, patches: Sequence[Patch]) -> PolyMesh:
        """From a straight mesh; cells are numbered anew for a narrow band."""
        faces = np.concatenate([mesh.cells[:, list(face)] for face in OUTWARD])
        cell = np.tile(np.arange(len(mesh.cells)), 4)
        first, second = _pairs(faces)
        band = coo_matrix(
            (np.ones(len(first)), (cell[first], cell[second])), shape=(len(mesh.cells),) * 2
        )
        order = reverse_cuthill_mckee((band + band.T).tocsr(), symmetric_mode=True)
        number = np.empty(len(order), dtype=np.int64)
        number[order] = np.arange(len(order))
        cell = number[cell]
        low = np.where(cell[first] < cell[second], first, second)
        high = np.where(cell[first] < cell[second], second, first)
        inner = np.lexsort((cell[high], cell[low]))
        parts, owners, spans = [faces[low[inner]]], [cell[low[inner]]], {}
        rim = np.setdiff1d(np.arange(len(faces)), np.concatenate([first, second]))
        tags = _tags(faces[rim], mesh)
        at = len(inner)
        for patch in patches:
            mine = rim[tags == patch.tag]
            mine = mine[np.argsort(cell[mine], kind="stable")]
            parts.append(faces[mine])
            owners.append(cell[mine])
            spans[patch.name] = (at, len(mine))
            at += len(mine)
        return cls(
            mesh.points, np.concatenate(parts), np.concatenate(owners), cell[high[inner]], spans
        )

    def normals(self, patch: str) -> Array:
        """Outward normals of a patch's faces, as long as their areas [m^2], ``(k, 3)``."""
        first, count = self.spans[patch]
        corners = self.points[self.faces[first : first + count]]
        return 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])

    def mean(self, patch: str, values: Array) -> float:
        """Mean over a patch of a cell field without gradient there."""
        first, count = self.spans[patch]
        area = np.linalg.norm(self.normals(patch), axis=1)
        return float(np.average(values[self.owner[first : first + count]], weights=area))

    def write(self, folder: Path) -> None:
        """Write ``polyMesh``."""
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "points", "vectorField", _vectors(self.points))
        rows = "\n".join(f"3({a} {b} {c})" for a, b, c in self.faces)
        _write(folder / "faces", "faceList", f"{len(self.faces)}\n(\n{rows}\n)\n")
        for name, numbers in (("owner", self.owner), ("neighbour", self.neighbour)):
            rows = "\n".join(map(str, numbers))
            _write(folder / name, "labelList", f"{len(numbers)}\n(\n{rows}\n)\n")
        rows = "\n".join(
            f"{name} {{ type {'wall' if name == 'wall' else 'patch'}; nFaces {count}; startFace {first}; }}"
            for name, (first, count) in self.spans.items()
        )
        _write(folder / "boundary", "polyBoundaryMesh", f"{len(self.spans)}\n(\n{rows}\n)\n")


def _pairs(faces: Ints) -> tuple[Ints, Ints]:
    """Numbers of the faces that are there twice."""
    key = np.sort(faces, axis=1)
    order = np.lexsort(key.T)
    same = (key[order[1:]] == key[order[:-1]]).all(axis=1)
    return order[:-1][same], order[1:][same]


def _tags(faces: Ints, mesh: MeshArrays) -> Ints:
    """Tag of each boundary face."""
    known = {
        tuple(sorted(row)): tag
        for row, tag in zip(mesh.facets[:, :3].tolist(), mesh.facet_tags, strict=True)
    }
    return np.array([known[tuple(sorted(row))] for row in faces.tolist()])


def _write(path: Path, kind: str, text: str) -> None:
    path.write_text(HEADER.format(kind=kind, name=path.name) + text)


def _vectors(values: Array) -> str:
    """A list of vectors, ``(n, 3)``."""
    rows = "\n".join(f"({a:.12g} {b:.12g} {c:.12g})" for a, b, c in values)
    return f"{len(values)}\n(\n{rows}\n)\n"


@dataclass(frozen=True, slots=True)
class FoamCase:
    """One case.

    Attributes:
        mesh: The mesh; its patches are ``wall``, the inlet and the outlets.
        inlet: Name of the inlet.
        velocity: At the inlet's faces, ``(m, 3)`` [m/s].
        outflow: Of each outlet [m^3/s]; the first one's follows, and its kinematic pressure is zero.
        viscosity: Kinematic [m^2/s].
    """

    mesh: PolyMesh
    inlet: str
    velocity: Array
    outflow: Mapping[str, float]
    viscosity: float

    def write(self, folder: Path, iterations: int, interval: int) -> None:
        """Write everything that ``simpleFoam`` reads."""
        self.mesh.write(folder / "constant" / "polyMesh")
        for name in ("0", "system"):
            (folder / name).mkdir(exist_ok=True)
        constant = folder / "constant"
        _write(
            constant / "transportProperties",
            "dictionary",
            f"transportModel Newtonian;\nnu {self.viscosity:.12g};\n",
        )
        _write(constant / "turbulenceProperties", "dictionary", "simulationType laminar;\n")
        _write(folder / "system" / "fvSchemes", "dictionary", SCHEMES)
        _write(folder / "system" / "fvSolution", "dictionary", SOLUTION)
        _write(
            folder / "system" / "controlDict",
            "dictionary",
            "application simpleFoam; startFrom startTime; startTime 0; stopAt endTime; deltaT 1;\n"
            f"endTime {iterations}; writeControl timeStep; writeInterval {interval}; writePrecision 9;\n",
        )
        self._fields(folder / "0")

    def _fields(self, folder: Path) -> None:
        free, *held = self.outflow
        U = {"wall": "type noSlip;", free: "type zeroGradient;"}
        entering = _vectors(self.velocity).rstrip()
        U[self.inlet] = f"type fixedValue; value nonuniform List<vector> {entering};"
        for name in held:
            U[name] = (
                f"type flowRateOutletVelocity; volumetricFlowRate constant {self.outflow[name]:.12g}; "
                "value uniform (0 0 0);"
            )
        p = dict.fromkeys(self.mesh.spans, "type zeroGradient;")
        p[free] = "type fixedValue; value uniform 0;"
        for name, kind, units, zero, patches in (
            ("U", "volVectorField", "[0 1 -1 0 0 0 0]", "(0 0 0)", U),
            ("p", "volScalarField", "[0 2 -2 0 0 0 0]", "0", p),
        ):
            entries = "\n".join(f"{patch} {{ {what} }}" for patch, what in patches.items())
            text = f"dimensions {units};\ninternalField uniform {zero};\nboundaryField\n{{\n{entries}\n}}\n"
            _write(folder / name, kind, text)


def read_scalars(path: Path) -> Array:
    """The cells' values of a scalar field."""
    text = path.read_text()
    begin = text.index("(", text.index("internalField"))
    return np.array(text[begin + 1 : text.index(")", begin)].split(), dtype=np.float64)
