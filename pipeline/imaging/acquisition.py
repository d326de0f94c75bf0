"""How a CT was made, without who it is of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What is kept of a scan's header; nothing in it tells the patient, the place or the day.

    Attributes:
        pseudonym: Name of the scan, the same each time it is read; from it nothing can be told back.
        source: File format.
        tube_voltage_kV: Peak tube voltage; None if not told.
        kernel: Reconstruction kernel.
        slice_thickness_mm: Thickness of a slice (its distance to the next is the volume's).
        cardiac_phase_percent: Part of the R-R interval.
        scanner: Manufacturer and model.
    """

    pseudonym: str
    source: str
    tube_voltage_kV: float | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    cardiac_phase_percent: float | None = None
    scanner: str | None = None


def pseudonym(unique: bytes) -> str:
    """A short name from something unique and unguessable (an instance's UID, a whole image)."""
    return "ct-" + hashlib.sha256(b"ffr3d" + unique).hexdigest()[:10]
