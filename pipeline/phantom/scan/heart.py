"""Heart and great vessels around a pair of coronary trees, in the heart's frame (`pipeline.phantom.layout`).

The left ventricle lies on the side of growing longitude, the right one on the other, the atria above the
atrioventricular plane, the aortic root where the coronaries begin. Every cavity keeps away from the arteries: they run
in the fat between pericardium and muscle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.layout import Heart, course, unit
from pipeline.phantom.path import Array
from pipeline.phantom.scan.shapes import (
    Remembered,
    Shape,
    Waves,
    beyond,
    both,
    either,
    ellipsoid,
    grown,
    hose,
    without,
)
from pipeline.phantom.scan.tissue import Contrast, Tissue


@dataclass(frozen=True, slots=True)
class Ostium:
    """Where a coronary leaves the aorta: point and unit direction into the coronary, ``(3,)`` each."""

    point: Array
    direction: Array


@dataclass(frozen=True, slots=True)
class Cavities:
    """Shapes that several tissues need.

    Attributes:
        pericardium: All of the heart with its fat.
        muscle: Epicardium of both ventricles.
        left, right: The ventricles' cavities.
        aorta: Root and ascending aorta.
    """

    pericardium: Shape
    muscle: Shape
    left: Shape
    right: Shape
    aorta: Shape


def aortic_root(ostia: list[Ostium], radius: float) -> Array:
    """Centre of a ball with every ostium (one or two) on its surface, behind their directions."""
    if len(ostia) == 1:
        return np.asarray(ostia[0].point - radius * ostia[0].direction)
    a, b = ostia[0].point, ostia[1].point
    chord = b - a
    half = 0.5 * float(np.linalg.norm(chord))
    back = -(ostia[0].direction + ostia[1].direction)
    back = unit(back - (back @ chord) * chord / (chord @ chord))
    return np.asarray(0.5 * (a + b) + np.sqrt(max(radius**2 - half**2, 0.0)) * back)


def heart_tissues(
    heart: Heart, ostia: list[Ostium], arteries: Shape, up: Array, rng: np.random.Generator
) -> tuple[list[Tissue], Cavities, Contrast]:
    """Everything inside the pericardium but the coronary arteries, in the order of painting.

    Args:
        heart: The ellipsoid that the arteries run on.
        ostia: Of the trees.
        arteries: Distance to the nearest coronary artery.
        up: Unit vector to the head in the heart's frame.
        rng: Draws sizes and attenuations.
    """
    contrast = Contrast.draw(rng)
    blood = Waves.draw(rng, 12.0, 6.0)
    gap = float(rng.uniform(0.8, 2.5))
    clear = grown(arteries, gap)
    cavities = _cavities(heart, ostia, clear, up, rng)
    muscle = Waves.draw(rng, 9.0, 7.0)
    tissues = [
        Tissue(
            "fat", cavities.pericardium, float(rng.uniform(-115, -75)), Waves.draw(rng, 6.0, 9.0)
        ),
        Tissue("muscle", cavities.muscle, float(rng.uniform(75, 135)), muscle),
        Tissue("right ventricle", cavities.right, contrast.right, blood, "right heart"),
        Tissue(
            "left ventricle",
            cavities.left,
            contrast.artery * float(rng.uniform(0.9, 1.05)),
            blood,
            "left heart",
        ),
    ]
    for name, shape in _atria(heart, clear, rng).items():
        right = name == "right atrium"
        mean = contrast.right if right else contrast.artery * float(rng.uniform(0.9, 1.1))
        wall = grown(shape, float(rng.uniform(1.0, 2.0)))
        tissues += [
            Tissue(f"wall of the {name}", wall, 90.0, muscle),
            Tissue(name, shape, mean, blood, "right heart" if right else "left heart"),
        ]
    trunk = without(_pulmonary_trunk(heart, up, rng), clear)
    tissues += [
        Tissue("wall of the pulmonary trunk", without(grown(trunk, 1.2), clear), 60.0),
        Tissue(
            "pulmonary trunk",
            trunk,
            contrast.right * float(rng.uniform(0.85, 1.0)),
            blood,
            "right heart",
        ),
        Tissue("wall of the aorta", without(grown(cavities.aorta, 1.5), cavities.left), 60.0),
        Tissue("aorta", cavities.aorta, contrast.artery, blood),
    ]
    for number, vein in enumerate(_veins(heart, rng)):
        tissues.append(Tissue(f"vein {number}", without(vein, grown(arteries, 0.4)), contrast.vein))
    return tissues, cavities, contrast


def _cavities(
    heart: Heart, ostia: list[Ostium], clear: Shape, up: Array, rng: np.random.Generator
) -> Cavities:
    a = heart.axes
    whole = ellipsoid(np.zeros(3), a)
    base = float(rng.uniform(8.0, 16.0))  # height of the atrioventricular plane
    ripple = Waves.draw(rng, 22.0, 0.8)
    under = beyond(np.array([0.12, 0.0, -1.0]), -base)
    epicardium = without(both(grown(whole, lambda x: ripple(x) - 3.4), under), grown(clear, 0.2))
    wall = float(rng.uniform(7.5, 11.0))
    centre = np.array([0.0, 0.24 * a[1], -0.06 * a[2]])
    axes = np.array([0.94 * a[0], 0.74 * a[1], 0.93 * a[2]]) - wall
    rough = Waves.draw(rng, 7.0, float(rng.uniform(0.3, 1.0)))
    left = both(grown(ellipsoid(centre, axes), rough), under)
    septum = grown(ellipsoid(centre, axes), float(rng.uniform(8.0, 10.5)))
    thin = float(rng.uniform(2.5, 4.0))
    right = without(both(grown(whole, lambda x: rough(x) - 3.4 - thin), under), septum)
    right = both(right, beyond(np.array([0.0, -1.0, 0.0]), -0.25 * a[1]))
    radius = float(rng.uniform(12.5, 16.0))
    root = aortic_root(ostia, radius)
    line = _ascending(root, ostia, up, rng)
    tube = hose(line, radius * np.array([0.93, 0.85, 0.95, 1.0]))
    outflow = hose(
        np.array([root, 0.5 * (root + centre) + [0, 0, 4.0], centre]),
        radius * np.array([0.9, 0.6, 0.7]),
    )
    aorta = without(
        either(ellipsoid(root, np.full(3, radius)), tube, outflow), _sleeve(clear, root, radius)
    )
    sac = grown(whole, _sac(rng))
    aorta = Remembered(aorta)
    return Cavities(
        either(sac, grown(aorta, 4.5)),  # hoses know no distance beyond 8 mm
        epicardium,
        without(left, clear),
        without(right, clear),
        aorta,
    )


def _ascending(root: Array, ostia: list[Ostium], up: Array, rng: np.random.Generator) -> Array:
    """Middles of the aorta from its root on: across the ostia's plane first, then bending to the head."""
    ways = [unit(ostium.point - root) for ostium in ostia]
    across = up - (up @ ways[0]) * ways[0]
    if len(ways) > 1:
        across = np.cross(ways[0], ways[1])
        across *= np.sign(across[2])  # the heart's base lies at growing z
    lean = unit(unit(across) + 0.12 * rng.normal(size=3))
    rise = unit(up + 0.2 * rng.normal(size=3))
    high = root + 14.0 * lean
    turned = high + 20.0 * unit(lean + rise)
    return np.array([root + 2.0 * lean, high, turned, turned + 40.0 * rise])


def _sleeve(clear: Shape, root: Array, radius: float) -> Shape:
    """Room about the arteries that the aorta leaves, but not at the ostia, where they join."""
    return both(clear, lambda x: np.asarray(radius + 3.0 - np.linalg.norm(x - root, axis=1)))


def _sac(rng: np.random.Generator) -> Shape:
    fat, uneven = float(rng.uniform(4.0, 9.0)), Waves.draw(rng, 45.0, 1.5)
    return lambda x: np.maximum(fat + uneven(x), 2.5)


def _atria(heart: Heart, clear: Shape, rng: np.random.Generator) -> dict[str, Shape]:
    a = heart.axes
    shapes = {
        "left atrium": (np.array([-0.22, 0.36, 0.62]), np.array([0.55, 0.60, 0.33])),
        "right atrium": (np.array([-0.20, -0.58, 0.48]), np.array([0.48, 0.42, 0.40])),
        "left appendage": (np.array([0.45, 0.55, 0.62]), np.array([0.26, 0.34, 0.15])),
    }
    out = {}
    for name, (centre, axes) in shapes.items():
        moved = (centre + rng.normal(0, 0.03, 3)) * a
        uneven = Waves.draw(rng, 16.0, 1.0 if name != "left appendage" else 1.6)
        out[name] = without(
            grown(ellipsoid(moved, axes * a * rng.uniform(0.88, 1.1)), uneven), clear
        )
    return out


def _pulmonary_trunk(heart: Heart, up: Array, rng: np.random.Generator) -> Shape:
    start = heart.point(float(rng.uniform(-42, -30)), 16.0) * 0.80
    radius = float(rng.uniform(10.0, 14.0))
    bend = unit(up + 0.35 * heart.east(start))
    line = np.array([start, start + 12 * up, start + 26 * bend, start + 55 * bend])
    return hose(line, radius * np.array([0.8, 1.0, 1.0, 1.0]))


def _veins(heart: Heart, rng: np.random.Generator) -> list[Shape]:
    """Great cardiac vein beside the anterior groove and on along the atrioventricular one; a middle vein or two."""
    side = float(rng.choice([-1, 1])) * float(rng.uniform(6.0, 11.0))
    lift = float(rng.uniform(0.96, 1.02))
    apex, fork = heart.point(side * 0.6, -50.0), heart.point(side, float(rng.uniform(18, 24)))
    rise = course(
        heart,
        (apex, -heart.down(apex)),
        (fork, unit(heart.east(fork) - 0.5 * heart.down(fork))),
        rng,
    )
    groove = np.array(
        [
            heart.point(p, q)
            for p, q in zip(np.linspace(side + 12, 185, 18), np.linspace(18, -1, 18), strict=True)
        ]
    )
    great = lift * np.vstack([rise, groove])
    radii = np.interp(
        np.arange(len(great)), [0, len(rise), len(great) - 1], [0.6, 1.4, rng.uniform(3, 5)]
    )
    shapes: list[Shape] = [hose(great, radii)]
    for longitude in rng.uniform(30, 175, int(rng.integers(1, 4))):
        low, high = heart.point(longitude, -45.0), heart.point(longitude + rng.uniform(-8, 8), 4.0)
        line = course(heart, (low, -heart.down(low)), (high, -heart.down(high)), rng)
        shapes.append(hose(0.985 * line, np.linspace(0.5, rng.uniform(0.9, 1.6), len(line))))
    return shapes
