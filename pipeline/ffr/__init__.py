"""From the flow solution to FFR: along centrelines, per vessel, per lesion, on volume and wall.

FFR is the mean pressure of a cross-section over Pa, the mean aortic pressure prescribed at the inlet (with a flow
inlet: the mean pressure over the anatomical inlet section).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.case import Case
from pipeline.ffr import lesions, summary, write
from pipeline.ffr.checks import checks
from pipeline.ffr.curves import Curve, flow_mismatch, trace
from pipeline.ffr.load import Solution, load
from pipeline.ffr.masks import extension_nodes
from pipeline.ffr.plaque import plaque
from pipeline.ffr.pulse import pulse
from pipeline.ffr.sections import Sectioner
from pipeline.ffr.summary import NOTICE
from pipeline.ffr.table import summary_rows
from pipeline.ffr.wall import Wall, wall

__all__ = ["NOTICE", "run", "summary_rows"]


def run(run_folder: Path, case: Case, *, fields: bool = True) -> None:
    """Compute and write ``ffr/``.

    Args:
        run_folder: A run with ``anatomy/``, ``mesh/`` and ``solve/``.
        case: Unused: all that matters was stored with the solution.
        fields: Write volume and wall as well, not the curves along centrelines alone.

    Raises:
        ComputationError: The fields do not fit the mesh, or are not finite.
    """
    del case
    solution = load(run_folder)
    sectioner = Sectioner(
        solution.points_mm, solution.mesh.cells, solution.pressure_mmHg, solution.velocity_m_per_s
    )
    curves = trace(solution.centerlines, sectioner)
    lumen_wall = wall(
        solution.mesh, solution.points_mm, solution.wall_shear_stress_Pa, solution.centerlines
    )
    numbers = _numbers(solution, curves, lumen_wall)
    numbers["plaque"] = plaque(run_folder, curves, numbers["lesions"])
    folder = run_folder / "ffr"
    folder.mkdir(exist_ok=True)
    pa = numbers["reference"]["Pa_mmHg"]
    if fields:
        _write_fields(folder, solution, lumen_wall, pa)
    write.write_centerlines(folder / "centerlines.vtp", curves, pa, NOTICE)
    (folder / "ffr.json").write_text(json.dumps(numbers, indent=2, allow_nan=False))


def _numbers(solution: Solution, curves: tuple[Curve, ...], lumen_wall: Wall) -> dict[str, Any]:
    reference = summary.reference(solution, curves)
    pa = reference["Pa_mmHg"]
    outflow = {
        end.name: solution.result.patches[end.name].Q * 1e6 for end in solution.anatomy.outlets
    }
    flow = lesions.Flow(pa, outflow, solution.problem.density, solution.problem.rheology.viscosity)
    ends = {end.name: end for end in solution.anatomy.outlets}
    vessels = [summary.vessel(c, ends[c.line.outlet], solution, pa) for c in curves]
    beat = pulse(solution, vessels)
    found = [
        lesions.describe(lesion, solution.anatomy.lesions, curves, lumen_wall, flow)
        for lesion in solution.anatomy.lesions
    ]
    evidence = summary.evidence(solution, flow_mismatch(curves, outflow))
    return {
        "notice": NOTICE,
        "reference": reference,
        "inlet": {
            "name": solution.anatomy.inlet.name,
            "kind": solution.problem.inlet.kind,
            "flow_mL_per_min": -solution.result.patches[solution.anatomy.inlet.name].Q * 60e6,
            "diameter_mm": solution.anatomy.inlet.diameter_mm,
        },
        "vessels": vessels,
        "lesions": found,
        "windows": lesions.WINDOWS,
        "pulse": beat,
        "checks": checks(reference, vessels, found, evidence),
        "evidence": evidence,
        "notes": summary.notes(solution, reference),
    }


def _write_fields(folder: Path, solution: Solution, lumen_wall: Wall, pa: float) -> None:
    mask = extension_nodes(solution.points_mm, solution.mesh, solution.vessel, solution.anatomy)
    fields = write.nodal_fields(solution, pa, mask)
    write.write_volume(folder / "volume.vtu", solution, fields, mask, NOTICE)
    write.write_wall(folder / "wall.vtp", solution.points_mm, lumen_wall.triangles, fields, NOTICE)
