"""One connected lumen out of a label map: bodies, cavities, voxels that touch only at edges or corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from meshing.errors import InputError
from pipeline.imaging import Volume

Mask = npt.NDArray[np.bool_]
_FULL = np.ones((3, 3, 3), np.bool_)
COMPARABLE = 0.2  # a second body of this part of the largest one's volume is no debris
SMALLEST_VOXELS = 30
_MARGIN = 6
_THIN_VOXELS = 4


@dataclass(frozen=True, slots=True)
class LumenVoxels:
    """The lumen, cropped and padded.

    Attributes:
        volume: Boolean; the voxels that the label map gives to the lumen.
        connected: The same with the voxels added that make it connected through faces.
        dropped: A line for each body left out.
        notes: Cavities filled, bridges made, contact with the image border.
    """

    volume: Volume
    connected: Mask
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def one_lumen(volume: Volume, keep: str, source: object = None) -> LumenVoxels:
    """Keep the largest body of a boolean label map.

    Args:
        volume: Boolean volume with at least one voxel set.
        keep: ``"largest"``: smaller bodies are dropped and reported; ``"error"``: they are refused.
        source: File named in errors.

    Raises:
        InputError: Several bodies of comparable volume, or too few voxels for a surface.
    """
    bodies, count = ndimage.label(volume.array, _FULL)
    sizes = np.bincount(bodies.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    centres = np.array(ndimage.center_of_mass(volume.array, bodies, order[:8] + 1))
    lines = [_line(volume, int(sizes[k]), c) for k, c in zip(order[:8], centres, strict=True)]
    _check_bodies(sizes[order], lines, keep, source)
    dropped = lines[1:] + ([f"and {count - 8} smaller ones"] if count > 8 else [])
    array = bodies == order[0] + 1
    notes = []
    filled = ndimage.binary_fill_holes(array)
    if filled.sum() > array.sum():
        notes.append(
            f"filled {int(filled.sum() - array.sum())} voxels of cavities inside the lumen"
        )
    if _touches_border(array):
        notes.append("the lumen touches the image border and is closed there")
    cropped = _cropped(Volume(filled, volume.affine))
    connected, bridges = _bridged(cropped.array)
    if bridges:
        notes.append(f"joined voxels that touch only at an edge or corner, in {bridges} places")
    return LumenVoxels(cropped, connected, tuple(dropped), tuple(notes))


def thin_places(volume: Volume) -> tuple[str, ...]:
    """A note where the lumen is at most two voxels wide: its width is uncertain there."""
    wide = ndimage.binary_dilation(ndimage.binary_erosion(volume.array), _FULL)
    places, count = ndimage.label(volume.array & ~wide, _FULL)
    sizes = np.bincount(places.ravel(), minlength=count + 1)[1:]
    thin = np.flatnonzero(sizes >= _THIN_VOXELS) + 1
    if len(thin) == 0:
        return ()
    at = np.array(ndimage.center_of_mass(places > 0, places, thin[:3]))
    where = ", ".join(f"({x:.1f}, {y:.1f}, {z:.1f})" for x, y, z in volume.to_world(at))
    return (
        f"the lumen is at most two voxels wide in {len(thin)} places, near {where} mm: its diameter "
        "there is uncertain by a third or more; a finer label map would help",
    )


def _line(volume: Volume, voxels: int, centre: npt.NDArray[np.float64]) -> str:
    at = volume.to_world(centre[None])[0]
    size = voxels * abs(float(np.linalg.det(volume.affine[:3, :3])))
    return f"{size:.4g} mm3 ({voxels} voxels) near ({at[0]:.1f}, {at[1]:.1f}, {at[2]:.1f}) mm"


def _check_bodies(
    sizes: npt.NDArray[np.int64], lines: list[str], keep: str, source: object
) -> None:
    if sizes[0] < SMALLEST_VOXELS:
        raise InputError(
            file=source,
            field="label map",
            wanted=f"a lumen of at least {SMALLEST_VOXELS} connected voxels",
            got=f"{lines[0]} as the largest body",
            remedy="give the label of the lumen, or a finer label map",
        )
    comparable = int((sizes >= (0.0 if keep == "error" else COMPARABLE) * sizes[0]).sum())
    if comparable > 1:
        raise InputError(
            file=source,
            field="label map",
            wanted="one connected lumen",
            got=f"{comparable} bodies of comparable size: {'; '.join(lines[: min(comparable, 4)])}"
            if keep != "error"
            else f"{len(sizes)} bodies: {'; '.join(lines[:4])}",
            remedy="give one coronary tree a run: separate labels (input.label) or separate files",
        )


def _touches_border(array: Mask) -> bool:
    return any(bool(np.take(array, side, axis).any()) for axis in range(3) for side in (0, -1))


def _cropped(volume: Volume) -> Volume:
    occupied = np.argwhere(volume.array)
    low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    first = low - _MARGIN
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_world(first[None].astype(np.float64))[0]
    return Volume(np.pad(volume.array[box], _MARGIN), affine)


def _bridged(array: Mask) -> tuple[Mask, int]:
    """Add the fewest, best supported voxels that join all parts through faces; and how many places."""
    out, places = array.copy(), 0
    while True:
        parts, count = ndimage.label(out)
        if count == 1:
            return out, places
        support = ndimage.gaussian_filter(out.astype(np.float32), 1.0)
        small = 1 + int(np.argmin(np.bincount(parts.ravel())[1:]))
        one, rest = parts == small, out & (parts != small)
        beside_one = ndimage.binary_dilation(one) & ~out
        beside_rest = ndimage.binary_dilation(rest) & ~out
        both = beside_one & beside_rest
        if (
            not both.any()
        ):  # a corner contact takes two voxels: the first one, then the loop goes on
            both = beside_one & ndimage.binary_dilation(beside_rest)
        best = np.argmax(np.where(both, support, -1.0))
        out.ravel()[best] = True
        places += 1
