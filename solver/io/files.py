"""Writing HDF5 files so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_atomically(path: Path, data: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Write datasets to a new file, then put it in place of the old (one process)."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with h5py.File(fresh, "w") as f:
        for name, value in data.items():
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            f.create_dataset(name, data=value, **(packed if np.size(value) else {}))
        for name, value in attributes.items():
            f.attrs[name] = value
    fresh.replace(path)
