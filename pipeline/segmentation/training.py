"""Training: synthetic patches and users' datasets, on a GPU where there is one.

Killed, it goes on from its last checkpoint. What is saved is a running mean of the weights, with every checkpoint.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

from pipeline.segmentation.dataset import FilePatches, Mixed, prepare, read_dataset
from pipeline.segmentation.losses import segmentation_loss, wide_loss
from pipeline.segmentation.network import Cascade, Design, Model, build, half_precision, save
from pipeline.segmentation.patches import Patches, Stream
from pipeline.segmentation.sample import Sample

log = logging.getLogger("ffr3d")


@dataclass(frozen=True, slots=True)
class Training:
    """How long and how.

    Attributes:
        steps: Optimiser steps in all.
        hours: How long at most: the learning rate then falls with the time, where that is gone first.
        batch: Patches a step.
        rate: Largest learning rate (AdamW; `_rate` has its course).
        workers: Processes that make patches.
        keep_wide: The wide network stays as it was begun with: half the time of a step.
        seed: Of weights and patches.
        save_every: Steps between checkpoints.
    """

    steps: int = 4000
    hours: float | None = None
    batch: int = 2
    rate: float = 2e-3
    workers: int = 1
    keep_wide: bool = False
    seed: int = 0
    save_every: int = 100


@dataclass(frozen=True, slots=True)
class Data:
    """What a network is trained on.

    Attributes:
        stream: How synthetic patches are drawn; None for none.
        datasets: Folders in nnU-Net's layout; patches of each are drawn as often as synthetic ones.
        edge: Voxels along an edge of the datasets' patches.
    """

    stream: Stream | None = field(default_factory=Stream)
    datasets: tuple[Path, ...] = ()
    edge: int = 64

    def patches(self, design: Design, folder: Path, seed: int) -> IterableDataset[Sample]:
        """Samples without end; the datasets' cases are prepared in the folder.

        Raises:
            InputError: A dataset that cannot be read.
        """
        sources: list[IterableDataset[Sample]] = []
        if self.stream is not None:
            sources.append(Patches(design, self.stream, seed))
        for number, where in enumerate(self.datasets):
            cases = prepare(read_dataset(where), design, folder / "prepared" / f"{number}")
            sources.append(FilePatches(cases, design, self.edge, seed))
        return sources[0] if len(sources) == 1 else Mixed(sources)


def train(
    folder: Path, design: Design, data: Data, how: Training, begin: Model | None = None
) -> Model:
    """Train a network; ``model.safetensors``, ``checkpoint.pt`` and ``training.csv`` in the folder.

    The checkpoint is the optimiser's state, read back by torch with tensors only (never arbitrary pickles).

    Args:
        folder: Where; a training that was cut short goes on.
        design: Of the network.
        data: What it learns from.
        how: How long and how.
        begin: A model of the same design whose weights it begins with.

    Raises:
        InputError: A dataset that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(how.seed)
    network = build(design).to(device)
    if begin is not None:
        network.load_state_dict(begin.network.state_dict())
    network.wide.requires_grad_(not how.keep_wide)
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.rate, weight_decay=1e-4)
    state = {"network": network, "mean": mean, "optimiser": optimiser}
    first, before = _resume(folder / "checkpoint.pt", state, device)
    patches = data.patches(design, folder, how.seed + 7 * first)
    on_gpu = device.type == "cuda"
    loader = DataLoader(patches, how.batch, num_workers=how.workers, pin_memory=on_gpu)
    loss_of, began, recent = segmentation_loss(), time.monotonic() - before, list[torch.Tensor]()
    averaged = mean.module
    assert isinstance(averaged, Cascade)
    model = Model(averaged, design, _card(data, how, begin))
    end = math.inf if how.hours is None else how.hours * 3600.0

    def keep(step: int, seconds: float) -> None:
        _note(folder, step, recent, seconds)
        recent.clear()
        _checkpoint(folder / "checkpoint.pt", state, step, seconds)
        model.card["done"] = {"steps": step, "seconds": round(seconds)}
        save(model, folder / "model.safetensors")

    for step, drawn in enumerate(loader, start=first + 1):
        seconds = time.monotonic() - began
        if step > how.steps or seconds > end:
            break
        for group in optimiser.param_groups:
            group["lr"] = how.rate * _rate(max(step / how.steps, seconds / end))
        sample = Sample(*(part.to(device, non_blocking=True) for part in drawn))
        with half_precision(device):
            logits, seen = network(sample.image, sample.wide, sample.place)
        wide = 0.0 if how.keep_wide else wide_loss(seen, sample.wide_shares)
        loss = loss_of(logits, sample.shares) + wide
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        mean.update_parameters(network)
        recent.append(loss.detach())
        if step % how.save_every == 0 or step == how.steps:
            keep(step, seconds)
    if recent:
        keep(step - 1, seconds)
    return replace(model, network=averaged.eval().cpu())


def _rate(done: float) -> float:
    """Part of the largest learning rate: a short rise, then half a cosine down to a hundredth."""
    return min(done / 0.03, 0.5 * (1.01 + 0.99 * math.cos(math.pi * min(done, 1.0)))) + 1e-3


def _card(data: Data, how: Training, begin: Model | None) -> dict[str, Any]:
    synthetic = "synthetic CT of ffr3d (pipeline.phantom.scan)"
    return {
        "data": [*([synthetic] if data.stream else []), *(path.name for path in data.datasets)],
        "stream": asdict(data.stream) if data.stream else None,
        "training": asdict(how),
        "begun_with": begin.card if begin else None,
    }


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
