r"""A finer mesh where the solver found no steady jet: which throats, and what has been tried.

Behind a throat that the mesh does not resolve, the branch of steady jets from thicker fluids ends above the real
viscosity although the exact jet goes on (docs/decisions/0011-steady-jets.md). The run then
goes back to the mesh stage, with half the size in the throats of the strongest jets, and solves again. Where the finer
mesh or its solution fails, the run returns to the mesh before and takes what the solver can get there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from meshing.sizing import Finer
from pipeline.anatomy.types import Anatomy, Centerline
from solver.problem import BranchEnd, FlowProblem

FACTOR = 0.5
"""Of the size in the chosen throats."""
STRONG = 0.5
"""A jet counts when it has so much of the strongest one's strength."""
EVERYWHERE = 0.7
"""Factor of all sizes where the vessel has no throat."""
REACH = 10.0
"""The vessel behind a throat is looked at over so many diameters of the throat."""


class Attempt(BaseModel):
    """One mesh on which the branch of steady states ended.

    Attributes:
        end: Where it ended.
        throats: Factor of the size in each throat of the mesh that follows; empty if there is none.
        everywhere: Factor of all its sizes.
    """

    model_config = ConfigDict(extra="forbid")

    end: BranchEnd
    throats: tuple[float, ...] = ()
    everywhere: float = 1.0


class Refinement(BaseModel):
    """What was tried with one anatomy and one set of choices.

    Attributes:
        basis: Fingerprint of these.
        attempts: The meshes that were too coarse, in order.
        withdrawn: Why the mesh after the last attempt was given up, if it was.
    """

    model_config = ConfigDict(extra="forbid")

    basis: str = ""
    attempts: list[Attempt] = Field(default_factory=list)
    withdrawn: str | None = None

    @property
    def finer(self) -> Finer:
        """Factors of the mesh to make now."""
        used = self.attempts[: -1 if self.withdrawn else None]
        return Finer(used[-1].everywhere, used[-1].throats) if used else Finer()

    def goes_on(self, most: int) -> bool:
        """Whether the solver may leave the present mesh for a finer one, ``most`` times in all."""
        return self.withdrawn is None and len(self.attempts) < most

    def notes(self) -> list[str]:
        """For a reader of the result."""
        told = [
            f"on {attempt.end.cells} tetrahedra the branch of steady states ended at {attempt.end.factor:.3f} times "
            f"the viscosity; {_which(attempt)} of the mesh that followed {'has' if attempt.throats else 'have'} "
            "smaller cells (solver.refinements)"
            for attempt in self.attempts
        ]
        if self.withdrawn:
            told.append(f"that finer mesh was given up: {self.withdrawn}")
        return told


def _which(attempt: Attempt) -> str:
    if not attempt.throats:
        return "all parts"
    chosen = sum(share < 1.0 for share in attempt.throats)
    return "the throat" if chosen == 1 else f"the {chosen} throats of the strongest jets"


def next_attempt(folder: Path, before: Finer) -> Attempt:
    """Choose what the mesh of a run folder lacks.

    Args:
        folder: With ``anatomy/``, ``mesh/`` and, in ``solve/``, ``problem.json`` and ``branch_end.json``.
        before: Factors of the mesh that is there.
    """
    from pipeline.ffr.load import read_centerlines

    end = BranchEnd.load(folder / "solve" / "branch_end.json")
    throats = json.loads((folder / "mesh" / "mesh.json").read_text())["quality"]["throats"]
    if not throats:
        return Attempt(end=end, everywhere=EVERYWHERE * before.everywhere)
    anatomy = Anatomy.load(folder / "anatomy" / "anatomy.json")
    lines = read_centerlines(folder / "anatomy" / "centerlines.vtp", anatomy)
    problem = FlowProblem.load(folder / "solve" / "problem.json")
    strength = jet_strengths(throats, lines, end.outflow, problem)
    shares = np.array(before.throats or [1.0] * len(throats))
    shares[strength >= STRONG * strength.max()] *= FACTOR
    return Attempt(end=end, throats=tuple(float(x) for x in shares), everywhere=before.everywhere)


def jet_strengths(
    throats: Sequence[Mapping[str, Any]],
    lines: Sequence[Centerline],
    outflow: Mapping[str, float],
    problem: FlowProblem,
) -> npt.NDArray[np.float64]:
    r"""Reynolds number of each throat's jet times the part of the vessel behind that it does not fill.

    $\mathrm{Re}_t (1 - d^2/D^2)$ with $\mathrm{Re}_t = 4 \rho Q / (\pi \mu d)$: what a jet has to lose, over
    what viscosity takes from it.

    Args:
        throats: Rows of the mesh's report, with ``centre_mm`` and ``diameter_mm``.
        lines: Centrelines; a throat's flow is that of all outlets whose line passes through it.
        outflow: By outlet [m^3/s].
        problem: Density and viscosity.

    Returns:
        One number a throat, ``(n,)``, not negative.
    """
    strengths = []
    for throat in throats:
        d, centre = float(throat["diameter_mm"]), np.asarray(throat["centre_mm"])
        Q, widest = 0.0, d
        for line in lines:
            away = np.linalg.norm(line.points_mm - centre, axis=1)
            k = int(np.argmin(away))
            if away[k] > 0.5 * d:
                continue
            Q += abs(outflow[line.outlet])
            way = line.abscissa_mm - line.abscissa_mm[k]
            widest = max(widest, float(2 * line.radius_mm[(way >= 0) & (way <= REACH * d)].max()))
        reynolds = 4 * problem.density * Q / (math.pi * problem.rheology.viscosity * d * 1e-3)
        strengths.append(reynolds * (1 - (d / widest) ** 2))
    return np.array(strengths)
