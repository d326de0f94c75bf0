"""What lies around the heart: lung, chest wall and ribs, spine, descending aorta, diaphragm and liver."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from pipeline.phantom.path import Array
from pipeline.phantom.scan.heart import Cavities
from pipeline.phantom.scan.shapes import Hose, Waves, beyond, either, ellipsoid, grown, hose
from pipeline.phantom.scan.tissue import Contrast, Tissue


def thorax_tissues(
    cavities: Cavities, contrast: Contrast, turn: Array, rng: np.random.Generator
) -> list[Tissue]:
    """Tissues in the order of painting; the heart comes on top.

    Args:
        cavities: Of the heart.
        contrast: Of the blood.
        turn: Rotation from the heart's frame into the patient's, ``(3, 3)``.
        rng: Draws places and attenuations.
    """
    left, back, up = turn  # rows: the patient's axes in the heart's frame

    def place(x: float, y: float, z: float) -> Array:
        return np.asarray(x * left + y * back + z * up)

    chest = float(rng.uniform(62, 85))
    dome = ellipsoid(place(-35, 0, -130), np.full(3, float(rng.uniform(72, 90))))
    spine = hose(np.array([place(0, rng.uniform(78, 90), z) for z in (-120, 120)]), 17.0)
    aorta = hose(
        np.array([place(18, rng.uniform(58, 68), z) for z in (-120, 0, 120)]),
        float(rng.uniform(9, 14)),
    )
    wall = either(beyond(-back, chest), beyond(back, chest + 38.0))
    bone = Waves.draw(rng, 4.0, 45.0)
    return [
        Tissue("lung", _everywhere, float(rng.uniform(-890, -780)), Waves.draw(rng, 7.0, 25.0)),
        *_lung_vessels(contrast, rng),
        Tissue("liver", dome, float(rng.uniform(60, 125)), Waves.draw(rng, 10.0, 6.0)),
        Tissue("chest wall", wall, float(rng.uniform(-100, 55)), Waves.draw(rng, 9.0, 25.0)),
        *_ribs(chest, place, bone, rng),
        Tissue("spine", spine, float(rng.uniform(160, 320)), bone),
        Tissue("wall of the descending aorta", grown(aorta, 1.5), 60.0),
        Tissue("descending aorta", aorta, contrast.artery),
        Tissue("pericardium", grown(cavities.pericardium, float(rng.uniform(0.8, 2.0))), 35.0),
    ]


def _everywhere(x: Array) -> Array:
    return np.full(len(x), -1e3)


def _lung_vessels(contrast: Contrast, rng: np.random.Generator) -> list[Tissue]:
    vessels: list[Hose] = []
    for _ in range(int(rng.integers(25, 45))):
        start = rng.normal(size=3)
        start *= rng.uniform(48, 95) / np.linalg.norm(start)
        bends = np.cumsum(rng.normal(0, 1, (4, 3)) + 0.8 * rng.normal(size=3), axis=0)
        vessels.append(
            hose(
                np.vstack([start, start + 9 * bends]),
                rng.uniform(0.6, 2.6) * np.linspace(1, 0.5, 5),
                1.0,
            )
        )
    return [
        Tissue(
            "lung vessels",
            reduce(Hose.joined, vessels),
            float(rng.uniform(0.5, 1.0)) * contrast.right,
        )
    ]


def _ribs(
    chest: float,
    place: Callable[[float, float, float], Array],
    bone: Waves,
    rng: np.random.Generator,
) -> list[Tissue]:
    tissues = []
    for z in np.arange(-90.0, 100.0, float(rng.uniform(24, 30))):
        slope = float(rng.uniform(0.2, 0.45))
        line = np.array(
            [
                place(x, -chest - 9.0 + 0.004 * x * x, z + slope * abs(x))
                for x in np.linspace(-90, 90, 40)
            ]
        )
        rib = hose(line, float(rng.uniform(4.0, 6.0)), 1.0)
        tissues.append(Tissue("rib", rib, float(rng.uniform(250, 550)), bone))
    return tissues
