"""Centrelines, cross-sections, ends and lesions of a lumen surface.

VTK and VMTK are imported only when one of these functions is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshing.lumen import LumenSurface
    from pipeline.anatomy.types import Anatomy, Centerline
    from pipeline.case import AnatomyOptions


def run(lumen: Path, told: Path, options: AnatomyOptions, folder: Path) -> Anatomy:
    """Run the stage; see `pipeline.anatomy.stage.run`."""
    from pipeline.anatomy import stage

    return stage.run(lumen, told, options, folder)


def load_centerlines(path: Path) -> tuple[Centerline, ...]:
    """Read ``centerlines.vtp``; see `pipeline.anatomy.stage.load_centerlines`."""
    from pipeline.anatomy import stage

    return stage.load_centerlines(path)


def to_lumen(folder: Path) -> LumenSurface:
    """Return what the mesh generator is given; see `pipeline.anatomy.stage.to_lumen`."""
    from pipeline.anatomy import stage

    return stage.to_lumen(folder)
