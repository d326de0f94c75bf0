"""Meshes of a run that were left for better ones (chosen by `pipeline.refine`); part of its ledger."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipeline.case import Adapt


class Attempt(BaseModel):
    """A mesh that was left for a better one.

    Attributes:
        cells: Its tetrahedra.
        factor: On the viscosity, at which the branch of steady states ended on it; one where it did not.
        seconds: Wall time of the solver on it.
        throats: Factors of the next mesh's size in each throat, if that is what changes.
        everywhere: Factor of all its sizes.
        sizes: File of its sizes, relative to the run folder, if it is adapted.
    """

    model_config = ConfigDict(extra="forbid")

    cells: int
    factor: float
    seconds: float
    throats: tuple[float, ...] = ()
    everywhere: float = 1.0
    sizes: str | None = None


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
        if attempt.throats
        else "finer everywhere"
    )
    return f"on {attempt.cells} tetrahedra {why}; the mesh that followed is {what} (adapt)"
