"""What a scan consists of, and what each tissue is worth in Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.scan.shapes import Shape, Waves

CHAMBERS = ("left heart", "right heart")


@dataclass(frozen=True, slots=True)
class Tissue:
    """A shape of one material.

    Attributes:
        name: Organ.
        shape: Signed distance in the heart's frame [mm].
        hu: Mean attenuation [HU].
        texture: What comes on top [HU], a field in the heart's frame; None for none.
        chamber: Left or right heart, if it is blood of theirs (`CHAMBERS`).
    """

    name: str
    shape: Shape
    hu: float
    texture: Waves | None = None
    chamber: str = ""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Attenuation of blood [HU], as the contrast medium has it at the moment of the scan.

    Attributes:
        artery: Aorta and left heart; coronaries at their ostia.
        fade: Part of it that is lost along 100 mm of coronary artery.
        right: Right heart and pulmonary artery (early scans bright, late ones washed out).
        vein: Coronary veins.
    """

    artery: float
    fade: float
    right: float
    vein: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Contrast:
        """An artery of 290 to 620 HU; right heart and veins anything from hardly enhanced to as bright."""
        artery = float(rng.uniform(290, 620))
        return cls(
            artery=artery,
            fade=float(rng.uniform(0.0, 0.25)),
            right=float(rng.uniform(0.15, 1.05) * artery + 30),
            vein=float(rng.uniform(0.15, 0.85) * artery + 30),
        )
