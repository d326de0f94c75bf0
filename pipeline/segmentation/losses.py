"""What training lowers: cross-entropy, Dice, clDice for the lumen's connectedness, and how far off its width is.

Shares that are not a number are not known, and count for nothing.

Reference: Shit et al., clDice, CVPR 2021, doi 10.1109/CVPR46437.2021.01629 (soft skeletons; MONAI's SoftclDiceLoss).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_WEIGHTS = (1.0, 0.25, 0.5, 0.25, 0.25)  # lumen, aorta, calcium, wall, stent
_LOCAL = 5  # voxels across the cubes that the lumen's volume is compared in
_SOME, _MORE = (
    0.02,
    0.05,
)  # shares of such a cube: from the first on it counts; added to what an error is relative to
_WIDE_WEIGHTS = (0.5, 0.25, 0.25)  # aorta, left heart, right heart


def soft_dice(p: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """1 - Dice of probabilities against shares, over all voxels of all samples."""
    both = 2 * (p * share).sum() + 1.0
    return 1 - both / ((p * p).sum() + (share * share).sum() + 1.0)


def width_error(p: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Mean relative error of the lumen's volume in small cubes along it: of its area, a throat's as much as a trunk's.

    A throat has few voxels, so the other terms hardly see it; its drop goes with the area squared.

    Args:
        p: Probabilities of the lumen, ``(n, 1, x, y, z)``.
        share: The true ones, of the same shape.
    """
    there, found = (torch.nn.functional.avg_pool3d(v, _LOCAL, stride=2) for v in (share, p))
    counts = there > _SOME
    error = (found - there).abs() / (there + _MORE)
    return (error * counts).sum() / counts.sum().clamp(min=1)


def segmentation_loss(cldice: float = 0.2, width: float = 1.0) -> Loss:
    """The sum over the outputs; ``cldice`` weighs the lumen's connectedness, ``width`` its `width_error`."""
    from monai.losses.cldice import SoftclDiceLoss

    skeleton = SoftclDiceLoss(iter_=4)

    def loss(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        total = _by_output(logits.float(), share, _WEIGHTS)
        p = torch.sigmoid(logits[:, :1].float()) * torch.isfinite(share[:, :1])
        lumen = torch.nan_to_num(share[:, :1])
        if cldice > 0:
            total = total + cldice * skeleton(p, lumen)
        if width > 0:
            total = total + width * width_error(p, lumen)
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
