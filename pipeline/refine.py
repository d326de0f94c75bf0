r"""Going back for a better mesh: from the solution on the one before (`pipeline.adapt`).

By default this happens where the solver found no steady jet. On a mesh that does not resolve the jet behind a throat,
the branch of steady states from thicker fluids ends above the real viscosity although the exact jet goes on
(docs/decisions/0011-steady-jets.md); the state at its end says where cells are missing. On demand
(``adapt.when: always``) a coarse solution is the first step to a mesh that spends its cells where FFR needs them. Where
the new mesh or its solution fails, the run returns to the mesh before and takes what the solver gets there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from meshing.background import Background
from meshing.vessel import VesselMesh
from pipeline.adapt import branch_flows, indicator, next_sizes
from pipeline.anatomy.types import Anatomy
from solver.problem import BranchEnd, FlowProblem, FlowResult

FOLDER = "adapt"


class Adapt(BaseModel):
    """When a mesh is made again from the solution on it, and how much larger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Literal["never", "stuck", "always"] = Field(
        default="stuck",
        description="stuck: where no steady state of the real fluid was found on the mesh",
    )
    rounds: int = Field(default=1, ge=1, le=5, description="meshes after the first, at most")
    growth: float = Field(
        default=2.5, ge=0.5, le=10, description="tetrahedra of a mesh over those of the one before"
    )


class Attempt(BaseModel):
    """A mesh that was left for a better one.

    Attributes:
        cells: Its tetrahedra.
        factor: On the viscosity, at which the branch of steady states ended on it; one where it did not.
        seconds: Wall time of the solver on it.
        error_Pa: Sum of the indicators (`pipeline.adapt.indicator`).
        wanted: Tetrahedra of the next one.
        sizes: File of its sizes, relative to the run folder.
    """

    model_config = ConfigDict(extra="forbid")

    cells: int
    factor: float
    seconds: float
    error_Pa: float
    wanted: int
    sizes: str


class Refinement(BaseModel):
    """What was tried with one anatomy and one set of choices.

    Attributes:
        basis: Fingerprint of these.
        attempts: The meshes that were left, in order.
        withdrawn: Why the mesh after the last attempt was given up, if it was.
    """

    model_config = ConfigDict(extra="forbid")

    basis: str = ""
    attempts: list[Attempt] = Field(default_factory=list)
    withdrawn: str | None = None

    @property
    def sizes(self) -> str | None:
        """File of the sizes of the mesh to make now; None: as the options say."""
        used = self.attempts[: -1 if self.withdrawn else None]
        return used[-1].sizes if used else None

    def goes_on(self, adapt: Adapt) -> bool:
        """Whether the present mesh may be left for a better one."""
        more = self.withdrawn is None and len(self.attempts) < adapt.rounds
        return more and adapt.when != "never"

    def notes(self) -> list[str]:
        """For a reader of the result."""
        told = [_told(attempt) for attempt in self.attempts]
        if self.withdrawn:
            told.append(f"that mesh was given up: {self.withdrawn}")
        return told


def _told(attempt: Attempt) -> str:
    why = (
        f"the branch of steady states ended at {attempt.factor:.3f} times the viscosity"
        if attempt.factor > 1.0
        else "a steady state was found"
    )
    return (
        f"on {attempt.cells} tetrahedra {why}; from the state there a mesh of about {attempt.wanted} followed, finer "
        "where the velocity's gradient was least resolved (adapt)"
    )


def next_attempt(folder: Path, adapt: Adapt, number: int) -> Attempt:
    """Choose and write the sizes of the mesh that follows the one of a run folder.

    Args:
        folder: With ``anatomy/``, ``mesh/``, and in ``solve/`` the fields and ``flow.json`` or ``branch_end.json``.
        adapt: How much larger it may be.
        number: Of the attempt, for its file.
    """
    from pipeline.ffr.load import read_centerlines

    solve = folder / "solve"
    mesh = VesselMesh.load(folder / "mesh" / "mesh.json").arrays()
    with h5py.File(solve / "fields.h5") as f:
        velocity = np.asarray(f["velocity"][:], dtype=np.float64)
    anatomy = Anatomy.load(folder / "anatomy" / "anatomy.json")
    lines = read_centerlines(folder / "anatomy" / "centerlines.vtp", anatomy)
    problem = FlowProblem.load(solve / "problem.json")
    end = _end(solve)
    centres = mesh.points[mesh.cells[:, :4]].mean(axis=1) * 1e3
    flow = branch_flows(centres, lines, end.outflow)
    error = indicator(mesh, velocity, problem.rheology.viscosity / np.maximum(flow, 1e-12))
    wanted = round(adapt.growth * len(mesh.cells))
    degree = 1 if problem.element == "P1-P1" or mesh.order == 1 else 2
    sizes = Path(FOLDER) / f"sizes_{number}.npz"
    (folder / FOLDER).mkdir(exist_ok=True)
    next_sizes(mesh, error, wanted, degree).save(folder / sizes)
    return Attempt(
        cells=len(mesh.cells),
        factor=end.factor,
        seconds=end.seconds,
        error_Pa=float(error.sum()),
        wanted=wanted,
        sizes=str(sizes),
    )


def _end(solve: Path) -> BranchEnd:
    """Where the solver ended, whether or not with a steady state."""
    if (solve / "branch_end.json").exists():
        return BranchEnd.load(solve / "branch_end.json")
    flow = FlowResult.load(solve / "flow.json")
    outflow = {name: patch.Q for name, patch in flow.patches.items() if name != flow.inlet}
    seconds = flow.seconds.get("total", 0.0)
    return BranchEnd(
        factor=1.0, outflow=outflow, cells=flow.cells, steps=flow.steps, seconds=seconds
    )


def sizes_of(folder: Path, refinement: Refinement) -> Background | None:
    """Sizes of the mesh to make now."""
    return None if refinement.sizes is None else Background.load(folder / refinement.sizes)
