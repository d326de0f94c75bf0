"""Command line of data sets: ``ffr3d labels export``, ``verify`` and ``convert``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from meshing.errors import ComputationError

console = Console(highlight=False)


class Shape(StrEnum):
    """What to write."""

    vtk = "vtk"
    graph = "graph"
    points = "points"


class ViewName(StrEnum):
    """Which part of a case."""

    surface = "surface"
    volume = "volume"
    centerline = "centerline"


labels = typer.Typer(
    no_args_is_help=True, help="Data sets of labels: write one from a cohort, verify one."
)


@labels.command()
def export(
    cohort: Annotated[Path, typer.Argument(help="Folder of 'ffr3d cohort'.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Data set [default: COHORT/labels].")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Under which the labels are given on (SPDX name).")
    ] = "CC-BY-4.0",
    images: Annotated[
        bool, typer.Option("--images", help="CT and label map of each case as well (nnU-Net).")
    ] = False,
    voxel_mm: Annotated[
        float, typer.Option(min=0.2, max=1.5, help="Voxels of phantoms' CT.")
    ] = 0.4,
) -> None:
    """Write a cohort's labels: a file a case, an index, splits by tree, a datasheet. FAIL is left out."""
    from pipeline.labels.write import export as write

    target = (output or cohort / "labels").resolve()
    told = write(cohort.resolve(), target, licence=licence, images_mm=voxel_mm if images else None)
    splits = ", ".join(f"{n} {name}" for name, n in told["splits"].items())
    console.print(f"{told['exported']} cases ({splits}); left out: {told['left_out'] or 'none'}")
    console.print(f"Data set: {target}", soft_wrap=True)


@labels.command()
def verify(
    dataset: Annotated[Path, typer.Argument(help="Folder of 'ffr3d labels export'.")],
    again: Annotated[
        int, typer.Option(min=0, help="Compute so many cases again, drawn at random.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of that draw.")] = 0,
) -> None:
    """Re-hash and re-read every file, look for leaks between splits; exit status 1 with every fault."""
    from pipeline.labels.verify import verify as check

    faults = check(dataset.resolve(), again=again, seed=seed)
    for fault in faults:
        console.print(fault, soft_wrap=True, markup=False)
    if faults:
        raise ComputationError(f"the data set has {len(faults)} fault(s)")
    console.print(f"{dataset}: sound", soft_wrap=True)


@labels.command()
def convert(
    dataset: Annotated[Path, typer.Argument(help="Folder of 'ffr3d labels export'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    to: Annotated[
        Shape, typer.Option(help="VTK files (.vtu, .vtp), graphs or point clouds (.npz).")
    ] = Shape.vtk,
    view: Annotated[ViewName, typer.Option(help="Of graphs and points.")] = ViewName.surface,
    points: Annotated[int, typer.Option(min=1, help="Of each point cloud.")] = 2048,
) -> None:
    """Write every case in a shape that other programs read, a folder a split."""
    from pipeline.labels.convert import convert as run

    count = run(dataset.resolve(), output, to.value, view=view.value, points=points)
    console.print(f"{count} cases: {output}", soft_wrap=True)
