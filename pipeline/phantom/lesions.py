"""Stenoses: cosine-shaped narrowings of exact minimum lumen, concentric or eccentric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from meshing.errors import InputError
from pipeline.case import PhantomStenosis
from pipeline.phantom.path import Array, Path
from pipeline.phantom.tree import Segment, StenosisTruth, Tree

_EXACT_MM = 1e-6


def apply_lesions(
    tree: Tree, stenoses: Sequence[PhantomStenosis], rng: np.random.Generator
) -> Tree:
    """Narrow the tree.

    With the weight ``w = (1 + cos(2 pi (s - s0) / L)) / 2`` within half a length L of the throat s0 (with a
    plateau, w = 1 there and the cosine on either side), the
    radius becomes ``(1 - w) r(s) + w (1 - reduction) r(s0)``: its slope at the throat is zero even on a
    tapering vessel, so the throat is the minimum lumen and has exactly the wanted diameter. The disc
    centre shifts by ``eccentricity`` times the loss of radius, in a direction drawn from ``rng``.

    Raises:
        InputError: Unknown segment, a throat inside another lesion, or a throat in a junction.
    """
    done: list[tuple[int, float, float]] = []
    for number, stenosis in enumerate(stenoses):
        angle = rng.uniform(0.0, 2 * np.pi)
        segment = _segment(tree, stenosis, number)
        throat = segment.start + stenosis.position * (segment.end - segment.start)
        _check_apart(done, (segment.path, throat, stenosis.length_mm), number)
        path, fact = _narrowed(tree.paths[segment.path], stenosis, throat, angle)
        paths = tuple(path if i == segment.path else p for i, p in enumerate(tree.paths))
        fact = replace(fact, throat_mm=throat - segment.start)
        tree = replace(tree, paths=paths, stenoses=(*tree.stenoses, fact))
        done.append((segment.path, throat, stenosis.length_mm))
    for number, fact in enumerate(tree.stenoses):
        _check_throat(tree, fact, number)
    return tree


def _segment(tree: Tree, stenosis: PhantomStenosis, number: int) -> Segment:
    for segment in tree.segments:
        if segment.name == stenosis.branch:
            return segment
    raise InputError(
        field=f"input.stenoses.{number}.branch",
        wanted=f"one of {', '.join(s.name for s in tree.segments)}",
        got=stenosis.branch,
        remedy="name a segment that this tree has, or raise side_branches",
    )


def _check_apart(
    done: list[tuple[int, float, float]], new: tuple[int, float, float], number: int
) -> None:
    for other, (path, throat, length) in enumerate(done):
        if path == new[0] and abs(throat - new[1]) < max(length, new[2]) / 2:
            raise InputError(
                field=f"input.stenoses.{number}",
                wanted="a throat outside every other lesion",
                got=f"{abs(throat - new[1]):.1f} mm from the throat of stenosis {other}",
                remedy="move the lesions apart or shorten them",
            )


def _narrowed(
    path: Path, stenosis: PhantomStenosis, throat: float, angle: float
) -> tuple[Path, StenosisTruth]:
    knots = path.knots.copy()
    nearest = int(np.argmin(np.abs(knots - throat)))
    knots[nearest] = throat  # a knot on the throat makes the spline exact there
    old = path.spline(knots)
    healthy = path.healthy_radius(knots)
    tangent = path.spline(knots, 1)[:, :3]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = across(tangent[nearest], angle)
    normal = side - (tangent @ side)[:, None] * tangent
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    beyond = np.abs(knots - throat) / (stenosis.length_mm / 2) - stenosis.plateau
    weight = 0.5 * (1.0 + np.cos(np.pi * np.clip(beyond / (1.0 - stenosis.plateau), 0.0, 1.0)))
    reference = float(old[nearest, 6])
    least = reference * (1.0 - stenosis.diameter_reduction)
    radius = (1.0 - weight) * old[:, 6] + weight * least
    shift = stenosis.eccentricity * (old[:, 6] - radius)
    offset = old[:, 3:6] + shift[:, None] * normal
    new = replace(
        path, knots=knots, centre=old[:, :3], offset=offset, radius=radius, healthy=healthy
    )
    centre, axis, _ = new.at(throat)
    return new, StenosisTruth(
        branch=stenosis.branch,
        throat_mm=throat,
        length_mm=stenosis.length_mm,
        diameter_reduction=stenosis.diameter_reduction,
        reference_diameter_mm=2 * reference,
        minimum_lumen_diameter_mm=2 * least,
        eccentricity=stenosis.eccentricity,
        direction=(float(side[0]), float(side[1]), float(side[2])),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        normal=(float(axis[0]), float(axis[1]), float(axis[2])),
    )


def across(tangent: Array, angle: float) -> Array:
    """Unit vector perpendicular to a tangent at an angle."""
    seed = np.eye(3)[int(np.argmin(np.abs(tangent)))]
    e1 = np.cross(tangent, seed)
    e1 /= np.linalg.norm(e1)
    return np.asarray(np.cos(angle) * e1 + np.sin(angle) * np.cross(tangent, e1))


def _check_throat(tree: Tree, fact: StenosisTruth, number: int) -> None:
    """The section of the tree at the throat must be the throat's disc, nothing else."""
    centre, axis, r = (
        np.array(fact.centre_mm),
        np.array(fact.normal),
        fact.minimum_lumen_diameter_mm / 2,
    )
    rim = centre + r * np.array([across(axis, a) for a in np.linspace(0, 2 * np.pi, 33)[:-1]])
    error = float(np.abs(tree.signed_distance(rim)).max())
    if error > _EXACT_MM:
        raise InputError(
            field=f"input.stenoses.{number}.position",
            wanted=f"a throat on a clear stretch of {fact.branch}",
            got=f"one {fact.throat_mm:.1f} mm from its start, in a junction or at an end",
            remedy="move the lesion a few millimetres along the vessel",
        )
