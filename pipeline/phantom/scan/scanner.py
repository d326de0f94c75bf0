"""The scanner: a point spread (with overshoot for sharp kernels), and noise of the same grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.phantom.path import Array
from pipeline.phantom.scan.lattice import Field


@dataclass(frozen=True, slots=True)
class Scanner:
    """How the image is made.

    Attributes:
        blur_mm: Full width at half maximum of the point spread, in the slice and across slices, ``(2,)``.
        sharpness: Overshoot of the kernel: 0 none (soft tissue), 0.6 strong.
        noise_hu: Standard deviation of the noise [HU].
        grain: Width of the noise's correlation over that of the point spread.
    """

    blur_mm: tuple[float, float]
    sharpness: float
    noise_hu: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Scanner:
        """A point spread of 0.5 to 0.95 mm, a soft to sharp kernel, noise of 12 to 45 HU."""
        return cls(
            (float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.5, 0.95))),
            float(rng.uniform(0, 0.5)),
            float(rng.uniform(12, 45)),
            float(rng.uniform(0.6, 1.2)),
        )


def scanned(hu: Field, spacing: Array, scanner: Scanner, rng: np.random.Generator) -> Field:
    """The image of an exact one: point spread, kernel and noise.

    Args:
        hu: What is there [HU], ``(nx, ny, nz)``.
        spacing: Of the voxels [mm], ``(3,)``.
        scanner: How.
        rng: Draws the noise.
    """
    widths = np.array([scanner.blur_mm[0], scanner.blur_mm[0], scanner.blur_mm[1]]) / 2.355
    sigma = np.maximum(widths / spacing, 0.05)
    smooth = gaussian_filter(hu, sigma, mode="nearest")
    if scanner.sharpness > 0:
        smooth += np.float32(scanner.sharpness) * (
            smooth - gaussian_filter(smooth, 1.6 * sigma, mode="nearest")
        )
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = gaussian_filter(noise, np.maximum(scanner.grain * sigma, 0.3), mode="wrap")
    noise -= np.float32(0.6) * gaussian_filter(
        noise, 3.0 * sigma, mode="wrap"
    )  # filtered back projection has no slow noise
    return np.asarray(smooth + noise * np.float32(scanner.noise_hu / noise.std()), dtype=np.float32)
