"""Synthetic CT of coronary trees: a heart and a thorax around them, and a scanner; the truth to the micrometre.

What it is for: no coronary CT may be bundled, and none has an exact lumen. A scene is drawn from a seed and rendered on
any voxels: a whole scan, or one patch after another for training.
"""

from __future__ import annotations

from pipeline.phantom.scan.render import (
    TISSUES,
    WIDE,
    Exact,
    Scan,
    compose,
    compose_wide,
    render,
    scan_tree,
    to_ct,
)
from pipeline.phantom.scan.scanner import Scanner, scanned
from pipeline.phantom.scan.scene import Scene, draw_scene, scene_around, scene_of

__all__ = [
    "TISSUES",
    "WIDE",
    "Exact",
    "Scan",
    "Scanner",
    "Scene",
    "compose",
    "compose_wide",
    "draw_scene",
    "render",
    "scan_tree",
    "scanned",
    "scene_around",
    "scene_of",
    "to_ct",
]
