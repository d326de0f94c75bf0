"""Synthetic CT of coronary trees: a heart and a thorax around them, and a scanner; the truth to the micrometre.

What it is for: no coronary CT may be bundled, and none has an exact lumen. A scene is drawn from a seed and rendered on
any voxels: a whole scan, or one patch after another for training.
"""

from __future__ import annotations

from pipeline.phantom.scan.render import Scan, Scanner, render
from pipeline.phantom.scan.scene import Scene, draw_scene, scene_of

__all__ = ["Scan", "Scanner", "Scene", "draw_scene", "render", "scene_of"]
