"""Training data: patches of synthetic CT without end, drawn from a seed.

A scene is composed on a cube of voxels at a drawn place and in a drawn orientation (most near a coronary); the cube is
then scanned several times, each time by another scanner and mirrored another way, and goes back into a store of which
later samples are drawn: composing costs a second, scanning some hundredths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import shift
from scipy.spatial.transform import Rotation
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.imaging import Volume
from pipeline.phantom.path import Array
from pipeline.phantom.scan import Exact, Scanner, Scene, compose, draw_scene, scanned
from pipeline.segmentation.network import Design

_MARGIN = 6  # voxels composed around a patch, so that the point spread has no edge in it
_MOVED, _STEPPED = 0.15, 0.1  # parts of the samples
Singles = npt.NDArray[np.float32]
Sample = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Stream:
    """How patches are drawn.

    Attributes:
        edge: Voxels along an edge.
        first_seed: Scenes have this seed and the following ones; test scenes must have others.
        scenes: How many before the first comes again.
        patches: Composed from one scene before the next is drawn.
        again: Samples for each composed patch.
        store: Patches kept.
    """

    edge: int = 64
    first_seed: int = 100_000
    scenes: int = 5000
    patches: int = 12
    again: int = 6
    store: int = 300


@dataclass(frozen=True, slots=True)
class _Kept:
    """A composed patch as it waits in the store: a quarter of its bytes."""

    hu: npt.NDArray[np.int16]
    shares: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, exact: Exact) -> _Kept:
        return cls(
            np.rint(np.clip(exact.hu, -1024, 32_000)).astype(np.int16),
            np.rint(255.0 * exact.shares).astype(np.uint8),
        )


class Patches(IterableDataset[Sample]):
    """Samples without end: input ``(1, n, n, n)`` and shares ``(outputs, n, n, n)``."""

    def __init__(self, design: Design, stream: Stream, seed: int = 0) -> None:
        self._design, self._stream, self._seed = design, stream, seed

    def __iter__(self) -> Iterator[Sample]:
        """Each worker draws its own."""
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, 0 if worker is None else worker.id])
        store: list[_Kept] = []
        while True:
            scene = draw_scene(self._stream.first_seed + int(rng.integers(self._stream.scenes)))
            for _ in range(self._stream.patches):
                new = _Kept.of(compose(scene, self._cube(scene, rng)))
                if len(store) < self._stream.store:
                    store.append(new)
                else:
                    store[int(rng.integers(len(store)))] = new
                yield self._sample(new, rng)
                for _ in range(self._stream.again - 1):
                    yield self._sample(store[int(rng.integers(len(store)))], rng)

    def _cube(self, scene: Scene, rng: np.random.Generator) -> Volume:
        edge, h = self._stream.edge + 2 * _MARGIN, self._design.voxel_mm
        affine = np.eye(4)
        affine[:3, :3] = h * Rotation.random(rng=rng).as_matrix()
        middle = _place(scene, rng)
        affine[:3, 3] = middle - affine[:3, :3] @ np.full(3, (edge - 1) / 2)
        return Volume(np.empty((edge,) * 3, np.bool_), affine)

    def _sample(self, kept: _Kept, rng: np.random.Generator) -> Sample:
        spacing = np.full(3, self._design.voxel_mm)
        still, shares = kept.hu.astype(np.float32), kept.shares.astype(np.float32) / 255.0
        if rng.uniform() < _MOVED:
            still = moved(still, rng.normal(size=3) * rng.uniform(0.5, 1.5) / spacing, rng)
        if rng.uniform() < _STEPPED:
            still, shares = stepped(still, shares, spacing, rng)
        hu = scanned(still, spacing, Scanner.draw(rng), rng)
        inner = (slice(_MARGIN, -_MARGIN),) * 3
        return turned(self._design, hu[inner], shares[:, *inner], rng)


def moved(hu: Singles, way: Array, rng: np.random.Generator) -> Singles:
    """A heart that moved while it was scanned: the mean of places along a way [voxels], the exact one in its middle."""
    times = np.linspace(-0.5, 0.5, int(rng.integers(3, 6)))
    copies = [shift(hu, t * way, order=1, mode="nearest") for t in times]
    return np.asarray(np.mean(copies, axis=0), dtype=np.float32)


def stepped(
    hu: Singles, shares: Singles, spacing: Array, rng: np.random.Generator
) -> tuple[Singles, Singles]:
    """Two heartbeats that do not fit: beyond a plane all is displaced along it, by up to 1.5 mm, the truth as well."""
    axis, n = int(rng.integers(3)), hu.shape[0]
    plane = int(rng.integers(n // 4, 3 * n // 4))
    way = rng.uniform(-1.5, 1.5, 3) / spacing
    way[axis] = 0.0
    beyond = tuple(slice(plane, None) if k == axis else slice(None) for k in range(3))
    hu, shares = hu.copy(), shares.copy()
    hu[beyond] = shift(hu[beyond], way, order=1, mode="nearest")
    for share in shares:
        share[beyond] = shift(share[beyond], way, order=1, mode="nearest")
    return hu, shares


def turned(
    design: Design,
    hu: npt.NDArray[np.float32],
    shares: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> Sample:
    """A sample with its axes exchanged and mirrored at random, and its attenuations shifted and scaled a little."""
    flips = tuple(k for k in range(3) if rng.uniform() < 0.5)
    turn = rng.permutation(3)
    x = np.flip(hu.transpose(turn), flips)
    y = np.flip(shares.transpose(0, *(turn + 1)), tuple(k + 1 for k in flips))
    shift, scale = rng.normal(0, 15), rng.normal(1, 0.03)
    image = torch.from_numpy(np.ascontiguousarray(x)) * float(scale) + float(shift)
    return design.scaled(image)[None], torch.from_numpy(np.ascontiguousarray(y))


def _place(scene: Scene, rng: np.random.Generator) -> Array:
    """Middle of a patch: near a coronary, near an ostium, or anywhere in the heart."""
    kind = rng.uniform()
    if kind > 0.75:
        return np.asarray(rng.uniform(-60, 60, 3))
    vessel = scene.vessels[int(rng.integers(len(scene.vessels)))].lumen
    paths = vessel.paths
    lengths = np.array([path.end - path.start for path in paths])
    path = paths[int(rng.choice(len(paths), p=lengths / lengths.sum()))]
    s = float(rng.uniform(path.start, path.end))
    if kind > 0.65:
        path = paths[0]
        s = path.start
    return np.asarray(path.at(s)[0] + rng.normal(0, 5.0, 3))
