"""How networks are trained here, whatever they learn: until the steps or the hours are over.

Killed, a training goes on from its last checkpoint. What is saved is a running mean of the weights, with every
checkpoint.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

log = logging.getLogger("ffr3d")
_MEAN = 0.995  # of the running mean of the weights, kept a step
_CLIP = 5.0  # norm of a gradient


@dataclass(frozen=True, slots=True)
class Training:
    """How long and how.

    Attributes:
        steps: Optimiser steps in all.
        hours: How long at most: the learning rate then falls with the time, where that is gone first.
        batch: Samples a step.
        rate: Largest learning rate (AdamW; `_rate` has its course).
        workers: Processes that make samples.
        seed: Of weights and samples.
        save_every: Steps between checkpoints.
    """

    steps: int = 4000
    hours: float | None = None
    batch: int = 2
    rate: float = 2e-3
    workers: int = 1
    seed: int = 0
    save_every: int = 100


def optimise[N: torch.nn.Module, S: tuple[torch.Tensor, ...]](
    network: N,
    samples: Callable[[int], IterableDataset[S]],
    loss_of: Callable[[N, S], torch.Tensor],
    how: Training,
    folder: Path,
    keep: Callable[[N, dict[str, Any]], None],
) -> N:
    """Lower a loss; ``checkpoint.pt`` and ``training.csv`` in the folder.

    The checkpoint is the optimiser's state, read back by torch with tensors only (never arbitrary pickles).

    Args:
        network: With the weights to begin with; on the device it is to be trained on.
        samples: Named tuples of tensors without end, from a seed.
        loss_of: The loss of a batch.
        how: How long and how.
        folder: Where; a training that was cut short goes on.
        keep: Saves the running mean of the weights, with what is done (steps, seconds).

    Returns:
        The running mean.
    """
    device = next(network.parameters()).device
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_MEAN))
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.rate, weight_decay=1e-4)
    state = {"network": network, "mean": mean, "optimiser": optimiser}
    first, before = _resume(folder / "checkpoint.pt", state, device)
    loader: Iterable[S] = DataLoader(
        samples(how.seed + 7 * first),
        how.batch,
        num_workers=how.workers,
        pin_memory=device.type == "cuda",
    )
    began, recent = time.monotonic() - before, list[torch.Tensor]()
    averaged = mean.module
    assert isinstance(averaged, type(network))
    end = math.inf if how.hours is None else how.hours * 3600.0

    def checkpoint(step: int, seconds: float) -> None:
        _note(folder, step, recent, seconds)
        recent.clear()
        _checkpoint(folder / "checkpoint.pt", state, step, seconds)
        keep(averaged, {"steps": step, "seconds": round(seconds)})

    for step, drawn in enumerate(loader, start=first + 1):
        seconds = time.monotonic() - began
        if step > how.steps or seconds > end:
            break
        for group in optimiser.param_groups:
            group["lr"] = how.rate * _rate(max(step / how.steps, seconds / end))
        sample = type(drawn)(*(part.to(device, non_blocking=True) for part in drawn))
        loss = loss_of(network, sample)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        mean.update_parameters(network)
        recent.append(loss.detach())
        if step % how.save_every == 0 or step == how.steps:
            checkpoint(step, seconds)
    if recent:
        checkpoint(step - 1, seconds)
    return averaged.eval().cpu()


def device_here() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _rate(done: float) -> float:
    """Part of the largest learning rate: a short rise, then half a cosine down to a hundredth."""
    return min(done / 0.03, 0.5 * (1.01 + 0.99 * math.cos(math.pi * min(done, 1.0)))) + 1e-3


def _note(folder: Path, step: int, recent: list[torch.Tensor], seconds: float) -> None:
    mean = float(torch.stack(recent).mean())
    log.info("train    step %d, loss %.4f, %.0f s", step, mean, seconds)
    with (folder / "training.csv").open("a", newline="") as file:
        csv.writer(file).writerow([step, f"{mean:.6f}", f"{seconds:.1f}"])


def _checkpoint(path: Path, state: dict[str, Any], step: int, seconds: float) -> None:
    part, told = path.with_suffix(".part"), {"step": step, "seconds": seconds}
    torch.save({**told, **{name: it.state_dict() for name, it in state.items()}}, part)
    part.replace(path)


def _resume(path: Path, state: dict[str, Any], device: torch.device) -> tuple[int, float]:
    """Steps and seconds that were done before."""
    if not path.exists():
        return 0, 0.0
    saved = torch.load(path, map_location=device, weights_only=True)
    for name, it in state.items():
        it.load_state_dict(saved[name])
    return int(saved["step"]), float(saved["seconds"])
