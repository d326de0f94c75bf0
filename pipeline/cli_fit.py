"""Command line of fitted models: ``ffr3d fit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from meshing.errors import InputError

console = Console(highlight=False)


def fit(
    dataset: Annotated[Path, typer.Argument(help="Folder of 'ffr3d labels export'.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Model [default: DATASET/models/fitted.safetensors]."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Through all lines.")] = 150,
    folds: Annotated[int, typer.Option(min=2, help="Members, each without one of the folds.")] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit a fast model to a cohort's labels: for compare --model, with a held-out score and a calibrated spread."""
    from pipeline.fast.protocol import FITTED
    from pipeline.learning.fit import Fitting
    from pipeline.learning.fit import fit as run

    target = output or dataset / "models" / f"fitted{FITTED}"
    if target.suffix != FITTED:
        raise InputError(
            field="--output",
            wanted=f"a name that ends in {FITTED}",
            got=str(target),
            remedy=f"e.g. {target.with_suffix(FITTED)}",
        )
    columns = (TextColumn("members"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            bar.console.print(f"member {done} of {total}")

        card = run(dataset, target, Fitting(epochs=epochs, folds=folds, seed=seed), tell)
    target.with_suffix(".json").write_text(json.dumps(card, indent=2))
    console.print(_table(card["held_out"]))
    a, b = card["spread"]["a"], card["spread"]["b"]
    console.print(f"Spread of an FFR: sqrt({b:.4f}^2 + ({a:.3f} (1 - FFR))^2)")
    console.print(f"Model: {target}", soft_wrap=True)


def _table(told: dict[str, Any]) -> Table:
    """Scores on trees that a member had not seen, beside those of the formulas it corrects."""
    table = Table("on trees not seen", "", "n", "bias", "MAE", "RMSE", "flips at 0.80")
    for kind in ("vessels", "lesions"):
        for name in ("model", "formulas"):
            one = told[name][kind]
            if one["n"]:
                numbers = (f"{one[key]:.4f}" for key in ("bias", "mae", "rmse"))
                table.add_row(kind, name, str(one["n"]), *numbers, str(one["flips"]))
    return table
