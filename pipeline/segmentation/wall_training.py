"""Training of the wall network on straightened synthetic CT.

What counts is a section's area: the pressure drop of a throat goes with its inverse square. So besides every pixel's
share, the loss has the error of the areas' logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.segmentation.network import half_precision
from pipeline.segmentation.optimise import Training, device_here, optimise
from pipeline.segmentation.strips import PIXEL_MM
from pipeline.segmentation.wall_network import WallDesign, WallModel, build, inputs_of, save
from pipeline.segmentation.wall_samples import WallSample, WallSource, wall_samples

_AREA_MM2 = (
    0.12  # added to areas before their ratio is taken: nothing thinner than 0.4 mm is asked for
)
_BEND = 0.1  # of a ratio's logarithm: smaller errors count with their square
_ENTROPY, _DICE, _AREA = 5.0, 0.5, 1.0  # parts of the loss
_OWN = 3.0  # weight of a pixel near the vessel, one elsewhere
_TONE, _TONE_HU, _BLOOD = 0.02, 8.0, 0.03  # deviations that samples are toned by


class Drawn(NamedTuple):
    """A sample as a step of training takes it.

    Attributes:
        hu: Attenuations, ``(sections, ACROSS, ACROSS)``.
        blood_hu: Of the aorta.
        share: Part of each pixel inside a lumen.
        known: Where that is asked.
        own: Where the blood is the vessel's own.
    """

    hu: torch.Tensor
    blood_hu: torch.Tensor
    share: torch.Tensor
    known: torch.Tensor
    own: torch.Tensor


@dataclass(frozen=True, slots=True)
class WallStream:
    """How samples are drawn.

    Attributes:
        source: Of the scenes.
        again: How often each is drawn in the mean, turned and toned another way.
        store: Samples kept.
    """

    source: WallSource = field(default_factory=WallSource)
    again: int = 4
    store: int = 3000


class WallPatches(IterableDataset[Drawn]):
    """Samples without end."""

    def __init__(self, stream: WallStream, seed: int = 0) -> None:
        self._stream, self._seed = stream, seed

    def __iter__(self) -> Iterator[Drawn]:
        """Each worker draws its own."""
        worker = get_worker_info()
        seed = [self._seed, 0 if worker is None else worker.id]
        rng, store = np.random.default_rng([*seed, 79]), list[WallSample]()
        for sample in wall_samples(self._stream.source, np.random.default_rng([*seed, 78])):
            if len(store) < self._stream.store:
                store.append(sample)
            else:
                store[int(rng.integers(len(store)))] = sample
            yield turned(sample, rng)
            for _ in range(self._stream.again - 1):
                yield turned(store[int(rng.integers(len(store)))], rng)


def turned(sample: WallSample, rng: np.random.Generator) -> Drawn:
    """A sample, mirrored and turned in its sections and along the vessel, its attenuations shifted a little."""
    flips = tuple(k for k in range(3) if rng.uniform() < 0.5)
    swap = bool(rng.uniform() < 0.5)

    def of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(np.flip(values.swapaxes(1, 2) if swap else values, flips))

    scale, shift = np.float32(rng.normal(1, _TONE)), np.float32(rng.normal(0, _TONE_HU))
    return Drawn(
        torch.from_numpy(of(sample.hu).astype(np.float32) * scale + shift),
        torch.tensor(sample.blood_hu * rng.normal(1, _BLOOD), dtype=torch.float32),
        torch.from_numpy(of(sample.share).astype(np.float32) / np.float32(255)),
        torch.from_numpy(of(sample.known)),
        torch.from_numpy(of(sample.own)),
    )


def area_error(p: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Mean error of the logarithm of the areas of the vessel's own blood (Huber's), over sections all known.

    Args:
        p: Probabilities of lumen, ``(n, sections, ACROSS, ACROSS)``.
        drawn: A batch.
    """
    there, found = (
        (v * drawn.own).sum(dim=(2, 3)) * PIXEL_MM**2 + _AREA_MM2 for v in (drawn.share, p)
    )
    error = torch.nn.functional.smooth_l1_loss(
        found.log(), there.log(), reduction="none", beta=_BEND
    )
    whole = (drawn.known | ~drawn.own).flatten(2).all(dim=2)
    counts = whole & drawn.own.flatten(2).any(dim=2)
    return (error * counts).sum() / counts.sum().clamp(min=1)


def wall_loss(logits: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Cross-entropy, Dice and the error of areas; ``(n, sections, ACROSS, ACROSS)``."""
    p, known = torch.sigmoid(logits), drawn.known
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, drawn.share, reduction="none"
    )
    weight = known * (1.0 + (_OWN - 1.0) * drawn.own)
    mean = (entropy * weight).sum() / known.sum().clamp(min=1)
    both = 2 * (p * drawn.share * known).sum() + 1.0
    dice = 1 - both / (((p * p + drawn.share**2) * known).sum() + 1.0)
    return _ENTROPY * mean + _DICE * dice + _AREA * area_error(p, drawn)


def train_walls(
    folder: Path,
    how: Training,
    stream: WallStream | None = None,
    begin: WallModel | None = None,
    design: WallDesign | None = None,
) -> WallModel:
    """Train a wall network; ``walls.safetensors`` and what `optimise` keeps in the folder.

    Args:
        folder: Where; a training that was cut short goes on.
        how: How long and how.
        stream: How samples are drawn.
        begin: A model whose weights and design it begins with.
        design: Of the network, without one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device, samples = device_here(), stream or WallStream()
    made = begin.design if begin is not None else design or WallDesign()
    torch.manual_seed(how.seed)
    network = build(made).to(device)
    if begin is not None:
        network.load_state_dict(begin.network.state_dict())
    card: dict[str, Any] = {
        "data": ["straightened synthetic CT of ffr3d (pipeline.phantom.scan)"],
        "stream": asdict(samples),
        "training": asdict(how),
        "begun_with": begin.card if begin else None,
    }

    def loss_of(network: torch.nn.Module, drawn: Drawn) -> torch.Tensor:
        with half_precision(device):
            logits = network(inputs_of(drawn.hu, drawn.blood_hu))
        return wall_loss(logits.float()[:, 0], drawn)

    def keep(averaged: torch.nn.Module, done: dict[str, Any]) -> None:
        card["done"] = done
        save(WallModel(averaged, made, card), folder / "walls.safetensors")

    averaged = optimise(
        network, lambda seed: WallPatches(samples, seed), loss_of, how, folder, keep
    )
    return WallModel(averaged, made, card)
