"""The vessel mesh: the one contract between meshing and the flow solver.

On disk: ``mesh.h5`` (arrays, see `MeshArrays`) and beside it ``mesh.json`` (see `VesselMesh`).
Lengths are in metres. Node numbering of ``mesh.h5`` is the numbering of every nodal field the
solver writes, whatever the number of ranks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError

Role = Literal["inlet", "outlet", "wall", "slip"]
"""What a patch is; ``slip``: a wall without friction, or a plane of symmetry."""

WALL_TAG = 0


@dataclass(frozen=True, slots=True)
class Patch:
    """A named boundary patch.

    Attributes:
        name: Name of the vessel end, e.g. ``"LAD"``; ``"wall"`` for the wall.
        role: Inlet, outlet, wall or frictionless wall.
        tag: Facet marker in the mesh file.
        area: Area [m^2].
    """

    name: str
    role: Role
    tag: int
    area: float


@dataclass(frozen=True, slots=True)
class MeshArrays:
    """The arrays of a tetrahedral mesh with marked boundary facets.

    Cells and facets are ordered as in VTK (and meshio): vertices first, then mid-edge nodes
    (cell edges 01 12 20 03 13 23; facet edges 01 12 20).

    Attributes:
        points: Node coordinates [m], ``(n, 3)``.
        cells: Tetrahedra, ``(m, 4)`` straight or ``(m, 10)`` curved; positively oriented.
        facets: All boundary triangles, ``(k, 3)`` or ``(k, 6)``.
        facet_tags: Patch tag of each facet, ``(k,)``.
    """

    points: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]
    facets: npt.NDArray[np.int64]
    facet_tags: npt.NDArray[np.int32]

    @property
    def order(self) -> int:
        """Geometric order: 1 straight, 2 curved."""
        return {4: 1, 10: 2}[self.cells.shape[1]]


@dataclass(frozen=True, slots=True)
class VesselMesh:
    """A tetrahedral lumen mesh on disk and the meaning of its markers.

    Attributes:
        path: The ``mesh.h5`` file.
        patches: All boundary patches; tags and names are unique.
        quality: Numbers of the quality report (``meshing.quality``), JSON-able.
    """

    path: Path
    patches: tuple[Patch, ...]
    quality: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("tag", "name"):
            values = [getattr(patch, what) for patch in self.patches]
            if len(set(values)) != len(values):
                raise ValueError(f"patch {what}s must be unique, got {values}")

    @property
    def outlets(self) -> tuple[Patch, ...]:
        """The outlet patches, in file order."""
        return tuple(patch for patch in self.patches if patch.role == "outlet")

    @property
    def inlets(self) -> tuple[Patch, ...]:
        """The inlet patches, in file order."""
        return tuple(patch for patch in self.patches if patch.role == "inlet")

    def patch(self, name: str) -> Patch:
        """The patch called ``name``.

        Raises:
            KeyError: There is no such patch.
        """
        for patch in self.patches:
            if patch.name == name:
                return patch
        raise KeyError(f"no patch {name!r}; there are {[p.name for p in self.patches]}")

    def arrays(self) -> MeshArrays:
        """Read the arrays of ``mesh.h5``."""
        with h5py.File(self.path, "r") as f:
            return MeshArrays(
                f["points"][:].astype(np.float64),
                f["cells"][:].astype(np.int64),
                f["facets"][:].astype(np.int64),
                f["facet_tags"][:].astype(np.int32),
            )

    def save(self, path: Path) -> None:
        """Write the side-car JSON; the mesh file is named relative to it."""
        data = {
            "mesh": self.path.name,
            "patches": [asdict(patch) for patch in self.patches],
            "quality": dict(self.quality),
        }
        path.write_text(json.dumps(data, indent=2))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the side-car JSON.

        Raises:
            InputError: The file is missing or is not a vessel mesh.
        """
        try:
            data = json.loads(path.read_text())
            patches = tuple(Patch(**patch) for patch in data["patches"])
            if Path(data["mesh"]).name != data["mesh"]:
                raise ValueError(f"a mesh file elsewhere: {data['mesh']}")
            return cls(path.parent / data["mesh"], patches, data.get("quality", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                file=path,
                wanted="the mesh.json of a vessel mesh",
                got=f"{type(error).__name__}: {error}",
                remedy="run the mesh stage again: ffr3d run CASE --from mesh",
            ) from error


def write_arrays(path: Path, mesh: MeshArrays) -> None:
    """Write ``mesh.h5`` (gzip, shuffled; a few bytes a node)."""
    with h5py.File(path, "w") as f:
        for name in ("points", "cells", "facets", "facet_tags"):
            f.create_dataset(
                name, data=getattr(mesh, name), compression="gzip", compression_opts=1, shuffle=True
            )
