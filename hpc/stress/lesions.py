"""Seeded narrowings for the flow solver: ten families of twenty, from a healthy tube to a 90 % stenosis at an outlet.

What makes a steady jet hard to find is varied one thing at a time: the narrowing (axisymmetric, eccentric, long,
several in a row), where it is (in front of or behind a bifurcation, at an outlet, at an outlet without a flow
extension, so that blood flows back through it), how fast the flow is (throat Reynolds numbers up to 1500), and the
outlets (tiny, twenty).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vessels import _apart, _child, _course, _ones

from meshing.errors import InputError
from pipeline.case import PhantomStenosis
from pipeline.phantom import Path, Segment, Tree, swept
from pipeline.phantom.lesions import apply_lesions

FAMILIES = (
    "axisymmetric",
    "eccentric",
    "long",
    "serial",
    "bifurcation",
    "outlet",
    "fast",
    "backflow",
    "tiny",
    "twenty",
)
VISCOSITY, DENSITY = 3.5, 1.06  # [mPa s], [g/mL]: the case's defaults
AT_REST = 0.24  # resting over hyperaemic flow, as the case's hyperaemic factor has it
FASTEST = 1500.0

Drawn = tuple[Tree, dict[str, Any], dict[str, Any]]


def draw(seed: int) -> Drawn:
    """The vessel of a seed, what it holds (JSON-able), and sections of its case."""
    rng = np.random.default_rng([2027, seed])
    family = FAMILIES[seed % len(FAMILIES)]
    for _ in range(200):
        try:
            tree, lesions, told, case = _drawn(family, rng)
            tree = apply_lesions(tree, lesions, rng)
        except (InputError, ValueError):  # a throat in a junction, a tube that folds
            continue
        given = [lesion.model_dump(exclude_defaults=True) for lesion in lesions]
        return tree, {"family": family, **told, "lesions": given}, case
    raise RuntimeError(f"no {family} vessel in 200 draws")


def _drawn(
    family: str, rng: np.random.Generator
) -> tuple[Tree, list[PhantomStenosis], dict[str, Any], dict[str, Any]]:
    diameter = float(rng.uniform(2.5, 4.0))
    reynolds = float(rng.uniform(150, 600))
    told: dict[str, Any] = {"diameter_mm": diameter}
    case: dict[str, Any] = {
        "physiology": {"resting": {"flow_mL_per_min": _flow(reynolds, diameter) * AT_REST}}
    }
    if family in ("bifurcation", "tiny", "twenty"):
        tree = {"bifurcation": _fork, "tiny": _tiny, "twenty": _twenty}[family](rng, diameter)
    else:
        tree = _tube(rng, diameter, 14.0 if family in ("long", "serial") else 10.0)
    lesions = _lesions(family, rng, tree, diameter)
    if family == "fast":
        throat = diameter * (1 - lesions[0].diameter_reduction)
        told["throat_reynolds"] = float(rng.uniform(0.3, 1.0) * FASTEST)
        case = {
            "inlet": {"kind": "flow", "flow_mL_per_min": _flow(told["throat_reynolds"], throat)}
        }
    else:
        told["healthy_reynolds"] = reynolds
    if family == "backflow":
        case["anatomy"] = {"outlet_extension_diameters": 0.0}
    return tree, lesions, told, case


def _flow(reynolds: float, diameter: float) -> float:
    """Flow [mL/min] of a Reynolds number in a diameter [mm]."""
    return float(60e-3 * reynolds * np.pi * VISCOSITY * diameter / (4 * DENSITY))


def _lesions(family: str, rng: np.random.Generator, tree: Tree, D: float) -> list[PhantomStenosis]:
    """Lesions of a family in a tree whose trunk has the diameter D [mm]; all but one family have one."""
    if family == "serial":
        size = rng.uniform(1.0, 2.0, 3) * D
        return [
            _lesion(rng, ("trunk", k), float(s), (0.0, 0.8), float(rng.uniform(0, 1)))
            for k, s in zip((0.2, 0.45, 0.7), size[: rng.integers(2, 4)], strict=False)
        ]
    if family == "bifurcation":
        place = _beside_fork(rng, tree, D)
        return [_lesion(rng, place, _short(rng, D), (0.0, 0.9), float(rng.uniform(0, 1)))]
    if family in ("outlet", "backflow"):
        near, whole = 0.7 if family == "outlet" else 1.5, tree.segments[0].end
        place = "trunk", 1.0 - float(rng.uniform(near, 2 * near)) * D / whole
        return [_lesion(rng, place, _short(rng, D), (0.0, 0.9), float(rng.uniform(0, 1)))]
    if family == "long":
        return [_lesion(rng, ("trunk", 0.45), float(rng.uniform(5.0, 8.0)) * D, (0.0, 0.9))]
    eccentric = float(rng.uniform(0.3, 1.0)) if family == "eccentric" else 0.0
    position, between = {
        "fast": (0.3, (0.3, 0.6)),
        "tiny": (0.12, (0.0, 0.7)),
        "twenty": (0.12, (0.0, 0.7)),
    }.get(family, (0.35, (0.0, 0.9)))
    length = float(rng.uniform(1.0, 3.0)) * D
    return [_lesion(rng, ("trunk", position), length, between, eccentric)]


def _short(rng: np.random.Generator, D: float) -> float:
    return float(rng.uniform(0.8, 1.6)) * D


def _beside_fork(rng: np.random.Generator, tree: Tree, D: float) -> tuple[str, float]:
    """Shortly before the fork in the trunk, or behind it in the child."""
    trunk, child = tree.segments[:2]
    if rng.uniform() < 0.5:
        return child.name, float(rng.uniform(1.2, 2.0)) * D / (child.end - child.start)
    return trunk.name, 0.5 - float(rng.uniform(0.8, 1.5)) * D / (trunk.end - trunk.start)


def _lesion(
    rng: np.random.Generator,
    place: tuple[str, float],
    length: float,
    between: tuple[float, float],
    eccentric: float = 0.0,
) -> PhantomStenosis:
    """One at a place of a branch, its severity drawn from a range."""
    return PhantomStenosis(
        branch=place[0],
        position=place[1],
        diameter_reduction=float(rng.uniform(*between)),
        length_mm=length,
        eccentricity=eccentric,
    )


def _line(rng: np.random.Generator, diameter: float, length: float) -> Path:
    """A tube of so many millimetres, straight or wavy."""
    radius = diameter / 2
    if rng.uniform() < 0.5:
        points = np.column_stack(
            [np.arange(0.0, length, 0.5), *np.zeros((2, len(np.arange(0.0, length, 0.5))))]
        )
    else:
        points = _course(rng, np.zeros(3), np.array([1.0, 0.0, 0.0]), length, radius)
    return swept(points, _ones(length, radius))


def _tree(paths: list[Path]) -> Tree:
    names = ["trunk", *(f"child_{i}" for i in range(1, len(paths)))]
    segments = tuple(
        Segment(name, None if i == 0 else "trunk", i, 0.0, path.end)
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    )
    return Tree(tuple(paths), segments, (), {})


def _tube(rng: np.random.Generator, diameter: float, diameters: float) -> Tree:
    return _tree([_line(rng, diameter, diameters * diameter)])


def _fork(rng: np.random.Generator, diameter: float) -> Tree:
    """A trunk with one child that leaves it half way."""
    paths = [_line(rng, diameter, 9.0 * diameter)]
    radius = float(rng.uniform(0.6, 0.95)) * diameter / 2
    paths.append(_child(rng, paths[0], 0.5 * paths[0].end, radius, float(rng.uniform(35, 80))))
    return _clear(paths)


def _tiny(rng: np.random.Generator, diameter: float) -> Tree:
    """A trunk with two or three children of 0.7 to 1 mm."""
    paths = [_line(rng, diameter, 9.0 * diameter)]
    for station in (0.35, 0.55, 0.75)[: rng.integers(2, 4)]:
        radius, angle = float(rng.uniform(0.35, 0.5)), float(rng.uniform(45, 90))
        paths.append(_child(rng, paths[0], station * paths[0].end, radius, angle))
    return _clear(paths)


def _twenty(rng: np.random.Generator, diameter: float) -> Tree:
    """A trunk with nineteen children."""
    paths = [_line(rng, diameter, 42.0)]
    for station in np.linspace(0.25, 0.93, 19):
        radius = float(rng.uniform(0.4, 0.6))
        angle = float(rng.uniform(60, 90))
        for _ in range(20):  # until it is clear of the others
            child = _child(rng, paths[0], station * paths[0].end, radius, angle)
            if _apart([*paths, child]):
                paths.append(child)
                break
        else:
            raise ValueError("no place for a child")
    return _tree(paths)


def _clear(paths: list[Path]) -> Tree:
    if not _apart(paths):
        raise ValueError("children touch")
    return _tree(paths)
