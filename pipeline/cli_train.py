"""Command line of trainings: ``ffr3d train``, ``ffr3d train-walls``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from meshing.errors import InputError

console = Console(highlight=False)
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder; a killed run goes on.")]
Begin = Annotated[Path | None, typer.Option("--begin", help="A model whose weights to begin with.")]
Steps = Annotated[int, typer.Option(min=1, help="Optimiser steps in all.")]
Hours = Annotated[float | None, typer.Option(min=0.01, help="How long at most.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that make samples.")]
Rate = Annotated[float, typer.Option(min=1e-6, help="Largest learning rate.")]
Seed = Annotated[int, typer.Option(min=0)]


def train(  # noqa: PLR0913 - typer takes one argument an option
    output: Output,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="A dataset in nnU-Net's layout; may be repeated."),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option(help="Synthetic CT as well (alone, if there is no --data).")
    ] = True,
    begin: Begin = None,
    steps: Steps = 4000,
    hours: Hours = None,
    batch: Annotated[int, typer.Option(min=1, help="Patches a step.")] = 2,
    edge: Annotated[int, typer.Option(min=32, help="Voxels along a patch's edge; of 16.")] = 64,
    workers: Workers = 1,
    rate: Rate = 2e-3,
    keep_wide: Annotated[
        bool, typer.Option("--keep-wide", help="Train the fine network only (with --begin).")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Train the segmentation network; its model is for --model and input.model."""
    from pipeline.segmentation.network import Design, load
    from pipeline.segmentation.optimise import Training
    from pipeline.segmentation.patches import Stream
    from pipeline.segmentation.training import Data
    from pipeline.segmentation.training import train as run_training

    model = None if begin is None else load(begin)
    design = Design() if model is None else model.design
    whole = 2 ** (len(design.filters) - 1)  # its coarsest voxels
    wrong = edge % whole != 0
    if wrong or not (synthetic or data):
        raise InputError(
            field="--edge" if wrong else "--data",
            wanted=f"a multiple of {whole}" if wrong else "a dataset, or synthetic CT",
            got=str(edge) if wrong else "neither",
            remedy="64 is a good start" if wrong else "leave --no-synthetic out",
        )
    if keep_wide and model is None:
        raise InputError(
            field="--keep-wide",
            wanted="a model whose wide network is kept",
            got="no --begin",
            remedy="give one with --begin, or leave --keep-wide out",
        )
    sources = Data(Stream(edge=edge) if synthetic else None, tuple(data or ()), edge)
    how = Training(steps=steps, hours=hours, batch=batch, rate=rate, workers=workers, seed=seed)
    run_training(output, design, sources, how, model, keep_wide=keep_wide)
    console.print(f"Model: {output / 'model.safetensors'}", soft_wrap=True)


def train_walls(  # noqa: PLR0913
    output: Output,
    begin: Begin = None,
    steps: Steps = 20_000,
    hours: Hours = None,
    batch: Annotated[int, typer.Option(min=1, help="Strips a step.")] = 8,
    workers: Workers = 1,
    rate: Rate = 2e-3,
    seed: Seed = 0,
) -> None:
    """Train the wall network on straightened synthetic CT; its model is for input.walls."""
    from pipeline.segmentation.optimise import Training
    from pipeline.segmentation.wall_network import load
    from pipeline.segmentation.wall_training import train_walls as run_training

    how = Training(steps=steps, hours=hours, batch=batch, rate=rate, workers=workers, seed=seed)
    run_training(output, how, begin=None if begin is None else load(begin))
    console.print(f"Model: {output / 'walls.safetensors'}", soft_wrap=True)
