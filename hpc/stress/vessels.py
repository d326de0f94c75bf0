"""Seeded hard vessels: what mesh generators fail on, drawn by the hundred.

Two families. Coronary trees of the phantom generator with serial, eccentric and long lesions of up to 90 % and
branches down to 1 mm. And forks, built here: a trunk with up to three children at one place (two: trifurcation),
children that nearly touch for some diameters, lesions at the ostium, aneurysms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from meshing.errors import InputError
from pipeline.case import PhantomInput
from pipeline.phantom import Path, Segment, Tree, build, swept
from pipeline.phantom.path import Array

STEP = 0.5  # spacing of the points of a course [mm]


def draw(seed: int) -> tuple[Tree, dict[str, Any]]:
    """The vessel of a seed, and what it holds (JSON-able)."""
    rng = np.random.default_rng([2026, seed])
    return _coronary(rng) if seed % 2 else _fork(rng)


def _coronary(rng: np.random.Generator) -> tuple[Tree, dict[str, Any]]:
    """A coronary tree; lesions that the generator refuses (in a junction) are drawn again."""
    for _ in range(100):
        kind = str(rng.choice(["left", "right"]))
        names = ["LM", "LAD", "LCx"] if kind == "left" else ["RCA", "PDA"]
        lesions = [
            {
                "branch": str(rng.choice(names)),
                "position": float(rng.uniform(0.05, 0.95)),
                "diameter_reduction": float(rng.choice([rng.uniform(0.2, 0.9), 0.9])),
                "length_mm": float(rng.uniform(3, 20)),
                "eccentricity": float(rng.uniform(0, 1)),
            }
            for _ in range(rng.integers(0, 5))
        ]
        given = {
            "tree": kind,
            "seed": int(rng.integers(1_000_000)),
            "min_diameter_mm": float(rng.uniform(1.0, 1.8)),
            "side_branches": int(rng.integers(0, 5)),
            "murray_exponent": float(rng.uniform(2.1, 3.0)),
            "stenoses": lesions,
        }
        try:
            return build(PhantomInput.model_validate(given)), {"family": "coronary", **given}
        except InputError:
            continue
    raise RuntimeError("no coronary tree in 100 draws")


def _fork(rng: np.random.Generator) -> tuple[Tree, dict[str, Any]]:
    """A trunk with children that leave it at one place."""
    for _ in range(100):
        children, near = int(rng.integers(0, 4)), bool(rng.uniform() < 0.4)
        told: dict[str, Any] = {"family": "fork", "children": children, "near": near}
        radius = float(rng.uniform(0.8, 2.2))
        paths = [_trunk(rng, radius)]
        station = float(rng.uniform(0.3, 0.6)) * paths[0].end
        try:
            for _ in range(children):
                share = float(rng.uniform(0.45, 0.95))
                angle = float(rng.uniform(12, 25) if near else rng.uniform(30, 95))
                paths.append(_child(rng, paths[0], station, max(0.5, share * radius), angle))
            paths = [_shaped(rng, path, told) for path in paths]
        except ValueError:  # a tube that folds
            continue
        if not _apart(paths):
            continue
        names = ["trunk", *(f"child_{i}" for i in range(1, len(paths)))]
        segments = tuple(
            Segment(name, None if i == 0 else "trunk", i, 0.0, path.end)
            for i, (name, path) in enumerate(zip(names, paths, strict=True))
        )
        return Tree(tuple(paths), segments, (), {}), told
    raise RuntimeError("no fork in 100 draws")


def _trunk(rng: np.random.Generator, radius: float) -> Path:
    length = float(rng.uniform(12, 30)) * radius
    return swept(
        _course(rng, np.zeros(3), _unit(rng.normal(size=3)), length, radius), _ones(length, radius)
    )


def _child(
    rng: np.random.Generator, trunk: Path, station: float, radius: float, angle: float
) -> Path:
    """A tube that begins on the trunk's axis at an angle [degrees] to it."""
    value, slope = trunk.spline(station)[:3], _unit(trunk.spline(station, 1)[:3])
    across = _unit(np.cross(slope, rng.normal(size=3)))
    a = np.deg2rad(angle)
    length = float(rng.uniform(10, 22)) * radius
    points = _course(rng, value, np.cos(a) * slope + np.sin(a) * across, length, radius, calm=True)
    path = swept(points, _ones(length, radius))
    keep = path.knots >= 0.0  # nothing behind its start, which lies inside the trunk
    parts = {
        name: getattr(path, name)[keep]
        for name in ("knots", "centre", "offset", "radius", "healthy")
    }
    return replace(path, **parts, open_start=False)


def _course(
    rng: np.random.Generator,
    start: Array,
    towards: Array,
    length: float,
    radius: float,
    *,
    calm: bool = False,
) -> Array:
    """A wavy line, straight at its start where ``calm``."""
    s = np.arange(0.0, length, STEP)
    first = _unit(np.cross(towards, rng.normal(size=3)))
    second = np.cross(towards, first)
    phase = 2 * np.pi * s / (rng.uniform(10, 20) * radius)
    height = rng.uniform(0, 0.35) * radius * np.ones_like(s)
    if calm:
        height *= 1 - np.exp(-((s / (4 * radius)) ** 2))
    wave = np.sin(phase)[:, None] * first + (1 - np.cos(phase))[:, None] * second
    return np.asarray(start + s[:, None] * towards + height[:, None] * wave)


def _shaped(rng: np.random.Generator, path: Path, told: dict[str, Any]) -> Path:
    """Narrowings (also at the ostium, also two in a row) and aneurysms of one tube."""
    radius, s = path.radius.copy(), path.knots
    r0 = float(radius[0])
    for _ in range(int(rng.integers(0, 3))):
        kind = str(rng.choice(["narrow", "ostial", "aneurysm"], p=[0.5, 0.25, 0.25]))
        at = r0 * rng.uniform(1.5, 4) if kind == "ostial" else path.end * rng.uniform(0.1, 0.95)
        length = r0 * rng.uniform(3, 10)
        factor = rng.uniform(1.3, 2.2) if kind == "aneurysm" else 1 - rng.uniform(0.2, 0.9)
        weight = 0.5 * (1 + np.cos(2 * np.pi * np.clip((s - at) / length, -0.5, 0.5)))
        radius = radius * (1 + weight * (factor - 1))
        told.setdefault("shapes", []).append([kind, round(float(factor), 3)])
    if float(radius.min()) < 0.08 * r0:
        raise ValueError("serial lesions closed the tube")
    return replace(path, radius=radius)


def _apart(paths: list[Path]) -> bool:
    """Children stay clear of each other and of the trunk behind their junction by 0.15 mm."""
    for i, path in enumerate(paths[1:], start=1):
        inner = (path.knots >= 0) & (path.knots <= path.end + 0.5)
        for j in range(i):
            gap = paths[j].clearance(path.centre[inner]) - path.radius[inner]
            out = int(np.argmax(gap > 0.0))
            if not (gap > 0.0).any() or path.knots[inner][out] > 0.6 * path.end:
                return False  # never leaves, or too late
            behind = path.knots[inner] > path.knots[inner][out] + 1.5 * float(path.healthy[0])
            if float(gap[behind].min(initial=np.inf)) < 0.15:
                return False
    return True


def _ones(length: float, radius: float) -> Array:
    return np.full(len(np.arange(0.0, length, STEP)), radius)


def _unit(v: Array) -> Array:
    return np.asarray(v / np.linalg.norm(v))
