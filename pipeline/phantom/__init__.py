"""Parametric coronary trees with stenoses: analytic signed distance, exact surface, label map, truth.

Lengths in mm, frame LPS (x to the patient's left, y posterior, z superior), as in `pipeline.imaging`.
"""

from __future__ import annotations

from pipeline.phantom.build import build
from pipeline.phantom.exact import exact_surface
from pipeline.phantom.labels import label_map
from pipeline.phantom.path import Path, swept
from pipeline.phantom.tree import Segment, StenosisTruth, Tree, TreeEnd, truth, tube
from pipeline.phantom.write import write

__all__ = [
    "Path",
    "Segment",
    "StenosisTruth",
    "Tree",
    "TreeEnd",
    "build",
    "exact_surface",
    "label_map",
    "swept",
    "truth",
    "tube",
    "write",
]
