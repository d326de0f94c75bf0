"""Data sets of labels for torch: deterministic, by split, as surface, volume or centreline graph.

::

    from pipeline.labels.torch_data import Labels, collate
    data = Labels("runs/left_trees/labels", "train", view="surface", points=2048)
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, collate_fn=collate)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from meshing.errors import InputError
from pipeline.labels import schema
from pipeline.labels.views import Arrays, View, drawn, read
from pipeline.labels.write import read_index

Item = dict[str, torch.Tensor]


class Labels(Dataset[Item]):
    """Cases of one split.

    Args:
        folder: The data set.
        split: train, validation or test; None for all.
        view: surface, volume or centerline (`pipeline.labels.views`).
        points: So many points of each case, drawn without edges, the same in every epoch (`epoch` changes them);
            None for all, with ``edge_index``.
        keep: Read each case once and keep it in memory (in every worker of a loader; let workers persist).
        transform: Called with each item.
        seed: Of the draw.

    Raises:
        InputError: No such split, or nothing in it.
    """

    def __init__(  # noqa: PLR0913 - a reader's options
        self,
        folder: Path | str,
        split: str | None = None,
        *,
        view: View = "surface",
        points: int | None = None,
        keep: bool = False,
        transform: Callable[[Item], Item] | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.view, self.points, self.transform = Path(folder), view, points, transform
        self.seed, self.epoch = seed, 0
        self._kept: dict[int, Arrays] | None = {} if keep else None
        rows = read_index(self.folder)
        self.rows = [row for row in rows if split in (None, row["split"])]
        if not self.rows:
            raise InputError(
                file=self.folder,
                field="split",
                wanted=f"one of {', '.join(schema.SPLITS)} with a case in it",
                got=f"{split!r}: {len(rows)} cases, none in it",
                remedy="name another split, or export a larger cohort",
            )

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.rows)

    def __getitem__(self, k: int) -> Item:
        """One case: tensors ``pos``, ``x``, ``y``, ``conditions``, ``case`` (its place), and maybe ``edge_index``."""
        arrays = self._arrays(k)
        if self.points is not None:
            arrays = drawn(arrays, self.points, np.random.default_rng([self.seed, self.epoch, k]))
        item = {name: torch.from_numpy(values) for name, values in arrays.items()}
        item["case"] = torch.tensor(k)
        return item if self.transform is None else self.transform(item)

    def _arrays(self, k: int) -> Arrays:
        if self._kept is not None and k in self._kept:
            return self._kept[k]
        path = self.folder / "cases" / f"{self.rows[k]['case']}.h5"
        arrays = read(path, self.view, edges=self.points is None)
        if self._kept is not None:
            self._kept[k] = arrays
        return arrays


def collate(items: Sequence[Item]) -> Item:
    """A batch: cases of one size are stacked ``(b, n, .)``; graphs are joined, ``batch (n,)`` says whose a node is."""
    sizes = [len(item["pos"]) for item in items]
    if "edge_index" not in items[0] and len(set(sizes)) == 1:
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}
    start, out = np.cumsum([0, *sizes[:-1]]), dict[str, Any]()
    for name in items[0]:
        parts = [item[name] for item in items]
        if name == "edge_index":
            out[name] = torch.cat(
                [part + int(a) for part, a in zip(parts, start, strict=True)], dim=1
            )
        elif all(part.shape[:1] == (n,) for part, n in zip(parts, sizes, strict=True)):
            out[name] = torch.cat(parts)
        else:
            out[name] = torch.stack(parts)
    out["batch"] = torch.repeat_interleave(torch.arange(len(items)), torch.tensor(sizes))
    return out
