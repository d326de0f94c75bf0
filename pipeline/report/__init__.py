"""One self-contained HTML page about a run, and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.case import Case
from pipeline.report import charts, scenes
from pipeline.report.border import straighten
from pipeline.report.colours import scales
from pipeline.report.data import Run, gather
from pipeline.report.html import render
from pipeline.report.reformat import reformats
from pipeline.report.scenes import Label
from pipeline.report.viewer import scene

__all__ = ["run"]


def run(run_folder: Path, case: Case) -> None:
    """Write ``report.html`` and ``figures/*.png``.

    Args:
        run_folder: A run whose stages up to ``ffr`` have ended; ``run.json`` may be missing.
        case: The case (title, threshold).

    Raises:
        InputError: A file of an earlier stage is missing or cannot be read.
    """
    import pyvista as pv

    data = gather(run_folder, case)
    wall = straighten(pv.PolyData(str(run_folder / "ffr" / "wall.vtp")), data.anatomy.ends)
    fields = scales(
        np.asarray(wall.point_data["wall_shear_stress_Pa"]),
        np.asarray(wall.point_data["pressure_mmHg"]),
    )
    labels = _labels(data)
    figures = {
        name: run_folder / "figures" / f"{name}.png"
        for name in ("map", "mesh", "pull_back", "beat", "convergence", "quality", "reformat")
    }
    (run_folder / "figures").mkdir(exist_ok=True)
    charts.pull_back(data, figures["pull_back"])
    if not charts.beat(data, figures["beat"]):
        del figures["beat"]
    if not charts.convergence(data, figures["convergence"]):
        del figures["convergence"]
    if not charts.mesh_quality(data, figures["quality"]):
        del figures["quality"]
    if not reformats(data, figures["reformat"]):
        del figures["reformat"]
    scenes.ffr_map(wall, fields[0], labels, figures["map"])
    place = _mesh_figure(data, figures["mesh"])
    view = scene(wall, fields, labels)
    view["fields"][0]["threshold"] = case.report.threshold
    (run_folder / "report.html").write_text(render(data, view, figures, place), encoding="utf-8")


def _labels(data: Run) -> list[Label]:
    """Lesions with their distal FFR, vessel ends with theirs."""
    found = [
        Label(f"{x['name']}  FFR {x['ffr_distal']:.2f}", tuple(x["centre_mm"]), "lesion")
        for x in data.ffr["lesions"]
    ]
    ffr = {x["name"]: x["ffr"] for x in data.ffr["vessels"]}
    found += [
        Label(f"{end.name}  {ffr[end.name]:.2f}", end.centre_mm, "end")
        for end in data.anatomy.outlets
    ]
    return [*found, Label(data.anatomy.inlet.name, data.anatomy.inlet.centre_mm, "end")]


def _mesh_figure(data: Run, path: Path) -> str:
    """Draw the mesh where it matters most: at the tightest throat, else in the middle of the longest vessel."""
    if data.ffr["lesions"]:
        lesion = max(data.ffr["lesions"], key=lambda x: x["diameter_stenosis"])
        curve = next(c for c in data.pull_backs if c.outlet == lesion["outlet"])
        at, place = lesion["throat_mm"], f"at the throat of {lesion['name']}"
        radius = 0.5 * lesion["reference_diameter_mm"]
    else:
        curve = max(data.pull_backs, key=lambda c: float(c.abscissa_mm[-1]))
        at, place = 0.5 * float(curve.abscissa_mm[-1]), f"half way to {curve.outlet}"
        radius = 0.5 * float(np.nanmedian(curve.diameter_mm))
    k = int(np.clip(np.argmin(np.abs(curve.abscissa_mm - at)), 1, len(curve.abscissa_mm) - 2))
    tangent = curve.points_mm[k + 1] - curve.points_mm[k - 1]
    scenes.mesh_close_up(
        data.folder / "ffr" / "volume.vtu",
        curve.points_mm[k],
        tangent / np.linalg.norm(tangent),
        radius,
        path,
    )
    return place
