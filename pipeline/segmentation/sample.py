"""One training sample: a patch, the wide image it lies in, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from pipeline.phantom.path import Array
from pipeline.segmentation.network import Design

Singles = npt.NDArray[np.float32]
_WIDE_NOISE = 12.0  # [HU], at most: wide voxels are means of many


class Sample(NamedTuple):
    """What one step of training takes of a patch; all float32.

    Attributes:
        image: Scaled attenuations, ``(1, n, n, n)``.
        shares: Of the outputs in every voxel; NaN where not known, ``(outputs, n, n, n)``.
        wide: Scaled attenuations on the wide voxels, ``(1, m, m, m)``.
        wide_shares: Of the wide network's outputs there, ``(wide outputs, m, m, m)``.
        place: Voxel of the patch to voxel of the wide image, ``(3, 4)``.
    """

    image: torch.Tensor
    shares: torch.Tensor
    wide: torch.Tensor
    wide_shares: torch.Tensor
    place: torch.Tensor


@dataclass(frozen=True, slots=True)
class Wide:
    """A heart on wide voxels.

    Attributes:
        hu: Attenuations.
        shares: 255 times those of the wide network's outputs (of those that are known).
        affine: Of the voxels.
        inside: Where there is an image; None for everywhere.
        known: Which outputs are; None for all.
    """

    hu: npt.NDArray[np.int16]
    shares: npt.NDArray[np.uint8]
    affine: Array
    inside: npt.NDArray[np.bool_] | None = None
    known: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """How a patch is turned and toned.

    Attributes:
        order: Old axis of each new one.
        flips: New axes that are mirrored.
        shift: Added to attenuations [HU].
        scale: They are multiplied by, before.
    """

    order: tuple[int, int, int]
    flips: tuple[int, ...]
    shift: float
    scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Turn:
        """Any of the forty-eight ways, tones changed by some per cent."""
        flips = tuple(k for k in range(3) if rng.uniform() < 0.5)
        a, b, c = (int(k) for k in rng.permutation(3))
        return cls((a, b, c), flips, float(rng.normal(0, 15)), float(rng.normal(1, 0.03)))

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values whose last three axes are the patch's."""
        before = values.ndim - 3
        axes = (*range(before), *(before + k for k in self.order))
        turned = np.flip(values.transpose(axes), tuple(before + k for k in self.flips))
        return np.ascontiguousarray(turned)

    def toned(self, hu: Singles) -> Singles:
        """Attenuations shifted and scaled a little."""
        return np.asarray(hu * np.float32(self.scale) + np.float32(self.shift))

    def matrix(self, shape: tuple[int, ...]) -> Array:
        """Voxel of the turned patch to voxel of the patch, ``(4, 4)``.

        Args:
            shape: Of the patch before.
        """
        out = np.zeros((4, 4))
        out[3, 3] = 1.0
        for new, old in enumerate(self.order):
            mirrored = new in self.flips
            out[old, new] = -1.0 if mirrored else 1.0
            out[old, 3] = shape[old] - 1.0 if mirrored else 0.0
        return out


def sample_of(
    design: Design,
    patch: tuple[Singles, Singles, Array],
    wide: Wide,
    turn: Turn,
    rng: np.random.Generator,
) -> Sample:
    """Put a sample together.

    Args:
        design: Of the network.
        patch: Attenuations, shares and affine.
        wide: The wide image around it.
        turn: How the patch is turned, and both are toned.
        rng: Draws the wide image's noise and blur.
    """
    hu, shares, affine = patch
    place = np.linalg.inv(wide.affine) @ affine @ turn.matrix(hu.shape)
    seen = wide.hu.astype(np.float32)
    if rng.uniform() < 0.5:
        seen = gaussian_filter(seen, rng.uniform(0.2, 0.6))
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    seen = turn.toned(seen + np.float32(rng.uniform(0, _WIDE_NOISE)) * noise)
    asked = np.full((len(design.wide_outputs), *seen.shape), np.nan, np.float32)
    asked[slice(None) if wide.known is None else wide.known] = wide.shares / np.float32(255)
    if wide.inside is not None:
        seen = np.where(wide.inside, seen, -1024.0).astype(np.float32)
        asked[:, ~wide.inside] = np.nan
    return Sample(
        _scaled(design, turn.toned(turn.of(hu))),
        torch.from_numpy(turn.of(shares)),
        _scaled(design, seen),
        torch.from_numpy(asked),
        torch.from_numpy(place[:3].astype(np.float32)),
    )


def _scaled(design: Design, hu: Singles) -> torch.Tensor:
    return design.scaled(torch.from_numpy(hu))[None]
