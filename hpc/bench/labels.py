"""How a data set's arrays are best stored and read: HDF5 plain, lzf, gzip, and Zarr; and what an epoch costs.

``python hpc/bench/labels.py RUN [RUN ...]``: run folders up to their certificates, whose arrays are written and read in
every way (medians of five, files in the page cache; Zarr only where it is installed). ``--dataset FOLDER``: cases a
second of the torch reader, one process, for every view, and processor over wall time; and how busy a reading process is
while a network is trained on what it reads.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.ffr.load import load
from pipeline.labels import schema
from pipeline.labels.case import arrays_of
from pipeline.labels.views import View

ROUNDS = 5
EPOCHS = 10
VIEWS: tuple[View, ...] = ("surface", "volume", "centerline")
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
        for keep in (False, True):
            _beside_training(args.dataset, keep)


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

    ways = [(view, points, False) for view in VIEWS for points in (None, 2048)]
    for view, points, keep in [*ways, *((view, 2048, True) for view in VIEWS)]:
        data = Labels(folder, view=view, points=points, keep=keep)
        loader = DataLoader(data, batch_size=4, collate_fn=collate)
        if keep:
            list(loader)
        began, used = time.perf_counter(), time.process_time()
        count = sum(len(batch["case"]) for batch in loader)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        how = f"{view}, {points or 'all'} points{', kept' if keep else ''}"
        print(f"{how}: {count / wall:.1f} cases/s, processor over wall {cpu / wall:.2f}")  # noqa: T201


def _beside_training(folder: Path, keep: bool) -> None:
    """A small point network on surfaces in this process, read by another one."""
    import torch
    from torch.utils.data import DataLoader

    from pipeline.labels.torch_data import Labels, collate

    torch.set_num_threads(1)
    torch.manual_seed(0)
    widths = (6, 64, 128, 256)
    layers: list[torch.nn.Module] = []
    for a, b in pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 4))
    optimiser = torch.optim.Adam(network.parameters())
    data = Labels(folder, view="surface", points=2048, keep=keep)
    loader = DataLoader(
        data, batch_size=8, collate_fn=collate, shuffle=True, num_workers=1, persistent_workers=True
    )
    before, began, count = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    for _ in range(EPOCHS):
        for batch in loader:
            told = network(torch.cat([batch["pos"], batch["x"]], dim=-1))
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(told, batch["y"]).backward()
            optimiser.step()
            count += len(batch["case"])
    wall = time.perf_counter() - began
    del loader  # its process ends, and its time is told
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(  # noqa: T201
        f"beside training{', kept' if keep else ''}: {count / wall:.0f} cases/s, the reading process busy for "
        f"{used / wall:.0%} of {wall:.0f} s (its start included); half a core reads {0.5 * count / used:.0f} cases/s"
    )


if __name__ == "__main__":
    main()
