r"""Going back for a better mesh, from the solution on the one before.

By default this happens where the solver found no steady jet. On a mesh that does not resolve the jet behind a throat,
the branch of steady states from thicker fluids ends above the real viscosity although the exact jet goes on
(docs/decisions/0011-steady-jets.md): the size in the throats of the strongest jets, and with it behind them, is halved.
On demand (``adapt.when: always``) a coarse solution is the first step to a mesh that spends its cells where FFR needs
them (`pipeline.adapt`). Where the new mesh or its solution fails, the run returns to the mesh before and takes what the
solver gets there. Why two ways: docs/decisions/0026-adapted-meshes.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from meshing.background import Background
from meshing.sizing import Finer
from meshing.vessel import VesselMesh
from pipeline.adapt import branch_flows, indicator, next_sizes
from pipeline.anatomy.types import Anatomy, Centerline
from pipeline.attempts import Attempt, Refinement
from pipeline.carry import keep
from pipeline.case import Adapt, Case
from solver.problem import BranchEnd, FlowProblem, FlowResult

FOLDER = "adapt"
FACTOR = 0.5
"""Of the size in the throats of the strongest jets."""
JET_GROWTH = 0.03
"""Growth behind them beyond which it is halved once their size has been halved twice, and no steady jet was found."""
TWICE = FACTOR**2
WIDER = 4 / 3
"""Of the size in the throats then."""
STRONG = 0.5
"""A jet counts as one of them when it has so much of the strongest one's strength."""
EVERYWHERE = 0.7
"""Factor of all sizes where the vessel has no throat."""
REACH = 10.0
"""The vessel behind a throat is looked at over so many diameters of the throat."""


def next_attempt(folder: Path, case: Case, tried: Refinement) -> Attempt:
    """Choose the mesh that follows the one of a run folder; keep the fields, write its sizes if it is adapted.

    Args:
        folder: With ``anatomy/``, ``mesh/``, and in ``solve/`` the fields and ``flow.json`` or ``branch_end.json``.
        case: How much larger an adapted one may be; how fast cells grow behind a throat by the options.
        tried: The meshes before.
    """
    from pipeline.ffr.load import read_centerlines

    solve, last = folder / "solve", tried.last
    end, vessel = end_of(solve), VesselMesh.load(folder / "mesh" / "mesh.json")
    anatomy = Anatomy.load(folder / "anatomy" / "anatomy.json")
    lines = read_centerlines(folder / "anatomy" / "centerlines.vtp", anatomy)
    problem = FlowProblem.load(solve / "problem.json")
    (folder / FOLDER).mkdir(exist_ok=True)
    number = len(tried.attempts) + 1
    state = Path(FOLDER) / f"state_{number}.h5"
    keep(vessel.arrays(), solve, end, folder / state)
    made = Attempt(
        cells=end.cells,
        factor=end.factor,
        seconds=end.seconds,
        memory_GiB=end.peak_memory_GiB,
        state=str(state),
    )
    if end.factor > 1.0 and (last is None or last.sizes is None):
        strength = jet_strengths(vessel.quality["throats"], lines, end.outflow, problem)
        return made.model_copy(update=_finer(strength, last, case.mesh.jet_growth))
    sizes = Path(FOLDER) / f"sizes_{number}.npz"
    _adapted(vessel, solve, lines, problem, end, case.adapt).save(folder / sizes)
    return made.model_copy(update={"sizes": str(sizes)})


def _finer(
    strength: npt.NDArray[np.float64], last: Attempt | None, jet_growth: float
) -> dict[str, Any]:
    """Factors of the sizes: half in the throats of the strongest jets, twice; then slower growth behind them."""
    before = Attempt(cells=0, factor=1.0, seconds=0.0) if last is None else last
    if not strength.size:
        return {"everywhere": EVERYWHERE * before.everywhere}
    shares = np.array(before.throats or [1.0] * strength.size)
    strong = strength >= STRONG * strength.max()
    slower = jet_growth * before.jets > JET_GROWTH and bool(shares[strong].min() <= TWICE)
    shares[strong] *= np.where(slower & (shares[strong] <= TWICE), WIDER, FACTOR)
    return {
        "throats": tuple(float(x) for x in shares),
        "everywhere": before.everywhere,
        "jets": before.jets * (0.5 if slower else 1.0),
    }


def _adapted(
    vessel: VesselMesh,
    solve: Path,
    lines: Sequence[Centerline],
    problem: FlowProblem,
    end: BranchEnd,
    adapt: Adapt,
) -> Background:
    """Sizes from the fields on a mesh."""
    mesh = vessel.arrays()
    with h5py.File(solve / "fields.h5") as f:
        velocity = np.asarray(f["velocity"][:], dtype=np.float64)
    centres = mesh.points[mesh.cells[:, :4]].mean(axis=1) * 1e3
    flow = branch_flows(centres, lines, end.outflow)
    error = indicator(mesh, velocity, problem.rheology.viscosity / np.maximum(flow, 1e-12))
    degree = 1 if problem.element == "P1-P1" or mesh.order == 1 else 2
    return next_sizes(mesh, error, adapt.growth * len(mesh.cells), degree)


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


def end_of(solve: Path) -> BranchEnd:
    """Where the solver ended, whether or not with a steady state."""
    if (solve / "branch_end.json").exists():
        return BranchEnd.load(solve / "branch_end.json")
    flow = FlowResult.load(solve / "flow.json")
    outflow = {name: patch.Q for name, patch in flow.patches.items() if name != flow.inlet}
    seconds = flow.seconds.get("total", 0.0)
    return BranchEnd(
        factor=1.0,
        outflow=outflow,
        cells=flow.cells,
        steps=flow.steps,
        seconds=seconds,
        peak_memory_GiB=flow.peak_memory_GiB,
    )


def sizes_of(folder: Path, refinement: Refinement) -> Finer | Background | None:
    """Sizes of the mesh to make now."""
    last = refinement.last
    if last is None:
        return None
    if last.sizes is not None:
        return Background.load(folder / last.sizes)
    return Finer(last.everywhere, last.throats, last.jets)
