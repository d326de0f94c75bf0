"""What training lowers: cross-entropy against shares, Dice, and clDice for the lumen's connectedness.

Shares that are not a number are not known, and count for nothing.

Reference: Shit et al., clDice, CVPR 2021, doi 10.1109/CVPR46437.2021.01629 (soft skeletons; MONAI's SoftclDiceLoss).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_WEIGHTS = (1.0, 0.25, 0.5, 0.25, 0.25)  # lumen, aorta, calcium, wall, stent
_WIDE_WEIGHTS = (0.5, 0.25, 0.25)  # aorta, left heart, right heart


def soft_dice(p: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """1 - Dice of probabilities against shares, over all voxels of all samples."""
    both = 2 * (p * share).sum() + 1.0
    return 1 - both / ((p * p).sum() + (share * share).sum() + 1.0)


def segmentation_loss(cldice: float = 0.2) -> Loss:
    """The sum over the outputs; ``cldice`` weighs the lumen's connectedness."""
    from monai.losses.cldice import SoftclDiceLoss

    skeleton = SoftclDiceLoss(iter_=4)

    def loss(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        total = _by_output(logits.float(), share, _WEIGHTS)
        if cldice > 0:
            p = torch.sigmoid(logits[:, :1].float()) * torch.isfinite(share[:, :1])
            total = total + cldice * skeleton(p, torch.nan_to_num(share[:, :1]))
        return total

    return loss


def wide_loss(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The sum over the wide network's outputs."""
    return _by_output(logits.float(), share, _WIDE_WEIGHTS)


def _by_output(
    logits: torch.Tensor, share: torch.Tensor, weights: tuple[float, ...]
) -> torch.Tensor:
    """Cross-entropy and Dice of every output."""
    known, share = torch.isfinite(share), torch.nan_to_num(share)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, share, reduction="none")
    p = torch.sigmoid(logits) * known
    total = torch.zeros((), device=logits.device)
    for k, weight in enumerate(weights[: share.shape[1]]):
        mean = (entropy * known)[:, k].sum() / known[:, k].sum().clamp(min=1)
        total = total + weight * (10.0 * mean + soft_dice(p[:, k], share[:, k]))
    return total
