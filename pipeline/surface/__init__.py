"""Surface stage: label map, given surface or phantom -> one clean lumen surface with its given caps marked."""

from __future__ import annotations

from pipeline.surface.mesh import TriangleMesh, write_stl, write_vtp
from pipeline.surface.stage import run

__all__ = ["TriangleMesh", "run", "write_stl", "write_vtp"]
