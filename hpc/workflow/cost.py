"""What a case costs, from its mesh: coefficients fitted by ``fit_cost.py`` to cohorts that were computed.

Needs nothing but Python: Snakemake's environment has no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

FILE = Path(__file__).with_name("cost.json")
SPARE = 2.0
"""Times and memory are asked for this many times over, and once more at each attempt."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Coefficients.

    Attributes:
        seconds: Of ``log(core seconds) = seconds[0] + seconds[1] log(cells)``, solve and certificate.
        gib: Of ``GiB = gib[0] + gib[1] cells``, the largest process.
        cells_a_rank: More than so many cells take another rank.
        mesh_mb: What the stages up to the mesh may take.
        mesh_minutes: The same in time.
        segment_mb: What a CT's stages up to its lumen may take.
        segment_minutes: The same in time.
    """

    seconds: tuple[float, float]
    gib: tuple[float, float]
    cells_a_rank: int
    mesh_mb: int
    mesh_minutes: int
    segment_mb: int
    segment_minutes: int

    @classmethod
    def load(cls, path: Path = FILE) -> Self:
        """As fitted."""
        told = json.loads(path.read_text())
        return cls(
            tuple(told["seconds"]),
            tuple(told["gib"]),
            told["cells_a_rank"],
            told["mesh_mb"],
            told["mesh_minutes"],
            told["segment_mb"],
            told["segment_minutes"],
        )

    def core_seconds(self, cells: float) -> float:
        """Of solve and certificate."""
        return math.exp(self.seconds[0] + self.seconds[1] * math.log(max(cells, 1.0)))

    def memory_gib(self, cells: float, ranks: int = 1) -> float:
        """Of all ranks: each has the constant, and its part of the rest."""
        return self.gib[0] * ranks + self.gib[1] * cells

    def labels_minutes(self, cases: int) -> int:
        """What writing a data set may take: some seconds a case."""
        return 10 + cases // 12

    def ranks(self, mesh: Mapping[str, Any]) -> int:
        """MPI ranks: those of the case; where it leaves them open, by the mesh."""
        given = mesh["ranks"]
        return given if given else max(1, math.ceil(mesh["cells"] / self.cells_a_rank))

    def memory_mb(self, mesh: Mapping[str, Any], attempt: int) -> int:
        """What is asked for."""
        return math.ceil(1024 * self.memory_gib(mesh["cells"], self.ranks(mesh)) * SPARE * attempt)

    def minutes(self, mesh: Mapping[str, Any], attempt: int) -> int:
        """What is asked for; never less than ten minutes."""
        wall = self.core_seconds(mesh["cells"]) / self.ranks(mesh)
        return max(10, math.ceil(wall / 60.0 * SPARE * attempt))
