"""The network: a small U-Net on cubes of 0.4 mm, its weights in safetensors with what they need to be used.

Input: Hounsfield units, clipped and scaled. Output: a probability each for coronary lumen, aorta, calcium, wall with
plaque, and stent (`pipeline.phantom.scan.TISSUES`), trained on shares, so that a half is where the wall is, between
voxels.

Reference: Isensee et al., Nat Methods 2021;18:203-211, doi 10.1038/s41592-020-01008-z (instance-normed U-Net of MONAI's
DynUNet).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from meshing.errors import InputError

FORMAT = "ffr3d-segmentation-1"
_TWICE = "skip_layers."  # DynUNet's second names of its own layers


@dataclass(frozen=True, slots=True)
class Design:
    """What a network is made of, and what it expects.

    Attributes:
        voxel_mm: Edge of the cubic voxels it was trained on.
        window_hu: Attenuations that become -1 and 1; clipped at twice that.
        filters: Channels of the levels, finest first; at least three.
        outputs: What its channels are.
    """

    voxel_mm: float = 0.4
    window_hu: tuple[float, float] = (-200.0, 800.0)
    filters: tuple[int, ...] = (16, 32, 64, 128, 160)
    outputs: tuple[str, ...] = ("lumen", "aorta", "calcium", "wall", "stent")

    def scaled(self, hu: torch.Tensor) -> torch.Tensor:
        """Hounsfield units to the network's input."""
        low, high = self.window_hu
        return ((hu - 0.5 * (low + high)) / (0.5 * (high - low))).clamp(-2.0, 2.0)


@dataclass(frozen=True, slots=True)
class Model:
    """A network with its design and card.

    Attributes:
        network: Input ``(n, 1, x, y, z)``, logits ``(n, outputs, x, y, z)``.
        design: What it expects.
        card: Data, metrics, limits; JSON-able.
    """

    network: torch.nn.Module
    design: Design
    card: dict[str, Any] = field(default_factory=dict)


def build(design: Design) -> torch.nn.Module:
    """A network with fresh weights."""
    from monai.networks.nets.dynunet import DynUNet

    levels = len(design.filters)
    network: torch.nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=len(design.outputs),
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(design.filters),
        norm_name=("INSTANCE", {"affine": True}),
    )
    return network


def half_precision(device: torch.device) -> torch.autocast:
    """Products in bfloat16 where the device has them in hardware; elsewhere they take seventy times as long."""
    there = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=there)


def save(model: Model, path: Path) -> None:
    """Write weights (half precision) and everything that belongs to them into one safetensors file."""
    from safetensors.torch import save_file

    weights = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in model.network.state_dict().items()
        if not name.startswith(_TWICE)
    }
    told = {
        "format": FORMAT,
        "design": json.dumps(asdict(model.design)),
        "card": json.dumps(model.card),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, metadata=told)


def load(path: Path) -> Model:
    """Read what `save` wrote.

    Raises:
        InputError: No such file, not safetensors, or of another program or another design.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(
            file=path, wanted="a model", got="no such file", remedy="give one made by 'ffr3d train'"
        )
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if told.get("format") != FORMAT:
            raise ValueError(f"format {told.get('format')!r} instead of {FORMAT!r}")
        raw = json.loads(told["design"])
        design = Design(
            raw["voxel_mm"], tuple(raw["window_hu"]), tuple(raw["filters"]), tuple(raw["outputs"])
        )
        network = build(design)
        missing, unknown = network.load_state_dict(weights, strict=False)
        if unknown or any(not name.startswith(_TWICE) for name in missing):
            raise ValueError(f"{len(missing)} weights missing, {len(unknown)} unknown")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise InputError(
            file=path,
            wanted="a model in safetensors, as 'ffr3d train' writes it",
            got=(str(error).splitlines() or [type(error).__name__])[0],
            remedy="give such a file; pickled weights (.pt, .pth) are never read",
        ) from error
    return Model(network.eval(), design, json.loads(told.get("card", "{}")))
