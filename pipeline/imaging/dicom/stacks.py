"""Planes to stacks: the volumes of a folder, each with its planes in order, and a volume's affine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.imaging.dicom.headers import PHASES, Plane

SAME_PLACE = 1e-3  # mm: planes nearer than this are at one place
UNEVEN = 0.1  # of the distance of two slices: most that a slice may lie off its place


@dataclass(frozen=True, slots=True)
class Stack:
    """The planes of one volume from first to last along their normal.

    Attributes:
        name: What `input.series` calls it: the series' number, with ``.1``, ``.2`` ... where a series has several.
        planes: In order; at least one.
        note: What tells it from the series' other stacks.
        clash: Two images at one place that nothing tells apart, if there are any.
    """

    name: str
    planes: tuple[Plane, ...]
    note: str = ""
    clash: tuple[Plane, Plane] | None = None


def stacks_of(planes: Iterable[Plane]) -> list[Stack]:
    """Group planes by series, by grid, and, where images lie at one place, by phase."""
    series: dict[str, dict[str, Plane]] = defaultdict(dict)
    for plane in planes:
        series[plane.series].setdefault(plane.instance, plane)  # copies of a file count once
    numbers = [next(iter(members.values())).number for members in series.values()]
    stacks = []
    for uid, members in series.items():
        number = next(iter(members.values())).number
        base = str(number) if numbers.count(number) == 1 and number >= 0 else uid
        parts = [part for grid in _grids(members.values()) for part in _phases(_in_order(grid))]
        for k, (group, note, clash) in enumerate(parts):
            name = base if len(parts) == 1 else f"{base}.{k + 1}"
            stacks.append(Stack(name, tuple(group), note, clash))
    return stacks


def _grids(planes: Iterable[Plane]) -> list[list[Plane]]:
    """Planes of the same size, spacing and orientation."""
    grids: list[list[Plane]] = []
    for plane in planes:
        for grid in grids:
            first = grid[0]
            if (
                first.shape == plane.shape
                and np.allclose(first.spacing, plane.spacing, rtol=1e-3)
                and np.allclose(first.axes, plane.axes, atol=2e-3)
            ):
                grid.append(plane)
                break
        else:
            grids.append([plane])
    return grids


def heights(planes: Iterable[Plane], axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positions along the planes' normal [mm], ``(n,)``."""
    normal = np.cross(axes[0], axes[1])
    return np.array([plane.position @ normal for plane in planes])


def _in_order(planes: list[Plane]) -> list[Plane]:
    along = heights(planes, planes[0].axes)
    return [planes[k] for k in np.argsort(along, kind="stable")]


_Part = tuple[list[Plane], str, tuple[Plane, Plane] | None]


def _phases(planes: list[Plane]) -> list[_Part]:
    """Split planes of which several lie at one place into volumes that have one at each."""
    place = np.concatenate([[0], np.cumsum(np.diff(heights(planes, planes[0].axes)) > SAME_PLACE)])
    most = int(np.bincount(place).max())
    if most == 1:
        return [(planes, "", None)]
    for which, what in enumerate(PHASES):
        parts: dict[float | None, list[int]] = defaultdict(list)
        for k, plane in enumerate(planes):
            parts[plane.phases[which]].append(k)
        single = all(len(set(place[part])) == len(part) for part in parts.values())
        if single and len(parts) == most and None not in parts:
            ordered = sorted((value, part) for value, part in parts.items() if value is not None)
            return [
                ([planes[k] for k in part], f"{what} {value:g}", None) for value, part in ordered
            ]
    twice = int(np.argmax(np.bincount(place) > 1))
    first, second = np.flatnonzero(place == twice)[:2]
    return [(planes, "several images at one place", (planes[first], planes[second]))]


def affine_of(stack: Stack) -> npt.NDArray[np.float64]:
    """Index of a voxel centre -> LPS [mm], ``(4, 4)``: from the first and the last slice's position.

    Raises:
        InputError: A single slice, images at one place, missing slices, uneven distances.
    """
    planes = stack.planes
    if stack.clash is not None:
        first, second = stack.clash
        raise InputError(
            file=first.file,
            field=f"series {stack.name}",
            wanted="one image at each place",
            got=f"several, such as {second.file.name}, that neither phase nor acquisition tells apart",
            remedy="leave one volume of the series in the folder",
        )
    if len(planes) < 2:
        raise InputError(
            file=planes[0].file,
            field=f"series {stack.name}",
            wanted="a volume of at least two slices",
            got="a single slice",
            remedy="give the folder with all slices of the series",
        )
    positions = np.array([plane.position for plane in planes])
    _no_gap(stack, heights(planes, planes[0].axes))
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(planes))[:, None] * step, axis=1)
    if off.max() > UNEVEN * np.linalg.norm(step):
        worst = int(off.argmax())
        raise InputError(
            file=planes[worst].file,
            field=f"series {stack.name}, slice {worst + 1} of {len(planes)}",
            wanted="slices at even distances on a straight line",
            got=f"a slice {off[worst]:.3g} mm off its place (distance of two: {np.linalg.norm(step):.3g} mm)",
            remedy="resample the series to even distances, or export it again",
        )
    affine = np.eye(4)
    affine[:3, 0] = planes[0].axes[0] * planes[0].spacing[0]
    affine[:3, 1] = planes[0].axes[1] * planes[0].spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return affine


def _no_gap(stack: Stack, along: npt.NDArray[np.float64]) -> None:
    steps = np.diff(along)
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * usual)
    if len(wide) == 0:
        return
    missing = int(np.rint(steps[wide] / usual - 1).sum())
    at = int(wide[0])
    raise InputError(
        file=stack.planes[at].file,
        field=f"series {stack.name}, after slice {at + 1} of {len(stack.planes)}",
        wanted=f"the next slice {usual:.3g} mm further",
        got=f"a gap of {steps[at]:.3g} mm; about {missing} slices missing in {len(wide)} places",
        remedy="export the series again, with all its slices",
    )
