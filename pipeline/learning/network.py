"""The network that corrects a vessel's losses, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from meshing.errors import InputError
from pipeline.learning.features import NAMES

_VISCOUS, _TURBULENT, _LOCAL = (-1.0, 1.5), (-2.0, 2.0), 0.05
_KEY = "ffr3d_fast"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a network.

    Attributes:
        channels: Of every layer.
        dilations: Of its layers, each five points wide.
    """

    channels: int = 24
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)


class Corrections(nn.Module):
    """Convolutions along a line: features in, changes of its losses out. Untrained it changes nothing."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = [len(NAMES), *[shape.channels] * len(shape.dilations)]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 5, padding=2 * d, dilation=d)
            for a, b, d in zip(widths[:-1], widths[1:], shape.dilations, strict=True)
        )
        self.last = nn.Conv1d(shape.channels, 3, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.zeros(len(NAMES)))
        self.register_buffer("scale", torch.ones(len(NAMES)))
        self.mean: torch.Tensor
        self.scale: torch.Tensor

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logarithms of the factors, and the local loss over 0.05 velocity heads a diameter.

        Args:
            features: ``(b, n, len(NAMES))``.

        Returns:
            ``(b, n, 3)``.
        """
        x = ((features - self.mean) / self.scale).clamp(-5.0, 5.0).transpose(1, 2)
        for k, layer in enumerate(self.layers):
            y = torch.nn.functional.gelu(layer(x))
            x = y if k == 0 else x + y
        out: torch.Tensor = self.last(x).transpose(1, 2)
        return out


def changes(raw: torch.Tensor) -> torch.Tensor:
    """Factors of viscous and turbulent losses, and the local loss in velocity heads a diameter, ``(..., 3)``."""
    return torch.stack(
        [
            raw[..., 0].clamp(*_VISCOUS).exp(),
            raw[..., 1].clamp(*_TURBULENT).exp(),
            _LOCAL * raw[..., 2],
        ],
        dim=-1,
    )


def save(members: Sequence[Corrections], shape: Shape, card: Mapping[str, Any], path: Path) -> None:
    """Write an ensemble: its weights, and in the header what it is.

    Args:
        members: Networks of one shape.
        shape: Theirs.
        card: Data, scores, calibration; JSON-able.
        path: A ``.safetensors`` file.
    """
    tensors = {
        f"{k}.{name}": value.contiguous()
        for k, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    told = {"version": VERSION, "members": len(members), "shape": asdict(shape), "features": NAMES}
    header = {_KEY: json.dumps({**told, "card": card}, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, path, header)


def load(path: Path) -> tuple[list[Corrections], dict[str, Any]]:
    """An ensemble and its card.

    Raises:
        InputError: The file cannot be read, or is another model's.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told["version"] != VERSION or told["features"] != list(NAMES):
            raise ValueError(f"version {told['version']} with {len(told['features'])} features")
        shape = Shape(told["shape"]["channels"], tuple(told["shape"]["dilations"]))
        members = []
        for k in range(told["members"]):
            member = Corrections(shape)
            own = {n.split(".", 1)[1]: t for n, t in tensors.items() if n.startswith(f"{k}.")}
            member.load_state_dict(own)
            members.append(member.eval())
    except (OSError, KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(
            file=path,
            wanted=f"a model of 'ffr3d fit', version {VERSION}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="fit it again: ffr3d fit DATASET --output NAME.safetensors",
        ) from None
    return members, told["card"]
