"""The wall network: a small U-Net that sees one vessel, straightened, and tells its lumen section by section.

The segmentation network finds vessels anywhere; of a throat's width of two voxels it knows little. Along a vessel that
is known already a network needs no more than some sections to both sides, in a frame that turns with the vessel and in
units of its own blood's contrast. References: Wolterink et al., Med Phys 2019 (doi 10.1002/mp.13331) and Lee et al.,
Med Image Anal 2019 (doi 10.1016/j.media.2019.101568), who segment coronary walls about given centrelines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.segmentation.network import loaded, unet, written
from pipeline.segmentation.strips import ACROSS, PIXEL_MM

FORMAT = "ffr3d-walls-1"
_TISSUE_HU = 60.0
_BRIGHTEST = 4.0  # of the blood's contrast
_HU = 800.0
_MIDDLE_MM = 1.5


@dataclass(frozen=True, slots=True)
class WallDesign:
    """What the network is made of.

    Attributes:
        filters: Channels of the levels, finest first.
    """

    filters: tuple[int, ...] = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class WallModel:
    """A network with its design and card.

    Attributes:
        network: ``(n, 3, sections, ACROSS, ACROSS)`` (`inputs_of`) to logits ``(n, 1, sections, ACROSS, ACROSS)``.
        design: What it is made of.
        card: Data, metrics, limits; JSON-able.
    """

    network: torch.nn.Module
    design: WallDesign
    card: dict[str, Any] = field(default_factory=dict)


def build(design: WallDesign) -> torch.nn.Module:
    """A network with fresh weights."""
    return unet(3, 1, design.filters)


def inputs_of(hu: torch.Tensor, blood_hu: torch.Tensor) -> torch.Tensor:
    """What the network sees of strips: contrast over the blood's, attenuation, nearness to the middle.

    Args:
        hu: ``(n, sections, ACROSS, ACROSS)``.
        blood_hu: Of the aorta, ``(n,)``.

    Returns:
        ``(n, 3, sections, ACROSS, ACROSS)``.
    """
    contrast = (hu - _TISSUE_HU) / (blood_hu[:, None, None, None] - _TISSUE_HU)
    at = (torch.arange(ACROSS, dtype=hu.dtype, device=hu.device) - 0.5 * (ACROSS - 1)) * PIXEL_MM
    near = torch.exp(-0.5 * (at[:, None] ** 2 + at**2) / _MIDDLE_MM**2)
    return torch.stack(
        [
            contrast.clamp(-1.0, _BRIGHTEST),
            (hu / _HU).clamp(-1.0, 2.5),
            near.expand_as(hu),
        ],
        dim=1,
    )


def save(model: WallModel, path: Path) -> None:
    """Write weights (half precision) and what belongs to them into one safetensors file."""
    written(model.network, FORMAT, asdict(model.design), model.card, path)


def load(path: Path) -> WallModel:
    """Read what `save` wrote.

    Raises:
        InputError: No such file, not safetensors, or of another program or another design.
    """
    made = lambda raw: build(WallDesign(**raw))  # noqa: E731
    network, raw, card = loaded(path, FORMAT, made, "ffr3d train-walls")
    return WallModel(network, WallDesign(**raw), card)
