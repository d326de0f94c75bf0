"""Inference: a CT to probabilities on cubes, window by window; the wide network first."""

from __future__ import annotations

import ctypes
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from pipeline.imaging import Volume
from pipeline.segmentation.network import Model, carried, half_precision

log = logging.getLogger("ffr3d")
_WINDOW = 96  # voxels along an edge
_OVERLAP = 0.25
_WIDE_OVERLAP = 0.5
_SLAB = 32  # voxels that the wide network's words are brought onto at a time
_DARK_HU = 120.0  # windows with hardly anything brighter hold no vessel
_BRIGHT_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What the network says, on the cubes it works on.

    Attributes:
        values: ``(outputs, nx, ny, nz)``, float16.
        names: Of the outputs.
        affine: Of the voxels.
        hu: The CT on the same voxels, float32.
    """

    values: npt.NDArray[np.float16]
    names: tuple[str, ...]
    affine: npt.NDArray[np.float64]
    hu: npt.NDArray[np.float32]

    def of(self, name: str) -> Volume:
        """One output as a volume."""
        return Volume(self.values[self.names.index(name)], self.affine)


def on_cubes(volume: Volume, voxel_mm: float, outside: float = -1024.0) -> Volume:
    """A volume on cubic voxels along the patient's axes, whatever its own axes and spacings.

    Linear between voxels; where they are finer than the cubes, smoothed first.
    """
    corners = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in volume.array.shape])).reshape(3, -1).T
    world = volume.to_world(corners)
    first = world.min(axis=0)
    shape = tuple(int(n) for n in np.ceil((world.max(axis=0) - first) / voxel_mm) + 1)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = first
    to_index = np.linalg.inv(volume.affine) @ affine
    values = volume.array.astype(np.float32)
    width = np.sqrt(np.maximum((voxel_mm / volume.spacing_mm) ** 2 - 1.0, 0.0)) / 2.355
    if width.max() > 0.2:
        values = gaussian_filter(values, width, mode="nearest")
    moved = affine_transform(
        values, to_index[:3, :3], to_index[:3, 3], shape, order=1, cval=outside
    )
    return Volume(moved, affine)


def predict(model: Model, ct: Volume, device: str | None = None) -> Probabilities:
    """Probabilities of lumen, aorta and calcium in a CT.

    Args:
        model: A trained network.
        ct: Hounsfield units on any grid.
        device: Of torch; a GPU where there is one.
    """
    from monai.inferers.utils import sliding_window_inference

    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cubes = on_cubes(ct, model.design.voxel_mm)
    network = model.network.to(where).eval()
    count = _windows(cubes.array.shape)
    run = _Windows(network.fine, model, count)
    with torch.inference_mode(), half_precision(where), _memory_kept():
        told = wide_view(model, ct, cubes, where)
        image = torch.cat([torch.from_numpy(cubes.array)[None, None], told], dim=1)
        found = sliding_window_inference(
            image, (_WINDOW,) * 3, 1, run, _OVERLAP, "gaussian", sw_device=where, device="cpu"
        )
        assert isinstance(found, torch.Tensor)
        logits = found[0].float()
        logits[0] -= math.log(model.design.wall / (1.0 - model.design.wall))
        values = torch.sigmoid(logits).half().numpy()
    return Probabilities(values, model.design.outputs, cubes.affine, cubes.array)


def wide_view(model: Model, ct: Volume, cubes: Volume, where: torch.device) -> torch.Tensor:
    """What the wide network says, on the fine network's cubes, ``(1, wide outputs, nx, ny, nz)``."""
    from monai.inferers.utils import sliding_window_inference

    design = model.design
    wide = on_cubes(ct, design.wide_mm)
    image = design.scaled(torch.from_numpy(wide.array))[None, None]
    edge = (design.wide_edge,) * 3
    seen = sliding_window_inference(
        image,
        edge,
        1,
        model.network.wide,
        _WIDE_OVERLAP,
        "gaussian",
        cval=float(design.scaled(torch.tensor(-1024.0))),
        sw_device=where,
        device="cpu",
    )
    assert isinstance(seen, torch.Tensor)
    values = torch.sigmoid(seen.float())
    place = torch.from_numpy(np.linalg.inv(wide.affine) @ cubes.affine)[None, :3].float()
    nx, ny, nz = cubes.array.shape
    slabs = []
    for first in range(0, nx, _SLAB):
        moved = place.clone()
        moved[..., 3] += first * place[..., 0]
        slabs.append(carried(values, moved, (min(_SLAB, nx - first), ny, nz)))
    return torch.cat(slabs, dim=2)


@contextmanager
def _memory_kept() -> Iterator[None]:
    """A layer's memory serves the next: given back in between, it costs a third of the time (page faults).

    glibc only (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD); nothing happens elsewhere.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    try:
        library.mallopt(-3, 1 << 30)
        library.mallopt(-1, 2_000_000_000)
        yield
    finally:
        library.mallopt(-3, 128 << 10)
        library.mallopt(-1, 128 << 10)
        library.malloc_trim(0)


def _windows(shape: tuple[int, ...]) -> int:
    step = _WINDOW * (1 - _OVERLAP)
    return int(np.prod([max(1, np.ceil((n - _WINDOW) / step) + 1) for n in shape]))


class _Windows:
    """The fine network on a window of Hounsfield units and the wide one's words; dark windows are passed over."""

    def __init__(
        self, network: Callable[[torch.Tensor], torch.Tensor], model: Model, of: int
    ) -> None:
        self._network, self._design, self._of, self._done = network, model.design, of, 0

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        """Logits of one window."""
        self._done += 1
        if self._done % max(self._of // 10, 1) == 0:
            log.info("segment  window %d of %d", self._done, self._of)
        hu, told = window[:, :1], window[:, 1:]
        if float((hu > _DARK_HU).float().mean()) < _BRIGHT_SHARE:
            return hu.new_full((1, len(self._design.outputs), *hu.shape[2:]), -12.0)
        return self._network(torch.cat([self._design.scaled(hu), told], dim=1)).float()
