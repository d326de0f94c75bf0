"""The network: two small U-Nets, one after the other, their weights in safetensors with what they need to be used.

The wide one sees the whole heart on cubes of 2 mm and tells aorta, left and right heart; the fine one sees a window of
cubes of 0.4 mm and what the wide one says there: some centimetres do not tell an aorta from a chamber. Input:
Hounsfield units, clipped and scaled. Output: a probability each for coronary lumen, aorta, calcium, wall with plaque,
and stent (`pipeline.phantom.scan.TISSUES`), trained on shares, so that a half is where the wall is, between voxels.

Reference: Isensee et al., Nat Methods 2021;18:203-211, doi 10.1038/s41592-020-01008-z (instance-normed U-Nets as in
MONAI's DynUNet, and their cascade).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from meshing.errors import InputError

FORMAT = "ffr3d-segmentation-2"
_UNTOLD = 0.3  # part of the training patches that are told nothing: the wide network may be wrong
_TWICE = "skip_layers."  # DynUNet's second names of its own layers


@dataclass(frozen=True, slots=True)
class Design:
    """What a network is made of, and what it expects.

    Attributes:
        voxel_mm: Edge of the cubic voxels it was trained on.
        window_hu: Attenuations that become -1 and 1; clipped at twice that.
        filters: Channels of the levels, finest first; at least three.
        outputs: What its channels are.
        wide_mm: Edge of the wide network's voxels.
        wide_edge: Of its window [voxels].
        wide_filters: Channels of its levels.
        wide_outputs: What its channels are.
        wall: What it says of the first output at the lumen's wall, where it should say a half; measured on scans as in
            training, of other seeds.
    """

    voxel_mm: float = 0.4
    window_hu: tuple[float, float] = (-200.0, 800.0)
    filters: tuple[int, ...] = (16, 32, 64, 128, 160)
    outputs: tuple[str, ...] = ("lumen", "aorta", "calcium", "wall", "stent")
    wide_mm: float = 2.0
    wide_edge: int = 80
    wide_filters: tuple[int, ...] = (16, 32, 64, 96, 128)
    wide_outputs: tuple[str, ...] = ("aorta", "left heart", "right heart")
    wall: float = 0.5

    def scaled(self, hu: torch.Tensor) -> torch.Tensor:
        """Hounsfield units to the network's input."""
        low, high = self.window_hu
        return ((hu - 0.5 * (low + high)) / (0.5 * (high - low))).clamp(-2.0, 2.0)


@dataclass(frozen=True, slots=True)
class Model:
    """A network with its design and card.

    Attributes:
        network: A `Cascade`.
        design: What it expects.
        card: Data, metrics, limits; JSON-able.
    """

    network: Cascade
    design: Design
    card: dict[str, Any] = field(default_factory=dict)


class Cascade(torch.nn.Module):
    """The wide network, and the fine one that is told what it says.

    Attributes:
        wide: ``(n, 1, x, y, z)`` scaled attenuations to logits ``(n, wide outputs, x, y, z)``.
        fine: ``(n, 1 + wide outputs, x, y, z)`` to logits ``(n, outputs, x, y, z)``.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        told = len(design.wide_outputs)
        self.wide = unet(1, told, design.wide_filters)
        self.fine = unet(1 + told, len(design.outputs), design.filters)

    def forward(
        self, image: torch.Tensor, wide: torch.Tensor, place: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of patches, and of the wide images they lie in.

        Args:
            image: Patches, ``(n, 1, x, y, z)``.
            wide: Wide images, ``(n, 1, i, j, k)``.
            place: Voxel of a patch to voxel of its wide image, ``(n, 3, 4)``.
        """
        seen = self.wide(wide)
        told = carried(torch.sigmoid(seen.detach().float()), place, tuple(image.shape[2:]))
        if self.training:
            told = told * (torch.rand(len(told), 1, 1, 1, 1, device=told.device) >= _UNTOLD)
        return self.fine(torch.cat([image, told], dim=1)), seen


def carried(values: torch.Tensor, place: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Values ``(n, c, i, j, k)`` on other voxels, linear between, those of the edge beyond it.

    Args:
        values: On the wide voxels.
        place: New voxel to old one, ``(n, 3, 4)``.
        shape: Of the new voxels.
    """
    axes = [torch.arange(size, device=values.device, dtype=torch.float32) for size in shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    old = index @ place[:, :, :3].transpose(1, 2) + place[:, None, :, 3]
    last = torch.tensor(values.shape[2:], device=values.device) - 1
    grid = (2.0 * old / last - 1.0).flip(-1).reshape(-1, *shape, 3)
    return torch.nn.functional.grid_sample(values, grid, padding_mode="border", align_corners=True)


def build(design: Design) -> Cascade:
    """A network with fresh weights."""
    return Cascade(design)


def unet(inputs: int, outputs: int, filters: tuple[int, ...]) -> torch.nn.Module:
    """A U-Net of instance-normed 3x3x3 convolutions, halved at every level."""
    from monai.networks.nets.dynunet import DynUNet

    levels = len(filters)
    network: torch.nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(filters),
        norm_name=("INSTANCE", {"affine": True}),
    )
    return network


def half_precision(device: torch.device) -> torch.autocast:
    """Products in bfloat16 where the device has them in hardware; elsewhere they take seventy times as long."""
    there = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=there)


def save(model: Model, path: Path) -> None:
    """Write weights (half precision) and everything that belongs to them into one safetensors file."""
    written(model.network, FORMAT, asdict(model.design), model.card, path)


def load(path: Path) -> Model:
    """Read what `save` wrote.

    Raises:
        InputError: No such file, not safetensors, or of another program or another design.
    """
    network, raw, card = loaded(path, FORMAT, lambda raw: build(Design(**raw)), "ffr3d train")
    return Model(network, Design(**raw), card)


def written(
    network: torch.nn.Module, form: str, design: dict[str, Any], card: dict[str, Any], path: Path
) -> None:
    """Write a network into one safetensors file, in half precision.

    Args:
        network: Its weights.
        form: Name of the format.
        design: JSON-able.
        card: JSON-able.
        path: The file; its folder is made if absent.
    """
    from safetensors.torch import save_file

    weights = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in network.state_dict().items()
        if _TWICE not in name
    }
    told = {"format": form, "design": json.dumps(design), "card": json.dumps(card)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, metadata=told)


def loaded[N: torch.nn.Module](
    path: Path, form: str, made: Callable[[dict[str, Any]], N], maker: str
) -> tuple[N, dict[str, Any], dict[str, Any]]:
    """Read what `written` wrote; the network with its weights, ready for use, its design and its card.

    Args:
        path: The file.
        form: Name of the format.
        made: A network of a design.
        maker: The command that writes such files.

    Raises:
        InputError: No such file, not safetensors, or of another program or another design.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(
            file=path, wanted="a model", got="no such file", remedy=f"give one made by '{maker}'"
        )
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if told.get("format") != form:
            raise ValueError(f"format {told.get('format')!r} instead of {form!r}")
        raw = json.loads(told["design"])
        design = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        network = made(design)
        missing, unknown = network.load_state_dict(weights, strict=False)
        if unknown or any(_TWICE not in name for name in missing):
            raise ValueError(f"{len(missing)} weights missing, {len(unknown)} unknown")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise InputError(
            file=path,
            wanted=f"a model in safetensors, as '{maker}' writes it",
            got=(str(error).splitlines() or [type(error).__name__])[0],
            remedy="give such a file; pickled weights (.pt, .pth) are never read",
        ) from error
    network.eval()
    return network, design, json.loads(told.get("card", "{}"))
