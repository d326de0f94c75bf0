"""Training data from files: a dataset in nnU-Net's layout, with one's own images and label maps.

``dataset.json``; ``imagesTr/CASE_0000.nii.gz``; ``labelsTr/CASE.nii.gz`` (or .nrrd, .mha: ``file_ending``). Which label
is which is told by its name: lumen (also coronary, LAD, ...), aorta, calcium. What a dataset does not label is left out
of the loss, not taken for absent.

Reference: nnU-Net's dataset format (documentation/dataset_format.md of MIC-DKFZ/nnUNet).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from torch.utils.data import IterableDataset, get_worker_info

from meshing.errors import InputError
from pipeline.imaging import Volume, read_volume
from pipeline.imaging.names import TISSUES, belongs
from pipeline.segmentation.network import Design
from pipeline.segmentation.predict import on_cubes
from pipeline.segmentation.sample import Sample, Turn, Wide, sample_of

_REMEDY = "see nnU-Net's dataset_format.md; labels are known by their names: lumen or coronary, aorta, calcium"
_PLACES = 20_000  # lumen voxels kept of a case, to draw patches at
_SAME = 1e-2  # of a voxel: two grids are one
_OFF = 12  # wide voxels between the middles of a patch and of its wide image, at most


@dataclass(frozen=True, slots=True)
class Pair:
    """One case: an image and its label map."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's cases.

    Attributes:
        pairs: At least one.
        numbers: Label values of each output that is labelled.
    """

    pairs: tuple[Pair, ...]
    numbers: dict[str, tuple[int, ...]]


def read_dataset(folder: Path) -> Dataset:
    """Read what a dataset consists of; no image yet.

    Raises:
        InputError: No or a faulty ``dataset.json``, no label of a lumen, no image, an image without label map.
    """
    path = folder / "dataset.json"
    try:
        told = json.loads(path.read_text())
        numbers = _numbers(told["labels"])
        ending = str(told.get("file_ending", ".nii.gz"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        got = "no such file" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise InputError(
            file=path, wanted="a dataset in nnU-Net's format", got=got, remedy=_REMEDY
        ) from error
    if "lumen" not in numbers:
        raise InputError(
            file=path,
            field="labels",
            wanted="one that is the coronaries' lumen",
            got=", ".join(map(str, told["labels"])),
            remedy=_REMEDY,
        )
    images = sorted((folder / "imagesTr").glob(f"*_0000{ending}"))
    pairs = []
    for image in images:
        name = image.name.removesuffix(f"_0000{ending}")
        pairs.append(Pair(name, image, folder / "labelsTr" / f"{name}{ending}"))
    lost = [pair.label for pair in pairs if not pair.label.is_file()]
    if lost or not pairs:
        raise InputError(
            file=lost[0] if lost else folder / "imagesTr",
            wanted="a label map for every image" if lost else f"images called CASE_0000{ending}",
            got="no such file" if lost else "none",
            remedy=_REMEDY,
        )
    return Dataset(tuple(pairs), numbers)


def _numbers(labels: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Values by output; ``{"lumen": 1}`` (a list for a region), or ``{"1": "lumen"}`` as nnU-Net's first version."""
    found: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        name, of = (str(value), key) if str(key).isdigit() else (str(key), value)
        values = tuple(int(x) for x in (of if isinstance(of, list) else [of]))
        for output in TISSUES:
            if belongs(name, output):
                found[output] = (*found.get(output, ()), *values)
    return found


def prepare(dataset: Dataset, design: Design, folder: Path) -> list[Path]:
    """Bring every case onto the network's cubes; a folder each, made once.

    Raises:
        InputError: An image or a label map that cannot be read, or that are not on the same voxels.
    """
    made = []
    for pair in dataset.pairs:
        where = folder / pair.name
        if not (where / "wide_known.npy").exists():
            where.mkdir(parents=True, exist_ok=True)
            _prepare(pair, dataset.numbers, design, where)
        made.append(where)
    return made


def _prepare(pair: Pair, numbers: dict[str, tuple[int, ...]], design: Design, where: Path) -> None:
    image, label = read_volume(pair.image), read_volume(pair.label)
    apart = np.abs(np.linalg.inv(image.affine) @ label.affine - np.eye(4)).max()
    if image.array.shape != label.array.shape or apart > _SAME * max(image.array.shape):
        raise InputError(
            file=pair.label,
            wanted=f"the voxels of {pair.image.name}: {image.array.shape}",
            got=f"{label.array.shape}, affine off by {apart:.3g}",
            remedy="resample the label map onto its image",
        )
    values = np.rint(label.array).astype(np.int64)
    shares = []
    for output in design.outputs:
        if output not in numbers:
            continue
        mine = np.isin(values, numbers[output]).astype(np.float32)
        cubes = on_cubes(Volume(mine, image.affine), design.voxel_mm, outside=0.0).array
        shares.append(np.rint(255 * np.clip(cubes, 0, 1)).astype(np.uint8))
    hu = on_cubes(image, design.voxel_mm).array
    lumen = np.flatnonzero(shares[0] > 127)
    if len(lumen) == 0:
        raise InputError(
            file=pair.label,
            wanted="a lumen",
            got=f"no voxel with {numbers['lumen']}",
            remedy="leave this case out, or mend its label map",
        )
    known = np.array([output in numbers for output in design.outputs])
    np.save(where / "known.npy", known)
    np.save(where / "hu.npy", np.clip(np.rint(hu), -1024, 3071).astype(np.int16))
    np.save(where / "shares.npy", np.stack(shares))
    places = np.random.default_rng(0).permutation(lumen)[:_PLACES]
    np.save(where / "places.npy", np.column_stack(np.unravel_index(places, hu.shape)))
    _prepare_wide(Volume(values, image.affine), image, numbers, design, where)


def _prepare_wide(
    values: Volume, image: Volume, numbers: dict[str, tuple[int, ...]], design: Design, where: Path
) -> None:
    """The whole case for the wide network, with what is labelled of its outputs."""
    wide, fine = on_cubes(image, design.wide_mm), on_cubes(image, design.voxel_mm)
    known = [name for name in design.wide_outputs if name in numbers]
    shares = np.zeros((len(known), *wide.array.shape), np.uint8)
    for share, name in zip(shares, known, strict=True):
        mine = np.isin(values.array, numbers[name]).astype(np.float32)
        cubes = on_cubes(Volume(mine, image.affine), design.wide_mm, outside=0.0).array
        share[...] = np.rint(255 * np.clip(cubes, 0, 1))
    np.save(where / "wide_hu.npy", np.clip(np.rint(wide.array), -1024, 3071).astype(np.int16))
    np.save(where / "wide_shares.npy", shares)
    np.save(where / "place.npy", np.linalg.inv(wide.affine) @ fine.affine)
    np.save(where / "wide_known.npy", np.array([name in known for name in design.wide_outputs]))


class FilePatches(IterableDataset[Sample]):
    """Samples without end out of prepared cases: two of three around lumen, mirrored, roughened a little."""

    def __init__(self, cases: list[Path], design: Design, edge: int, seed: int = 0) -> None:
        self._cases, self._design, self._edge, self._seed = cases, design, edge, seed

    def __iter__(self) -> Iterator[Sample]:
        """Each worker draws its own."""
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, 1, 0 if worker is None else worker.id])
        while True:
            where = self._cases[int(rng.integers(len(self._cases)))]
            hu = np.load(where / "hu.npy", mmap_mode="r")
            shares = np.load(where / "shares.npy", mmap_mode="r")
            places = np.load(where / "places.npy", mmap_mode="r")
            middle = rng.integers(np.zeros(3, np.int64), hu.shape)
            if rng.uniform() < 2 / 3:
                middle = places[int(rng.integers(len(places)))] + rng.integers(-12, 13, 3)
            low = middle - self._edge // 2
            image = _cut(hu, low, self._edge, -1024).astype(np.float32)
            parts = [_cut(share, low, self._edge, 0).astype(np.float32) / 255 for share in shares]
            truth = np.full((len(self._design.outputs), *image.shape), np.nan, np.float32)
            truth[np.load(where / "known.npy")] = np.stack(parts)
            if rng.uniform() < 0.3:
                image = gaussian_filter(image, rng.uniform(0.2, 0.7))
            image += rng.normal(0, rng.uniform(0, 15), image.shape).astype(np.float32)
            affine = np.eye(4)
            affine[:3, 3] = low
            wide = self._wide(where, middle, rng)
            yield sample_of(self._design, (image, truth, affine), wide, Turn.draw(rng), rng)

    def _wide(self, where: Path, middle: npt.NDArray[np.int64], rng: np.random.Generator) -> Wide:
        """A wide image about a patch; its affine takes its voxels to those of the case's fine cubes."""
        hu = np.load(where / "wide_hu.npy", mmap_mode="r")
        shares = np.load(where / "wide_shares.npy", mmap_mode="r")
        place, edge = np.load(where / "place.npy"), self._design.wide_edge
        off = rng.integers(-_OFF, _OFF + 1, 3) - edge // 2
        low = np.rint(place[:3, :3] @ middle + place[:3, 3]).astype(np.int64) + off
        moved = np.eye(4)
        moved[:3, 3] = low
        return Wide(
            _cut(hu, low, edge, -1024),
            np.array([_cut(one, low, edge, 0) for one in shares]).reshape(-1, edge, edge, edge),
            np.linalg.inv(place) @ moved,
            None,
            np.load(where / "wide_known.npy"),
        )


def _cut(array: npt.NDArray[Any], low: npt.NDArray[np.int64], edge: int, outside: int) -> Any:  # noqa: ANN401
    """A cube of an array, which may reach beyond it."""
    cube = np.full((edge,) * 3, outside, array.dtype)
    take = [
        slice(max(int(a), 0), max(min(int(a) + edge, n), 0))
        for a, n in zip(low, array.shape, strict=True)
    ]
    put = [
        slice(s.start - int(a), s.start - int(a) + max(s.stop - s.start, 0))
        for s, a in zip(take, low, strict=True)
    ]
    if all(s.stop > s.start for s in take):
        cube[tuple(put)] = array[tuple(take)]
    return cube


class Mixed(IterableDataset[Sample]):
    """Samples of several endless sources, taken in turn."""

    def __init__(self, sources: list[IterableDataset[Sample]]) -> None:
        self._sources = sources

    def __iter__(self) -> Iterator[Sample]:
        """One of each, again and again."""
        running = [iter(source) for source in self._sources]
        while True:
            for source in running:
                yield next(source)
