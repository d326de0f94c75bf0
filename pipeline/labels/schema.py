"""What is in a data set: every array with its shape, type, unit and meaning; one version number for all of it.

::

    DATASET/datasheet.md     what it is, how it was made, what it must not be used for
    DATASET/schema.json      this list, for programs
    DATASET/left_out.json    cases of the cohort that are not in it, with verdict and reasons
    DATASET/index.parquet    a row a case: labels, errors, verdict, conditions, split, hashes
    DATASET/cases/ID.h5      a case: the arrays below, and JSON attributes `labels`, `conditions`, `provenance`

``n`` nodes, ``m`` tetrahedra, ``k`` wall triangles, ``w`` wall nodes, ``s`` points of one centreline; ``NAME`` is a
vessel end. Lengths in mm in the frame of the input (LPS), nodes of straight or curved tetrahedra in VTK's order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

VERSION = 2
SPLITS = ("train", "validation", "test")
ATTRIBUTES = ("labels", "conditions", "provenance")


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a case.

    Attributes:
        path: In the HDF5 file.
        shape: In the letters above.
        dtype: NumPy's name.
        unit: ``"1"`` if none.
        meaning: In words.
    """

    path: str
    shape: str
    dtype: str
    unit: str
    meaning: str


ARRAYS = (
    Array("volume/points", "(n, 3)", "float32", "mm", "nodes of the mesh"),
    Array("volume/cells", "(m, 4) or (m, 10)", "int32", "1", "nodes of each tetrahedron"),
    Array("volume/pressure", "(n,)", "float32", "mmHg", "pressure"),
    Array("volume/velocity", "(n, 3)", "float32", "m/s", "velocity"),
    Array("volume/extension", "(n,)", "uint8", "1", "1 in a flow extension, which is no part of the vessel"),
    Array("surface/points", "(w, 3)", "float32", "mm", "nodes of the wall and of open ends"),
    Array("surface/triangles", "(k, 3)", "int32", "1", "nodes of each boundary triangle (corners)"),
    Array("surface/patch", "(k,)", "int16", "1", "0 wall; else the vessel end, by `labels.patches`"),
    Array("surface/normals", "(w, 3)", "float32", "1", "unit normals out of the lumen, area-weighted"),
    Array("surface/pressure", "(w,)", "float32", "mmHg", "pressure"),
    Array("surface/shear", "(w, 3)", "float32", "Pa", "wall shear stress; of a beat its mean"),
    Array("surface/extension", "(w,)", "uint8", "1", "1 in a flow extension"),
    Array("centerlines/NAME/points", "(s, 3)", "float32", "mm", "from the inlet to the end NAME"),
    Array("centerlines/NAME/abscissa", "(s,)", "float32", "mm", "arc length from the anatomical inlet"),
    Array("centerlines/NAME/radius", "(s,)", "float32", "mm", "of the largest inscribed sphere"),
    Array("centerlines/NAME/area", "(s,)", "float32", "mm2", "of the cross-section; NaN in bifurcations"),
    Array("centerlines/NAME/pressure", "(s,)", "float32", "mmHg", "mean over the cross-section"),
    Array("centerlines/NAME/ffr", "(s,)", "float32", "1", "that over the aortic pressure"),
    Array("centerlines/NAME/ffr_error", "(s,)", "float32", "1", "its discretisation error; NaN where not known"),
    Array("centerlines/NAME/flow", "(s,)", "float32", "mL/s", "towards the end; NaN where not whole"),
    Array("centerlines/NAME/branch", "(s,)", "int32", "1", "the same on stems that several lines share"),
    Array("centerlines/NAME/lesion", "(s,)", "int16", "1", "place in `labels.lesions`; -1 outside of lesions"),
)  # fmt: skip


def described() -> dict[str, Any]:
    """The schema, JSON-able."""
    return {
        "version": VERSION,
        "arrays": [asdict(one) for one in ARRAYS],
        "attributes": {
            "labels": "vessels, lesions (FFR, errors, stenosis), plaque, ends, certificate, Pa, patches",
            "conditions": "the flow problem in SI: inlet, outlets, blood",
            "provenance": "hashes of geometry, mesh, case and solution; versions; licence; pair",
        },
    }


def of(path: str) -> Array | None:
    """The array of a path in a file; None where the schema has none."""
    parts = path.split("/")
    if parts[0] == "centerlines" and len(parts) == 3:
        path = f"centerlines/NAME/{parts[2]}"
    return next((one for one in ARRAYS if one.path == path), None)
