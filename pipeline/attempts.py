"""Meshes of a run that were left for better ones (chosen by `pipeline.refine`); part of its ledger."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from meshing.errors import ComputationError
from pipeline.case import Adapt

MEMORY_GROWTH = 1.15
"""Power of the number of cells that the solver's peak memory grows with, at most (measured: docs/measured.md)."""
SPARE = 0.9
"""Part of the free memory that a finer mesh may count on."""
LEAST_STEP = 0.75
"""A mesh whose throats would be finer by less than this factor is not worth it."""


class TooLargeError(ComputationError):
    """A mesh was made on which the flow would not fit the memory."""


class Attempt(BaseModel):
    """A mesh that was left for a better one.

    Attributes:
        cells: Its tetrahedra.
        factor: On the viscosity, at which the branch of steady states ended on it; one where it did not.
        seconds: Wall time of the solver on it.
        memory_GiB: Peak memory of the solver on it, all ranks.
        throats: Factors of the next mesh's size in each throat, if that is what changes.
        jets: Factor of the growth behind those throats.
        everywhere: Factor of all its sizes.
        sizes: File of the next mesh's sizes, relative to the run folder, if it is adapted.
        state: File of the fields on this mesh to begin with on the next (`pipeline.carry`), likewise.
    """

    model_config = ConfigDict(extra="forbid")

    cells: int
    factor: float
    seconds: float
    memory_GiB: float = 0.0
    throats: tuple[float, ...] = ()
    jets: float = 1.0
    everywhere: float = 1.0
    sizes: str | None = None
    state: str | None = None


class Refinement(BaseModel):
    """What was tried with one anatomy and one set of choices.

    Attributes:
        basis: Fingerprint of these.
        attempts: The meshes that were left, in order.
        withdrawn: Why the mesh after the last attempt was given up, if it was.
    """

    model_config = ConfigDict(extra="forbid")

    basis: str = ""
    attempts: list[Attempt] = Field(default_factory=list)
    withdrawn: str | None = None

    @property
    def last(self) -> Attempt | None:
        """What decides the mesh to make now; None: the options alone."""
        used = self.attempts[: -1 if self.withdrawn else None]
        return used[-1] if used else None

    def goes_on(self, adapt: Adapt) -> bool:
        """Whether the present mesh may be left for a better one."""
        more = self.withdrawn is None and len(self.attempts) < adapt.rounds
        return more and adapt.when != "never"

    def check_memory(self, cells: int, free_GiB: float) -> None:
        """Whether the solver can be expected to fit the mesh that follows the last attempt.

        Args:
            cells: Of that mesh.
            free_GiB: Memory there is.

        Raises:
            TooLargeError: It cannot.
        """
        before = self.last
        if before is None:
            return
        needed = before.memory_GiB * (cells / before.cells) ** MEMORY_GROWTH
        if needed > SPARE * free_GiB:
            raise TooLargeError(
                f"the flow on {cells} tetrahedra would take some {needed:.1f} GiB of memory "
                f"({before.memory_GiB:.1f} GiB on {before.cells}), and {free_GiB:.1f} GiB are free"
            )

    def step_back(self) -> bool:
        """Go half-way back with the throats' factors of a mesh that is too large; False where that is not worth it."""
        last = self.attempts[-1]
        before = self.attempts[-2].throats if len(self.attempts) > 1 else ()
        whole = before or (1.0,) * len(last.throats)
        halfway = tuple(math.sqrt(a * b) for a, b in zip(last.throats, whole, strict=True))
        if not any(a < LEAST_STEP * b for a, b in zip(halfway, whole, strict=True)):
            return False
        self.attempts[-1] = last.model_copy(update={"throats": halfway})
        return True

    def notes(self) -> list[str]:
        """For a reader of the result."""
        told = [_told(attempt) for attempt in self.attempts]
        if self.withdrawn:
            told.append(f"that mesh was given up: {self.withdrawn}")
        return told


def _told(attempt: Attempt) -> str:
    why = (
        f"the branch of steady states ended at {attempt.factor:.3f} times the viscosity"
        if attempt.factor > 1.0
        else "a steady state was found"
    )
    chosen = sum(share < 1.0 for share in attempt.throats)
    what = (
        "adapted to the state there"
        if attempt.sizes
        else f"finer in {chosen} throat{'s' if chosen > 1 else ''} and behind"
        + (", where cells grow more slowly" if attempt.jets < 1.0 else "")
        if attempt.throats
        else "finer everywhere"
    )
    return f"on {attempt.cells} tetrahedra {why}; the mesh that followed is {what} (adapt)"


def free_memory() -> float:
    """Memory that a new process can have [GiB]: ``MemAvailable``, or infinite where the system does not tell."""
    table = Path("/proc/meminfo")
    rows = table.read_text().splitlines() if table.exists() else []
    kilobytes = [int(row.split()[1]) for row in rows if row.startswith("MemAvailable:")]
    return kilobytes[0] / 2**20 if kilobytes else math.inf
