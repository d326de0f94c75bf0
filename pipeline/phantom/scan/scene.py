"""A scene: coronary trees in a heart in a thorax, drawn from a seed; everything as functions of space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from meshing.errors import InputError
from pipeline.case import PhantomInput, PhantomStenosis
from pipeline.phantom.build import build
from pipeline.phantom.layout import Heart, to_patient
from pipeline.phantom.path import Array
from pipeline.phantom.scan.bend import Bend
from pipeline.phantom.scan.heart import Ostium, heart_tissues
from pipeline.phantom.scan.plaque import Diseased, diseased
from pipeline.phantom.scan.shapes import Hose, Remembered, Shape, without
from pipeline.phantom.scan.thorax import thorax_tissues
from pipeline.phantom.scan.tissue import Contrast, Tissue
from pipeline.phantom.tree import Tree

_ATTEMPTS = 40
_INLET_MM = {
    "left": (3.2, 5.8),
    "right": (2.6, 5.0),
}  # all that a network should know, not all as likely
_FINEST = 0.38  # of the inlet: thinner branches than that can always be fed
_APART_MM = 1.5  # least distance of the walls of two trees


@dataclass(frozen=True, eq=False)
class Scene:
    """What is scanned.

    Attributes:
        vessels: The coronary trees with walls and plaque.
        tissues: Everything else, in the order of painting; shapes in the heart's frame.
        aorta: Root and ascending aorta, in the heart's frame: a coronary begins where it leaves it.
        contrast: Of the blood.
        turn: Rotation from the heart's frame to the patient's, ``(3, 3)``.
        bend: Where in the vessels' straight space a place lies; None: there.
    """

    vessels: tuple[Diseased, ...]
    tissues: tuple[Tissue, ...]
    aorta: Shape
    contrast: Contrast
    turn: Array
    bend: Bend | None = None

    def among_vessels(self, points: Array) -> Array:
        """Where places, LPS [mm] ``(n, 3)``, lie among the vessels as they were drawn."""
        return points if self.bend is None else self.bend(points)

    def to_heart(self, points: Array) -> Array:
        """LPS [mm] ``(n, 3)`` to the heart's frame."""
        return np.asarray(points @ self.turn)


def scene_of(trees: tuple[Tree, ...], heart: Heart, seed: int, *, irregular: bool = False) -> Scene:
    """Put trees into a heart and a thorax.

    Args:
        trees: One or two coronary trees on that heart.
        heart: The ellipsoid they run on.
        seed: Of everything that is drawn.
        irregular: Sections are not round, outer walls are pushed out at lesions, some of which are all calcium.
    """
    rng = np.random.default_rng([seed, 77])
    turn = np.asarray(to_patient(np.eye(3))).T
    vessels = tuple(diseased(tree, rng, irregular=irregular) for tree in trees)
    lines = reduce(Hose.joined, [hose_of(tree) for tree in trees])
    arteries = Remembered(Hose(lines.points @ turn, lines.radii))
    ostia = [_ostium(tree, turn) for tree in trees]
    up = turn.T @ np.array([0.0, 0.0, 1.0])
    inside, cavities, contrast = heart_tissues(heart, ostia, arteries, up, rng)
    around = thorax_tissues(cavities, contrast, turn, rng)
    aorta = Remembered(without(cavities.aorta, cavities.left))
    bend = Bend.draw(rng) if irregular else None
    return Scene(vessels, (*around, *inside), aorta, contrast, turn, bend)


def scene_around(tree: Tree) -> Scene:
    """A heart and a thorax around a phantom's tree, with walls and plaque drawn from its seed."""
    seed = int(tree.meta["seed"])
    return scene_of((tree,), Heart.draw(np.random.default_rng([seed, tree.meta["draw"]])), seed)


def hose_of(tree: Tree) -> Hose:
    """A tree as a chain of balls, for a quick distance; LPS."""
    step = 4  # of the knots: 0.4 mm
    width = [path.radius + np.linalg.norm(path.offset, axis=1) for path in tree.paths]
    return Hose(
        np.concatenate([path.centre[::step] for path in tree.paths]),
        np.concatenate([radius[::step] for radius in width]),
    )


def _ostium(tree: Tree, turn: Array) -> Ostium:
    centre, direction, _ = tree.paths[0].at(tree.paths[0].start)
    return Ostium(turn.T @ centre, turn.T @ direction)


def draw_scene(seed: int) -> Scene:
    """Both coronary trees of one heart, healthy or diseased, in their thorax; the same for the same seed.

    Raises:
        InputError: No pair of trees fits (never seen).
    """
    rng = np.random.default_rng([seed, 5])
    left = _draw_tree("left", seed, rng)
    heart = Heart.draw(np.random.default_rng([seed, left.meta["draw"]]))
    for attempt in range(_ATTEMPTS):
        right = _draw_tree("right", seed + 7919 * attempt, rng)
        if _apart(left, right):
            return scene_of((left, right), heart, seed, irregular=True)
    raise InputError(
        wanted="two coronary trees that keep apart",
        got=f"none in {_ATTEMPTS} draws",
        remedy="take another seed",
    )


def _apart(one: Tree, other: Tree) -> bool:
    gaps = [float((b.clearance(a.centre) - a.radius).min()) for a in one.paths for b in other.paths]
    return min(gaps) > _APART_MM


def _draw_tree(side: str, seed: int, rng: np.random.Generator) -> Tree:
    """A tree with lesions drawn for its segments; those that do not fit are left out."""
    inlet = float(rng.uniform(*_INLET_MM[side]))
    given = {
        "kind": "phantom",
        "tree": side,
        "seed": seed,
        "inlet_diameter_mm": inlet,
        "min_diameter_mm": min(float(rng.uniform(1.1, 1.6)), _FINEST * inlet),
        "side_branches": int(rng.integers(0, 4)),
    }
    plain = build(PhantomInput.model_validate(given))
    sizes = np.array([plain.paths[s.path].healthy_radius(s.start) for s in plain.segments])
    chances = sizes / sizes.sum()  # the wider, the likelier
    lesions: list[PhantomStenosis] = []
    for _ in range(int(rng.integers(0, 5))):
        segment = plain.segments[int(rng.choice(len(plain.segments), p=chances))]
        lesion = PhantomStenosis(
            branch=segment.name,
            position=float(rng.uniform(0.08, 0.85)),
            diameter_reduction=float(rng.uniform(0.15, 0.8)),
            length_mm=float(rng.uniform(5, min(25, max(6, 0.6 * (segment.end - segment.start))))),
            eccentricity=float(rng.choice([0.0, rng.uniform(0, 1)])),
            plateau=float(rng.choice([0.0, rng.uniform(0, 0.8)])),
        )
        try:
            build(PhantomInput.model_validate({**given, "stenoses": [*lesions, lesion]}))
        except InputError:
            continue
        lesions.append(lesion)
    return build(PhantomInput.model_validate({**given, "stenoses": lesions}))
