"""Training data: patches of synthetic CT without end, drawn from a seed.

A scene is composed on a cube of voxels at a drawn place and in a drawn orientation (many at a throat), and once on
wide voxels that hold the heart; a cube is then scanned several times, each time by another scanner and mirrored another
way, and goes back into a store of which later samples are drawn: composing costs a second, scanning some hundredths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import shift
from scipy.spatial.transform import Rotation
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.imaging import Volume
from pipeline.phantom.path import Array
from pipeline.phantom.scan import (
    Exact,
    Scanner,
    Scene,
    compose,
    compose_wide,
    draw_scene,
    scanned,
)
from pipeline.segmentation.network import Design
from pipeline.segmentation.sample import Sample, Singles, Turn, Wide, sample_of

_MARGIN = 6  # voxels composed around a patch, so that the point spread has no edge in it
_MOVED, _STEPPED = 0.15, 0.1  # parts of the samples
_WHOLE = 0.3  # part of the samples whose wide image is not cut
_THROATS, _OSTIA, _ANYWHERE = 0.4, 0.15, 0.1  # parts of the patches; the rest: any coronary
_LEAN = 0.15  # of the wide voxels' axes against the patient's [rad], standard deviation


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
    patches: int = 16
    again: int = 6
    store: int = 300


@dataclass(frozen=True, slots=True)
class _Kept:
    """A composed patch as it waits in the store: a quarter of its bytes."""

    hu: npt.NDArray[np.int16]
    shares: npt.NDArray[np.uint8]
    affine: Array
    wide: Wide

    @classmethod
    def of(cls, exact: Exact, wide: Wide) -> _Kept:
        return cls(_whole(exact.hu), _bytes(exact.shares), exact.affine, wide)


class Patches(IterableDataset[Sample]):
    """Samples without end."""

    def __init__(self, design: Design, stream: Stream, seed: int = 0) -> None:
        self._design, self._stream, self._seed = design, stream, seed

    def __iter__(self) -> Iterator[Sample]:
        """Each worker draws its own."""
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, 0 if worker is None else worker.id])
        store: list[_Kept] = []
        while True:
            scene = draw_scene(self._stream.first_seed + int(rng.integers(self._stream.scenes)))
            wide = self._wide(scene, rng)
            for _ in range(self._stream.patches):
                new = _Kept.of(compose(scene, self._cube(scene, rng)), wide)
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

    def _wide(self, scene: Scene, rng: np.random.Generator) -> Wide:
        """The heart, leaning a little, larger or smaller, somewhere about the middle."""
        n, h = self._design.wide_edge, self._design.wide_mm * rng.uniform(0.87, 1.15, 3)
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_rotvec(rng.normal(0, _LEAN, 3)).as_matrix() * h
        affine[:3, 3] = rng.uniform(-20, 20, 3) - affine[:3, :3] @ np.full(3, (n - 1) / 2)
        hu, shares = compose_wide(scene, Volume(np.empty((n,) * 3, np.bool_), affine))
        return Wide(_whole(hu), _bytes(shares), affine)

    def _sample(self, kept: _Kept, rng: np.random.Generator) -> Sample:
        spacing = np.full(3, self._design.voxel_mm)
        still, shares = kept.hu.astype(np.float32), kept.shares.astype(np.float32) / 255.0
        shares /= np.maximum(shares.sum(axis=0), np.float32(1))  # bytes are rounded
        if rng.uniform() < _MOVED:
            still = moved(still, rng.normal(size=3) * rng.uniform(0.5, 1.5) / spacing, rng)
        if rng.uniform() < _STEPPED:
            still, shares = stepped(still, shares, spacing, rng)
        hu = scanned(still, spacing, Scanner.draw(rng), rng)
        inner = (slice(_MARGIN, -_MARGIN),) * 3
        affine = kept.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.full(3, float(_MARGIN))
        wide = _cut(kept.wide, affine, self._stream.edge, rng)
        patch = hu[inner], shares[:, *inner], affine
        return sample_of(self._design, patch, wide, Turn.draw(rng), rng)


def _whole(hu: Singles) -> npt.NDArray[np.int16]:
    return np.rint(np.clip(hu, -1024, 32_000)).astype(np.int16)


def _bytes(shares: Singles) -> npt.NDArray[np.uint8]:
    return np.rint(255.0 * shares).astype(np.uint8)


def _cut(wide: Wide, affine: Array, edge: int, rng: np.random.Generator) -> Wide:
    """What a scan with a smaller field of view shows: a box, or a cylinder along z, with the patch in it.

    Beyond it there is nothing (-1024 HU), and nothing is asked.
    """
    if rng.uniform() < _WHOLE:
        return wide
    to_wide = np.linalg.inv(wide.affine) @ affine
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (edge - 1.0)
    corners = corners @ to_wide[:3, :3].T + to_wide[:3, 3]
    h = np.linalg.norm(wide.affine[:3, :3], axis=0)
    low = corners.min(axis=0) - rng.uniform(0, 50, 3) / h
    high = corners.max(axis=0) + rng.uniform(0, 50, 3) / h
    axes = np.ogrid[tuple(slice(0, n) for n in wide.hu.shape)]
    inside = np.ones(wide.hu.shape, np.bool_)
    round_ = rng.uniform() < 0.5
    for axis, at in enumerate(axes):
        if not round_ or axis == 2:
            inside &= (at >= low[axis]) & (at <= high[axis])
    if round_:
        middle, size = 0.5 * (low + high), 0.5 * (high - low)
        r = np.hypot(*((axes[k] - middle[k]) * h[k] for k in range(2)))
        inside &= r <= max(np.hypot(size[0] * h[0], size[1] * h[1]), 40.0)
    return Wide(np.where(inside, wide.hu, -1024).astype(np.int16), wide.shares, wide.affine, inside)


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


def _place(scene: Scene, rng: np.random.Generator) -> Array:
    """Middle of a patch: near a coronary, near a throat or an ostium, or anywhere in the heart."""
    kind = rng.uniform()
    if kind < _ANYWHERE:
        return np.asarray(rng.uniform(-60, 60, 3))
    throats = [fact.centre_mm for vessel in scene.vessels for fact in vessel.lumen.stenoses]
    if throats and kind > 1.0 - _THROATS:
        return np.asarray(throats[int(rng.integers(len(throats)))] + rng.normal(0, 3.0, 3))
    vessel = scene.vessels[int(rng.integers(len(scene.vessels)))].lumen
    paths = vessel.paths
    lengths = np.array([path.end - path.start for path in paths])
    path = paths[int(rng.choice(len(paths), p=lengths / lengths.sum()))]
    s = float(rng.uniform(path.start, path.end))
    if kind < _ANYWHERE + _OSTIA:
        path = paths[0]
        s = path.start + float(rng.uniform(0, 12))
    return np.asarray(path.at(s)[0] + rng.normal(0, 5.0, 3))
