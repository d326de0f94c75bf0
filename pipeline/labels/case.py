"""One case of a data set: from a run folder with its certificate to one HDF5 file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import yaml

from meshing.errors import InputError
from meshing.vessel import WALL_TAG
from pipeline import manifest
from pipeline.anatomy.types import Anatomy
from pipeline.certificate.discretisation import ORDER, factor
from pipeline.ffr.load import Solution
from pipeline.ffr.masks import extension_nodes
from pipeline.labels import schema

Arrays = dict[str, npt.NDArray[Any]]
COMPRESSION: dict[str, Any] = {"compression": "lzf", "shuffle": True}
"""Of all arrays (docs/decisions/0081: three fifths of the plain size, read 1.7 times as fast as gzip's)."""


def write_case(run: Path, path: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Write a run's label file; return its row of the index.

    Args:
        run: A run folder up to its certificate.
        path: The file.
        provenance: Group (patient or tree), licence, pair and name of the case.

    Raises:
        InputError: The run has no certificate, or one that says FAIL.
    """
    from pipeline.ffr.load import load

    told = _read(run)
    if told["certificate"]["status"] == "FAIL":
        raise InputError(
            file=run,
            wanted="a certificate of PASS or WARN",
            got="FAIL: " + "; ".join(told["certificate"]["reasons"]),
            remedy="a label that failed is not exported; compute it on a finer mesh",
        )
    solution = load(run)
    arrays = arrays_of(run, solution, told)
    attributes = {
        "labels": _labels(told, solution),
        "conditions": solution.problem.model_dump(mode="json", exclude={"mesh", "guess", "steady"}),
        "provenance": {**provenance, **_hashes(run), "versions": manifest.versions()},
    }
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with h5py.File(part, "w", libver="latest") as file:
        file.attrs["schema"] = schema.VERSION
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, sort_keys=True)
        for name, values in sorted(arrays.items()):
            wanted = schema.of(name)
            assert wanted is not None, name
            file.create_dataset(name, data=values.astype(wanted.dtype), **COMPRESSION)
    part.replace(path)
    stages = manifest.Manifest.open(run).stages.values()
    return {
        **_row(attributes, arrays),
        "core_seconds": round(sum(stage.cpu_seconds for stage in stages), 2),
        "file_sha256": manifest.sha256(path),
        "bytes": path.stat().st_size,
    }


def _read(run: Path) -> dict[str, Any]:
    try:
        told = {
            "ffr": json.loads((run / "ffr" / "ffr.json").read_text()),
            "certificate": json.loads((run / "certify" / "certificate.json").read_text()),
        }
        told["certificate"]["discretisation"]["levels"][-1]["folder"]
        return told
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            file=run,
            wanted="a run folder up to its certificate, as this ffr3d writes it",
            got=f"{type(error).__name__}: {error}",
            remedy="compute it: ffr3d run CASE --from certify",
        ) from error


def _hashes(run: Path) -> dict[str, str]:
    """Of what a label depends on."""
    files = {
        "geometry_sha256": run / "anatomy" / "vessel.vtp",
        "mesh_sha256": run / "mesh" / "mesh.h5",
        "case_sha256": run / "case.yaml",
        "fields_sha256": run / "solve" / "fields.h5",
    }
    told = {name: manifest.sha256(file) for name, file in files.items()}
    return {**told, "case_yaml": _public(run / "case.yaml")}


def _public(path: Path) -> str:
    """A case without folders and names of its files: they may tell who made it, or whose it is."""
    told = yaml.safe_load(path.read_text())
    source = told["input"]
    for key in ("path", "model"):
        if source.get(key):
            source[key] = _nameless(source[key])
    if source.get("caps"):
        source["caps"] = {name: _nameless(file) for name, file in source["caps"].items()}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _nameless(file: str) -> str:
    path = Path(file)
    return manifest.pseudonym(path.name) + "".join(
        path.suffixes[-2:] if path.name.lower().endswith(".gz") else path.suffixes[-1:]
    )


def _labels(told: Mapping[str, Any], solution: Solution) -> dict[str, Any]:
    numbers, certificate = told["ffr"], told["certificate"]
    errors = certificate["discretisation"]["ffr"]

    def with_error(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
        one = errors.get(f"{kind} {row['name']}")
        return {**row, "ffr_error": None if one is None else one["error"]}

    return {
        "reference": numbers["reference"],
        "inlet": numbers["inlet"],
        "vessels": [with_error("vessel", v) for v in numbers["vessels"]],
        "lesions": [with_error("lesion", x) for x in numbers["lesions"]],
        "plaque": numbers["plaque"],
        "ends": _ends(solution.anatomy),
        "certificate": {k: certificate[k] for k in ("status", "reasons", "rows", "discretisation")},
        "patches": {patch.name: patch.tag for patch in solution.vessel.patches},
        "status": solution.result.status,
    }


def _ends(anatomy: Anatomy) -> dict[str, Any]:
    """What population formulas for flow take of a vessel, and how far behind its ends the conditions hold."""
    return {
        "inlet_diameter_mm": anatomy.inlet.diameter_mm,
        "inlet_extension_mm": anatomy.inlet.extension_mm,
        "outlet_diameters_mm": {end.name: end.diameter_mm for end in anatomy.outlets},
        "outlet_extensions_mm": {end.name: end.extension_mm for end in anatomy.outlets},
        "lumen_volume_mm3": anatomy.lumen_volume_mm3,
    }


def arrays_of(run: Path, solution: Solution, told: Mapping[str, Any]) -> Arrays:
    """Every array of a run by its path in the file.

    Args:
        run: The run folder.
        solution: What was computed in it.
        told: Its ``ffr`` and ``certificate``.
    """
    mask = extension_nodes(solution.points_mm, solution.mesh, solution.vessel, solution.anatomy)
    arrays: Arrays = {
        "volume/points": solution.points_mm,
        "volume/cells": solution.mesh.cells,
        "volume/pressure": solution.pressure_mmHg,
        "volume/velocity": solution.velocity_m_per_s,
        "volume/extension": mask,
    }
    corners = solution.mesh.facets[:, :3]
    used, local = np.unique(corners, return_inverse=True)
    triangles = local.reshape(corners.shape)
    points = solution.points_mm[used]
    arrays |= {
        "surface/points": points,
        "surface/triangles": triangles,
        "surface/patch": solution.mesh.facet_tags - WALL_TAG,
        "surface/normals": outward_normals(points, triangles),
        "surface/pressure": solution.pressure_mmHg[used],
        "surface/shear": solution.wall_shear_stress_Pa[used],
        "surface/extension": mask[used],
    }
    return arrays | _lines(run, told)


def outward_normals(
    points: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Unit normals at the nodes of a closed surface, area-weighted, out of it whatever its orientation, ``(w, 3)``."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    vectors = np.cross(b - a, c - a)
    volume = float(np.einsum("kd,kd->", a, vectors))
    out = np.zeros_like(points)
    for k in range(3):
        np.add.at(out, triangles[:, k], vectors if volume > 0 else -vectors)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1), 1e-300)[:, None])


def _lines(run: Path, told: Mapping[str, Any]) -> Arrays:
    """Centreline arrays by path."""
    import pyvista as pv

    data = pv.PolyData(str(run / "ffr" / "centerlines.vtp"))
    gap, found = _gaps(run, data, told), Arrays()
    names = {"points": None, "abscissa": "abscissa_mm", "radius": "radius_mm", "area": "area_mm2",
             "pressure": "pressure_mmHg", "ffr": "ffr", "flow": "flow_mL_per_s", "branch": "branch"}  # fmt: skip
    for k, outlet in enumerate(str(name) for name in data.field_data["outlet_names"]):
        ids = np.asarray(data.get_cell(k).point_ids)
        ids = ids[np.asarray(data.point_data["extension"])[ids] == 0]
        for name, column in names.items():
            source = data.points if column is None else data.point_data[column]
            found[f"centerlines/{outlet}/{name}"] = np.asarray(source)[ids]
        so_far = np.cumsum(gap[ids]) / np.arange(1, len(ids) + 1)
        found[f"centerlines/{outlet}/ffr_error"] = np.maximum(gap[ids], so_far)
        s = found[f"centerlines/{outlet}/abscissa"]
        found[f"centerlines/{outlet}/lesion"] = _lesions(s, outlet, told["ffr"]["lesions"])
    return found


def _gaps(run: Path, data: Any, told: Mapping[str, Any]) -> npt.NDArray[np.float64]:  # noqa: ANN401
    """Bound of the discretisation error at every point from the next coarser mesh; NaN where there is none."""
    import pyvista as pv

    levels = told["certificate"]["discretisation"]["levels"]
    if len(levels) < 2 or levels[1]["error"] is not None:
        return np.full(data.n_points, np.nan)
    path = run / "certify" / levels[1]["folder"] / "ffr" / "centerlines.vtp"
    other, element = pv.PolyData(str(path)), told["ffr"]["evidence"]["solver"]["element"]
    scale = factor([level["cells"] for level in levels[:2]], ORDER[element])
    gap = np.abs(np.asarray(data.point_data["ffr"]) - np.asarray(other.point_data["ffr"]))
    return np.asarray(scale * gap)


def _lesions(
    s: npt.NDArray[np.float64], outlet: str, lesions: list[Mapping[str, Any]]
) -> npt.NDArray[np.int64]:
    out = np.full(len(s), -1)
    for k, lesion in enumerate(lesions):
        if outlet in lesion["outlets"]:
            out[(s >= lesion["start_mm"]) & (s <= lesion["end_mm"])] = k
    return out


def _row(attributes: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    labels, provenance = attributes["labels"], attributes["provenance"]
    errors = [v["ffr_error"] for v in labels["vessels"] if v["ffr_error"] is not None]
    lesions = labels["lesions"]
    return {
        "schema": schema.VERSION,
        "case": provenance["case"],
        "group": provenance["group"],
        "pair": provenance.get("pair"),
        "verdict": labels["certificate"]["status"],
        "reasons": "; ".join(labels["certificate"]["reasons"]),
        "status": labels["status"],
        "ffr_min": min(v["ffr"] for v in labels["vessels"]),
        "ffr_error_max": max(errors) if errors else float("nan"),
        "lesions": len(lesions),
        "stenosis_max": max((x["diameter_stenosis"] for x in lesions), default=0.0),
        "aortic_pressure_mmHg": labels["reference"]["Pa_mmHg"],
        "inflow_mL_per_min": labels["inlet"]["flow_mL_per_min"],
        "vessel_ends": len(labels["vessels"]),
        "cells": len(arrays["volume/cells"]),
        "licence": provenance["licence"],
        "case_sha256": provenance["case_sha256"],
        "geometry_sha256": provenance["geometry_sha256"],
        "input": yaml.safe_load(provenance["case_yaml"])["input"]["kind"],
    }
