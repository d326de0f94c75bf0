"""Training of the segmentation network: synthetic patches and users' datasets, on a GPU where there is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from pipeline.segmentation.dataset import FilePatches, Mixed, prepare, read_dataset
from pipeline.segmentation.losses import segmentation_loss, wide_loss
from pipeline.segmentation.network import Cascade, Design, Model, build, half_precision, save
from pipeline.segmentation.optimise import Training, device_here, optimise
from pipeline.segmentation.patches import Patches, Stream
from pipeline.segmentation.sample import Sample


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
    folder: Path,
    design: Design,
    data: Data,
    how: Training,
    begin: Model | None = None,
    *,
    keep_wide: bool = False,
) -> Model:
    """Train a network; ``model.safetensors`` and what `optimise` keeps in the folder.

    Args:
        folder: Where; a training that was cut short goes on.
        design: Of the network.
        data: What it learns from.
        how: How long and how.
        begin: A model of the same design whose weights it begins with.
        keep_wide: The wide network stays as it was begun with: half the time of a step.

    Raises:
        InputError: A dataset that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device, terms = device_here(), segmentation_loss()
    torch.manual_seed(how.seed)
    network = build(design).to(device)
    if begin is not None:
        network.load_state_dict(begin.network.state_dict())
    network.wide.requires_grad_(not keep_wide)
    card = _card(data, how, begin) | {"keep_wide": keep_wide}

    def loss_of(network: Cascade, sample: Sample) -> torch.Tensor:
        with half_precision(device):
            logits, seen = network(sample.image, sample.wide, sample.place)
        wide = 0.0 if keep_wide else wide_loss(seen, sample.wide_shares)
        return terms(logits, sample.shares) + wide

    def keep(averaged: Cascade, done: dict[str, Any]) -> None:
        card["done"] = done
        save(Model(averaged, design, card), folder / "model.safetensors")

    averaged = optimise(
        network, lambda seed: data.patches(design, folder, seed), loss_of, how, folder, keep
    )
    return Model(averaged, design, card)


def _card(data: Data, how: Training, begin: Model | None) -> dict[str, Any]:
    synthetic = "synthetic CT of ffr3d (pipeline.phantom.scan)"
    return {
        "data": [*([synthetic] if data.stream else []), *(path.name for path in data.datasets)],
        "stream": asdict(data.stream) if data.stream else None,
        "training": asdict(how),
        "begun_with": begin.card if begin else None,
    }
