"""How a data set's arrays are best stored and read: HDF5 plain, lzf, gzip, and Zarr; and what an epoch costs.

``python hpc/bench/labels.py RUN [RUN ...]``: run folders up to their certificates, whose arrays are written and read in
every way (medians of five, files in the page cache; Zarr only where it is installed). ``--dataset FOLDER``: cases a
second of the torch reader, one process, for every view, and processor over wall time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.ffr.load import load
from pipeline.labels import schema
from pipeline.labels.case import arrays_of

ROUNDS = 5
WAYS: dict[str, dict[str, Any]] = {
    "HDF5": {},
    "HDF5, lzf": {"compression": "lzf"},
    "HDF5, shuffle and lzf": {"compression": "lzf", "shuffle": True},
    "HDF5, shuffle and gzip 4": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--dataset", type=Path)
    args = parser.parse_args()
    for run in args.runs:
        _storage(run)
    if args.dataset:
        _epochs(args.dataset)


def _storage(run: Path) -> None:
    told = {
        "ffr": json.loads((run / "ffr" / "ffr.json").read_text()),
        "certificate": json.loads((run / "certify" / "certificate.json").read_text()),
    }
    arrays: dict[str, Any] = {}
    for path, values in arrays_of(run, load(run), told).items():
        one = schema.of(path)
        assert one is not None
        arrays[path] = values.astype(one.dtype)
    plain = sum(values.nbytes for values in arrays.values())
    print(f"{run.name}: {plain / 2**20:.1f} MiB of arrays")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for name, options in WAYS.items():
            path = Path(folder) / "case.h5"

            def write(path: Path = path, options: dict[str, Any] = options) -> None:
                with h5py.File(path, "w", libver="latest") as file:
                    for key, values in arrays.items():
                        file.create_dataset(key, data=values, **options)

            def read(path: Path = path) -> None:
                with h5py.File(path) as file:
                    for key in arrays:
                        file[key][:]

            _row(name, write, read, lambda path=path: path.stat().st_size, plain)
        _zarr(arrays, Path(folder) / "case.zarr", plain)


def _zarr(arrays: dict[str, Any], path: Path, plain: int) -> None:
    try:
        import zarr
    except ImportError:
        return

    def write() -> None:
        shutil.rmtree(path, ignore_errors=True)
        group = zarr.open_group(path, mode="w")
        for key, values in arrays.items():
            group.create_array(key, data=values)

    def read() -> None:
        group = zarr.open_group(path, mode="r")
        for key in arrays:
            np.asarray(group[key])

    size = lambda: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())  # noqa: E731
    _row(f"Zarr {zarr.__version__}, its defaults", write, read, size, plain)


def _row(
    name: str,
    write: Callable[[], None],
    read: Callable[[], None],
    size: Callable[[], int],
    plain: int,
) -> None:
    times = [[_timed(work) for _ in range(ROUNDS)] for work in (write, read)]
    wrote, got = (statistics.median(t) for t in times)
    print(  # noqa: T201
        f"  {name:28s} size {size() / plain:5.2f}  write {plain / 2**20 / wrote:7.0f} MiB/s  "
        f"read {plain / 2**20 / got:7.0f} MiB/s"
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _epochs(folder: Path) -> None:
    from torch.utils.data import DataLoader

    from pipeline.labels.torch_data import Labels, collate

    for view in ("surface", "volume", "centerline"):
        for points in (None, 2048):
            data = Labels(folder, view=view, points=points)
            loader = DataLoader(data, batch_size=4, collate_fn=collate)
            began, used = time.perf_counter(), time.process_time()
            count = sum(len(batch["case"]) for batch in loader)
            wall, cpu = time.perf_counter() - began, time.process_time() - used
            print(  # noqa: T201
                f"{view}, {points or 'all'} points: {count / wall:.1f} cases/s, processor over wall {cpu / wall:.2f}"
            )


if __name__ == "__main__":
    main()
