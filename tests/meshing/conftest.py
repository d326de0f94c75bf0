"""Analytic lumen surfaces with their vertices on the exact wall."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meshing.lumen import Cap, LumenSurface

Radius = Callable[[float], float]


def sweep(radius: Radius, centre, length: float, sides: int, rings: int) -> LumenSurface:
    """A tube of `rings` rings of `sides` vertices along a curve `centre(s) -> (point, u, v)`."""
    points, triangles, patch = [], [], []
    angles = 2 * np.pi * np.arange(sides) / sides
    for k, s in enumerate(np.linspace(0, length, rings + 1)):
        at, u, v = centre(s)
        for angle in angles + np.pi / sides * (k % 2):
            points.append(at + radius(s) * (np.cos(angle) * u + np.sin(angle) * v))
    for k in range(rings):
        for i in range(sides):
            a, b = k * sides + i, k * sides + (i + 1) % sides
            c, d = a + sides, b + sides
            triangles += [(a, b, c), (b, d, c)] if k % 2 == 0 else [(a, b, d), (a, d, c)]
    patch += [0] * len(triangles)
    for end, tag in ((0, 1), (rings, 2)):
        middle, first = len(points), end * sides
        points.append(centre(length * end / rings)[0])
        for i in range(sides):
            ring = (first + i, first + (i + 1) % sides)
            triangles.append((middle, *(ring if end else ring[::-1])))
            patch.append(tag)
    along = np.linspace(0, length, 10 * rings + 1)
    return LumenSurface(
        np.array(points),
        np.array(triangles, dtype=np.int64),
        np.array(patch, dtype=np.int32),
        (Cap("inlet", "inlet", 1), Cap("LAD", "outlet", 2)),
        np.array([centre(s)[0] for s in along]),
        np.array([radius(s) for s in along]),
        np.arange(len(along)) - 1,
    )


def straight(s: float):
    return np.array([0.0, 0.0, s]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def tube(radius: float = 1.5, length: float = 12.0, sides: int = 16, rings: int = 30):
    return sweep(lambda s: radius, straight, length, sides, rings)


def stenosis(depth: float = 0.6, sides: int = 24, rings: int = 80) -> LumenSurface:
    """Radius 1.5 mm, a cosine narrowing 6 mm long at 8 mm."""

    def radius(s: float) -> float:
        t = np.clip((s - 8.0) / 3.0, -1, 1)
        return float(1.5 * (1 - depth * 0.5 * (1 + np.cos(np.pi * t))))

    return sweep(radius, straight, 16.0, sides, rings)


def bend(radius: float = 1.0, curve: float = 4.0, sides: int = 20, rings: int = 40) -> LumenSurface:
    """A quarter of a torus; volume pi^2 r^2 R / 2."""

    def centre(s: float):
        a = s / curve
        out = np.array([np.cos(a), np.sin(a), 0.0])
        return curve * out, np.array([0, 0, 1.0]), out

    return sweep(lambda s: radius, centre, curve * np.pi / 2, sides, rings)


@pytest.fixture(scope="session")
def shapes():
    return {"tube": tube, "stenosis": stenosis, "bend": bend}


@pytest.fixture
def mesh_folder(tmp_path: Path) -> Path:
    return tmp_path / "mesh"
