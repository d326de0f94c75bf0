"""Analytic lumens, triangulated here, and the run folder of the anatomy stage."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.anatomy import load_centerlines, run
from pipeline.anatomy.surface import Surface
from pipeline.anatomy.vtkio import add_arrays, poly_data, write
from pipeline.case import AnatomyOptions


def _frames(points):
    """Tangents and parallel-transported normals of a smooth curve."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    first = np.cross(tangent[0], np.eye(3)[np.argmin(abs(tangent[0]))])
    frames = []
    for t in tangent:
        first = first - (first @ t) * t
        first /= np.linalg.norm(first)
        frames.append((first, np.cross(t, first)))
    return frames


def swept_tube(points, radius, around=32, capped=True, scale=(1.0, 1.0)):
    """Triangles of a tube along `points` with `radius` at each; caps 1 (start) and 2 (end) or open ends.

    The radius is scaled so that the area of each polygon is exactly pi r^2 (times the two scales).
    """
    angle = 2 * np.pi * np.arange(around) / around
    fit = np.sqrt(np.pi / (0.5 * around * np.sin(2 * np.pi / around)))
    rings = [
        p
        + fit * r * (scale[0] * np.cos(angle)[:, None] * u + scale[1] * np.sin(angle)[:, None] * v)
        for p, r, (u, v) in zip(points, radius, _frames(points), strict=True)
    ]
    n, m = around, len(points)
    index = np.arange(n * m).reshape(m, n)
    low, high = index[:-1], index[1:]
    low1, high1 = np.roll(low, -1, axis=1), np.roll(high, -1, axis=1)
    wall = np.concatenate(
        [
            np.stack([low, low1, high1], 2).reshape(-1, 3),
            np.stack([low, high1, high], 2).reshape(-1, 3),
        ]
    )
    vertices = np.vstack(rings)
    if not capped:
        return Surface.of(vertices, wall)
    vertices = np.vstack([vertices, points[0], points[-1]])
    start = np.stack([np.roll(index[0], -1), index[0], np.full(n, n * m)], axis=1)
    end = np.stack([index[-1], np.roll(index[-1], -1), np.full(n, n * m + 1)], axis=1)
    patch = np.concatenate([np.zeros(len(wall)), np.ones(n), np.full(n, 2)]).astype(np.int32)
    return Surface.of(vertices, np.vstack([wall, start, end]), patch)


def straight(length, step=0.25):
    z = np.linspace(0, length, round(length / step) + 1)
    return np.column_stack([0 * z, 0 * z, z])


def level_set(distance, low, high, step):
    """Closed surface of ``distance(points) < 0`` by marching cubes on a grid."""
    from skimage.measure import marching_cubes

    shift = 0.01234 * step  # no grid point exactly on the surface
    axes = [np.arange(a + shift, b + step, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    points, faces, _, _ = marching_cubes(
        values, 0.0, spacing=(step,) * 3, gradient_direction="ascent"
    )
    surface = Surface.of(
        points.astype(np.float64) + np.asarray(low) + shift, faces.astype(np.int64)
    )
    return surface if surface.volume > 0 else Surface.of(surface.points, surface.triangles[:, ::-1])


def segment_distance(points, a, b, radius):
    """Signed distance to a capsule (round ends) from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    along = b - a
    t = np.clip((points - a) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(points - a - t[:, None] * along, axis=1) - radius


@dataclass
class Case:
    folder: Path

    def put(self, surface, caps=(), hints=()):
        """Write ``surface/``."""
        source = self.folder / "surface"
        source.mkdir(exist_ok=True)
        (self.folder / "anatomy").mkdir(exist_ok=True)
        data = poly_data(surface.points, surface.triangles)
        add_arrays(data.GetCellData(), {"cap": surface.patch})
        write(source / "lumen.vtp", data)
        told = {"caps": [{"name": n, "role": r} for n, r in caps], "end_hints": list(hints)}
        (source / "surface.json").write_text(json.dumps(told))
        return self

    def run(self, **options):
        """Run the stage; return the anatomy and the centrelines."""
        source, target = self.folder / "surface", self.folder / "anatomy"
        anatomy = run(
            source / "lumen.vtp", source / "surface.json", AnatomyOptions(**options), target
        )
        return anatomy, load_centerlines(target / "centerlines.vtp")


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


@pytest.fixture(scope="session")
def shapes():
    """The shape makers, as attributes."""

    class Shapes:
        tube = staticmethod(swept_tube)
        straight = staticmethod(straight)
        level_set = staticmethod(level_set)
        capsule = staticmethod(segment_distance)

    return Shapes
