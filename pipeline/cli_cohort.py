"""Command line of cohorts: ``ffr3d cohort``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from meshing.errors import ComputationError

console = Console(highlight=False)


def cohort(  # noqa: PLR0913 - one argument an option
    design: Annotated[Path, typer.Argument(help="Design (.yaml); its keys: docs/cohorts.md.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Cohort folder [default: runs/<name of the design>]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cores of this machine [default: all].")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Trees (of variants, pairs), instead of the design's.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="By Snakemake: local, slurm, or the folder of a profile [default: without it]."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="For the cluster, e.g. slurm_partition=cpu or segment:gpu=1; repeatable."
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Write the data set when all cases are done.")
    ] = False,
    licence: Annotated[str, typer.Option(help="Of the labels (SPDX name).")] = "CC-BY-4.0",
) -> None:
    """Many vessels from one design, each to its certificate; a killed cohort goes on, a bad vessel stops none."""
    from pipeline.cohort.design import load
    from pipeline.cohort.run import run

    chosen = load(design)
    if count is not None:
        chosen = chosen.model_copy(update={"count": count})
    folder = (output or Path("runs") / chosen.name).resolve()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("cases", total=None)

        def tell(done: int, total: int, last: str) -> None:
            bar.update(task, completed=done, total=total)
            bar.console.print(f"{done}/{total} {last}", soft_wrap=True)

        if profile is None:
            told = run(chosen, folder, workers=workers, progress=tell)
            if labels and told["usable"]:
                from pipeline.labels.write import export

                export(folder, folder / "labels", licence=licence)
        else:
            from pipeline.cohort.workflow import Engine, run_workflow

            engine = Engine(profile, workers, tuple(settings or ()), licence if labels else "")
            told = run_workflow(chosen, folder, engine, tell)
    _print_summary(told)
    console.print(f"Ledger: {folder / 'ledger.jsonl'}", soft_wrap=True)
    console.print(f"Page: {folder / 'cohort.html'}", soft_wrap=True)
    if labels and told["usable"]:
        console.print(f"Data set: {folder / 'labels'}", soft_wrap=True)
    if not told["usable"]:
        raise ComputationError("no case of the cohort has a label that can be used; see the ledger")


def _print_summary(told: dict[str, Any]) -> None:
    table = Table("cases", *told["verdicts"], "usable", "core hours a label", "labels an hour")
    cost = told["core_hours_per_label"]
    table.add_row(
        str(told["cases"]),
        *(str(n) for n in told["verdicts"].values()),
        f"{told['usable']:.0%}",
        "" if cost is None else f"{cost:.3f}",
        "" if told["labels_per_hour"] is None else f"{told['labels_per_hour']:.0f}",
    )
    console.print(table)
    for name, row in told["not_passed"].items():
        console.print(f"{name} {row['verdict']}: {'; '.join(row['reasons'])}", soft_wrap=True)
