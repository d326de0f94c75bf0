"""Which of a folder's volumes is meant."""

from __future__ import annotations

from pathlib import Path

from meshing.errors import InputError
from pipeline.imaging.dicom.stacks import Stack

FEW = 5  # stacks of fewer slices (localizers, bolus tracking) are not taken unless named


def choose(
    folder: Path, stacks: list[Stack], series: str | None = None, member: Path | None = None
) -> Stack:
    """The stack that is named, that has the given file, or else the only volume there.

    Raises:
        InputError: No such series; several volumes and none named.
    """
    if series is not None:
        named = [s for s in stacks if series in (s.name, s.planes[0].series)]
    elif member is not None:
        named = [s for s in stacks if any(plane.file == member for plane in s.planes)]
    else:
        named = _volumes(stacks)
    if len(named) == 1:
        return named[0]
    listed = "".join(f"\n    {_told(stack)}" for stack in sorted(named or stacks, key=_order))
    raise InputError(
        file=folder,
        field="series",
        wanted="one CT volume" if series is None else f"one volume called {series}",
        got=f"{len(named) or 'none; there are ' + str(len(stacks))}:{listed}",
        remedy="name one with input.series",
    )


def _volumes(stacks: list[Stack]) -> list[Stack]:
    """Those that may be meant: enough slices; acquired ones rather than reformats."""
    deep = [stack for stack in stacks if len(stack.planes) >= FEW] or stacks
    return [stack for stack in deep if not stack.planes[0].derived] or deep


def _order(stack: Stack) -> tuple[int, str]:
    return stack.planes[0].number, stack.name


def _told(stack: Stack) -> str:
    first = stack.planes[0]
    facts = [f"{len(stack.planes)} slices of {first.shape[0]} x {first.shape[1]}"]
    if first.acquisition.slice_thickness_mm is not None:
        facts.append(f"{first.acquisition.slice_thickness_mm:g} mm thick")
    if first.acquisition.kernel:
        facts.append(f"kernel {first.acquisition.kernel}")
    if first.acquisition.cardiac_phase_percent is not None:
        facts.append(f"cardiac phase {first.acquisition.cardiac_phase_percent:g} %")
    if first.derived:
        facts.append("derived from another")
    if stack.note:
        facts.append(stack.note)
    return f"{stack.name}: {', '.join(facts)}"
