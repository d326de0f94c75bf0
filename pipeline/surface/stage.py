"""The surface stage: from the input of a case to ``surface/lumen.vtp`` and ``surface/surface.json``."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.case import CtInput, Input, LabelInput, PhantomInput, SurfaceInput, SurfaceOptions
from pipeline.surface.mesh import TriangleMesh, write_vtp

log = logging.getLogger("ffr3d")


@dataclass(frozen=True, slots=True)
class Lumen:
    """The surface and what a reader must know of it.

    Attributes:
        mesh: The surface [mm].
        caps: Name and role (or None) of each cap, in the order of `TriangleMesh.cap`.
        end_hints: Known vessel ends of a capless surface: name, point_mm, role.
        report: What was read, repaired, dropped; JSON-able.
    """

    mesh: TriangleMesh
    caps: tuple[dict[str, str | None], ...] = ()
    end_hints: tuple[dict[str, Any], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)


def run(
    source: Input, options: SurfaceOptions, folder: Path, segmented: Path | None = None
) -> None:
    """Make the lumen surface.

    Writes ``lumen.vtp`` [mm, LPS] (cell array ``cap``: 0 wall, i >= 1 the i-th given cap), ``surface.json``
    and, for a phantom, ``phantom.json`` and (through a label map) ``labels.nii.gz``.

    Args:
        source: The input of the case.
        options: Smoothing, repair, bodies.
        folder: Output folder; made if absent.
        segmented: With a CT: the segment stage's folder.

    Raises:
        InputError: The input is not one clean lumen; says what and where.
        ComputationError: A surface could not be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lumen = _make(source, options, folder, segmented)
    write_vtp(lumen.mesh, folder / "lumen.vtp")
    numbers = _numbers(lumen)
    (folder / "surface.json").write_text(json.dumps(numbers, indent=2))
    for note in numbers["notes"]:
        log.info("surface  %s", note)


def _make(source: Input, options: SurfaceOptions, folder: Path, segmented: Path | None) -> Lumen:
    if isinstance(source, PhantomInput):
        return _from_phantom(source, options, folder)
    if isinstance(source, LabelInput):
        return _from_labels(source, options)
    if isinstance(source, CtInput):
        return _from_shares(source, options, segmented or folder.parent / "segment")
    return _from_surface(source, options)


def _from_phantom(source: PhantomInput, options: SurfaceOptions, folder: Path) -> Lumen:
    from pipeline.imaging import write_nifti
    from pipeline.phantom import build, exact_surface, label_map, truth

    tree = build(source)
    (folder / "phantom.json").write_text(json.dumps(truth(tree), indent=1))
    if source.voxel_mm is None:
        caps: list[dict[str, str | None]] = [{"name": e.name, "role": e.role} for e in tree.ends]
        return Lumen(exact_surface(tree), tuple(caps), report={"source": "phantom, exact surface"})
    from pipeline.surface.levelset import lumen_of_labels

    volume = label_map(tree, source.voxel_mm)
    write_nifti(volume, folder / "labels.nii.gz")
    mesh, report = lumen_of_labels(volume, options)
    hints = tuple(
        {"name": e.name, "point_mm": list(e.centre_mm), "role": e.role} for e in tree.ends
    )
    return Lumen(
        mesh, (), hints, {"source": f"phantom, label map of {source.voxel_mm:g} mm", **report}
    )


def _from_labels(source: LabelInput, options: SurfaceOptions) -> Lumen:
    from pipeline.imaging import read_label_map
    from pipeline.surface.levelset import lumen_of_labels

    volume = read_label_map(source.path, source.label)
    mesh, report = lumen_of_labels(volume, options, source.path)
    return Lumen(mesh, report={"source": str(source.path), "label": source.label, **report})


def _from_shares(source: CtInput, options: SurfaceOptions, segmented: Path) -> Lumen:
    from pipeline.imaging import Volume, read_volume
    from pipeline.surface.levelset import lumen_of_shares

    told = json.loads((segmented / "segment.json").read_text())
    stored = read_volume(segmented / "lumen.nii.gz")
    body = read_volume(segmented / "labels.nii.gz").array == told["labels"][source.tree]
    shares = Volume(stored.array.astype(np.float32) / 255.0, stored.affine)
    mesh, report = lumen_of_shares(shares, body, options, segmented / "lumen.nii.gz")
    bridges = [
        f"a gap of {bridge['length_mm']:.1f} mm near "
        f"({', '.join(f'{x:.1f}' for x in bridge['middle_mm'])}) mm is bridged"
        for bridge in told["tree"]["bridges"]
    ]
    report["notes"] = [*report["notes"], *bridges]
    hint = {"name": "inlet", "point_mm": told["tree"]["ostium_mm"], "role": "inlet"}
    known = {"source": f"CT, {source.tree} coronary tree", "coronary_tree": source.tree}
    return Lumen(mesh, (), (hint,), {**known, **report})


def _from_surface(source: SurfaceInput, options: SurfaceOptions) -> Lumen:
    from pipeline.surface.given import lumen_of_file

    mesh, report = lumen_of_file(source, options)
    caps: list[dict[str, str | None]] = [{"name": name, "role": None} for name in source.caps]
    return Lumen(mesh, tuple(caps), report=report)


def _numbers(lumen: Lumen) -> dict[str, Any]:
    mesh = lumen.mesh
    report = {"repairs": [], "bodies_dropped": [], "open_ends": [], **lumen.report}
    notes = [*report.pop("notes", []), *report["repairs"]]
    notes += [f"dropped a separate body: {body}" for body in report["bodies_dropped"]]
    return {
        "frame": "LPS",
        "unit": "mm",
        **report,
        "points": len(mesh.points),
        "triangles": len(mesh.triangles),
        "volume_mm3": None if report["open_ends"] else mesh.volume,
        "wall_area_mm2": float(mesh.areas[mesh.cap == 0].sum()),
        "area_mm2": float(mesh.areas.sum()),
        "bounding_box_mm": np.array([mesh.points.min(axis=0), mesh.points.max(axis=0)]).tolist(),
        "caps": list(lumen.caps),
        "end_hints": list(lumen.end_hints),
        "notes": notes,
    }
