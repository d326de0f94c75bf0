"""A velocity profile over the inlet, at its nodes in the numbering of ``mesh.h5``.

``profile.h5`` holds datasets ``nodes (k,)`` and ``velocity (k, 3)`` [m/s]: one row for every node on the inlet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import h5py
import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from meshing.vessel import MeshArrays, VesselMesh
from solver.io.files import write_atomically

Array = npt.NDArray[np.float64]
REMEDY = "write it for this mesh: solver.io.profile.Profile.of(mesh, velocity).save(path)"


@dataclass(frozen=True, slots=True)
class Profile:
    """Velocities at nodes of the inlet.

    Attributes:
        nodes: Their numbers in the mesh file, ``(k,)``.
        velocity: [m/s], ``(k, 3)``.
    """

    nodes: npt.NDArray[np.int64]
    velocity: Array

    @classmethod
    def of(cls, mesh: Path, velocity: Callable[[Array], Array]) -> Self:
        """Evaluate a function on a mesh's inlet.

        Args:
            mesh: ``mesh.json``.
            velocity: From points ``(k, 3)`` [m] to velocities ``(k, 3)`` [m/s], into the domain.

        Raises:
            InputError: The mesh cannot be read.
            ValueError: What the function returns has another shape.
        """
        vessel = VesselMesh.load(mesh)
        arrays = vessel.arrays()
        nodes = _on_inlet(vessel, arrays)
        values = np.asarray(velocity(arrays.points[nodes]), dtype=np.float64)
        if values.shape != (nodes.size, 3):
            raise ValueError(f"velocities of shape {values.shape}, wanted {(nodes.size, 3)}")
        return cls(nodes, values)

    def save(self, path: Path) -> None:
        """Write ``profile.h5`` (one process)."""
        write_atomically(path, {"nodes": self.nodes, "velocity": self.velocity}, {})

    def at_nodes(self, first: int, end: int) -> Array:
        """Velocities at the nodes of the mesh from ``first`` to ``end``, zero off the inlet, ``(end - first, 3)``."""
        values = np.zeros((end - first, 3))
        here = (self.nodes >= first) & (self.nodes < end)
        values[self.nodes[here] - first] = self.velocity[here]
        return values


def load(path: Path) -> Profile:
    """Read ``profile.h5`` (one process).

    Raises:
        InputError: It is missing or is no such file.
    """
    try:
        with h5py.File(path, "r") as f:
            return Profile(np.array(f["nodes"], np.int64), np.array(f["velocity"], np.float64))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            file=path,
            field="inlet",
            wanted="a velocity profile: datasets nodes (k,) and velocity (k, 3)",
            got=str(error),
            remedy=REMEDY,
        ) from error


def read(path: Path, facets: npt.NDArray[np.int64]) -> Profile:
    """Read ``profile.h5`` for a mesh (one process).

    Args:
        path: The file.
        facets: The inlet's, nodes of the mesh file, ``(k, 3 or 6)``.

    Raises:
        InputError: It is missing, is no such file, or belongs to another mesh.
    """
    profile, nodes = load(path), np.unique(facets)
    fault = _fault(profile, nodes)
    if fault:
        raise InputError(
            file=path,
            field="inlet",
            wanted=f"finite velocities at the {nodes.size} nodes of the mesh's inlet, not all zero",
            got=fault,
            remedy=REMEDY,
        )
    return profile


def _fault(profile: Profile, nodes: npt.NDArray[np.int64]) -> str:
    """What is wrong with a profile for an inlet of these nodes; empty when nothing is."""
    if profile.velocity.shape != (*profile.nodes.shape, 3) or profile.nodes.ndim != 1:
        return f"nodes {profile.nodes.shape}, velocity {profile.velocity.shape}"
    if not np.array_equal(np.sort(profile.nodes), nodes):
        missing = np.setdiff1d(nodes, profile.nodes).size
        return f"{profile.nodes.size} nodes, {missing} of the inlet's not among them"
    if not np.isfinite(profile.velocity).all():
        return "NaN or inf"
    return "" if profile.velocity.any() else "a velocity that is zero everywhere"


def inflow(profile: Profile, facets: npt.NDArray[np.int64], corners: Array) -> float:
    """What a profile carries, about: area times mean speed [m^3/s].

    Args:
        profile: At the inlet's nodes.
        facets: The inlet's, ``(k, 3 or 6)``.
        corners: Of these [m], ``(k, 3, 3)``.
    """
    order = np.argsort(profile.nodes)
    where = order[np.searchsorted(profile.nodes[order], facets)]
    speed = np.linalg.norm(profile.velocity, axis=1)
    a, b, c = corners.transpose(1, 0, 2)
    areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return float(areas @ speed[where].mean(axis=1))


def _on_inlet(vessel: VesselMesh, arrays: MeshArrays) -> npt.NDArray[np.int64]:
    tags = [patch.tag for patch in vessel.inlets]
    return np.unique(arrays.facets[np.isin(arrays.facet_tags, tags)])
