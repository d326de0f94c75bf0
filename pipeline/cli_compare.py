"""Command line of comparisons: two runs, or a model against a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from meshing.errors import ComputationError, InputError

console = Console(highlight=False)


def compare(  # noqa: PLR0913 - typer takes one argument an option
    first: Annotated[Path, typer.Argument(help="A run folder; with --model a data set of labels.")],
    second: Annotated[
        Path | None, typer.Argument(help="Another run of the same vessel, in the same frame.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Held against the data set: name of a fast model, a fitted one (.safetensors), predictions "
            "(.csv, .json), or a folder of centrelines (CASE.vtp)."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Cases of it: train, validation, test or all.")
    ] = "test",
    own_conditions: Annotated[
        Path | None,
        typer.Option(
            help="YAML of what the model assumes by itself (physiology, blood, inlet): told apart from its error."
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Largest difference of FFR that passes; exit status 1 beyond it."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="JSON file of two runs' numbers; with --model a folder for page and tables.",
        ),
    ] = None,
) -> None:
    """Two runs at the same places, or a fast model against the labels of a cohort."""
    if (second is None) == (model is None):
        raise InputError(
            field="second",
            wanted="two run folders, or a data set and --model",
            got="both" if model else "neither",
            remedy="ffr3d compare RUN RUN, or ffr3d compare DATASET --model NAME",
        )
    if model is not None:
        target = output or first / "comparisons" / Path(model).stem
        _model(first, model, split, own_conditions, target)
        _check_limit(target, limit)
    elif second is not None:
        _runs(first, second, limit, output)


def _model(dataset: Path, model: str, split: str, own: Path | None, target: Path) -> None:
    from pipeline.compare.models import compare_models

    told = compare_models(
        dataset, model, split=None if split == "all" else split, assumptions=own, output=target
    )
    table = Table("", "n", "bias", "limits of agreement", "MAE", "ICC", "flips at 0.80")
    parts = [("vessel ends", told["vessels"]), ("lesions", told["lesions"])]
    if told["conditions"] is not None:
        ends = told["conditions"]["vessels"]
        parts += [("own conditions alone, ends", ends["conditions"]), ("both, ends", ends["both"])]
    for label, part in parts:
        if part["n"]:
            limits = f"{_short(part['lower_limit'])} to {_short(part['upper_limit'])}"
            bias, mae, icc = (_short(part[name]) for name in ("bias", "mae", "icc"))
            table.add_row(label, str(part["n"]), bias, limits, mae, icc, str(part["flips"]))
    console.print(table)
    for name, what in (("missing", "without a prediction"), ("failed", "failed")):
        if told[name]:
            console.print(f"{len(told[name])} cases {what}")
    if told["fitted_to"]:
        console.print(f"The model was fitted to {len(told['fitted_to'])} of these: no test of it")
    console.print(f"Page: {target / 'comparison.html'}", soft_wrap=True)


def _check_limit(target: Path, limit: float | None) -> None:
    worst = json.loads((target / "comparison.json").read_text())["worst"]
    largest = max(abs(row["other"] - row["reference"]) for row in worst)
    if limit is not None and largest > limit:
        raise ComputationError(f"the largest difference of FFR, {largest:.3f}, is beyond {limit:g}")


def _short(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _runs(first: Path, second: Path, limit: float | None, output: Path | None) -> None:
    from pipeline.compare import compare as side_by_side

    told = side_by_side(first, second)
    if output is not None:
        output.write_text(json.dumps(told, indent=2))
    for title, rows in (("Vessel ends", told["vessels"]), ("Lesions, distal", told["lesions"])):
        names = [folder.resolve().name for folder in (first, second)]
        table = Table("", *names, "difference", "at [mm]" if title == "Vessel ends" else "stenosis",
                      title=title, title_justify="left")  # fmt: skip
        for row in rows:
            table.add_row(*_compared(row))
        if rows:
            console.print(table)
    console.print(
        f"Largest difference of FFR {told['largest_difference']:.4f}, along the vessels on average "
        f"{told['mean_difference']:.4f}"
    )
    if limit is not None and told["largest_difference"] > limit:
        raise ComputationError(f"the largest difference of FFR is beyond {limit:g}")


def _compared(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `compare`."""
    dash = "\N{EN DASH}"
    second = dash if row["second"] is None else f"{row['second']:.4f}"
    difference = dash if row["difference"] is None else f"{row['difference']:+.4f}"
    last = f"{row['at_mm']:.1f}" if "at_mm" in row else dash
    if "first_stenosis" in row:
        other = dash if row["second_stenosis"] is None else f"{row['second_stenosis']:.0%}"
        last = f"{row['first_stenosis']:.0%}, {other}"
    return row["name"], f"{row['first']:.4f}", second, difference, last
