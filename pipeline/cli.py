"""Command line: one verb a stage, and ``ffr3d run`` for all of them.

Exit status: 0 done; 1 a computation ended without a result; 2 bad input. No traceback for either.
"""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from meshing.errors import ComputationError, InputError
from pipeline.cli_cohort import cohort
from pipeline.cli_compare import compare
from pipeline.cli_fit import fit
from pipeline.cli_labels import labels
from pipeline.cli_train import train, train_walls

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="3D pressure field and FFR of a coronary tree. Research use only. Not a medical device.",
)
console = Console(highlight=False)


class StageName(StrEnum):
    """The stages in order; the first two with a CT only."""

    image = "image"
    segment = "segment"
    surface = "surface"
    anatomy = "anatomy"
    mesh = "mesh"
    solve = "solve"
    ffr = "ffr"
    certify = "certify"
    report = "report"


CaseFile = Annotated[
    Path,
    typer.Argument(
        help="Case (.yaml); or a surface, label map or DICOM folder, run with all defaults."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Override a key of the case; may be repeated."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Run folder [default: runs/<name of the case>]."),
]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from pipeline.manifest import version as number

        console.print(f"ffr3d {number()}")
        raise typer.Exit


@app.command()
def run(
    case: CaseFile,
    output: Folder = None,
    overrides: Overrides = None,
    start: Annotated[
        StageName | None,
        typer.Option("--from", help="Run this stage and all after it, fresh or not."),
    ] = None,
    stop: Annotated[StageName | None, typer.Option("--to", help="Last stage to run.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Fast: coarse mesh, FFR to about 0.02.")
    ] = False,
) -> None:
    """From a vessel to its FFR report; finished stages that are still fresh are skipped."""
    from pipeline.case_file import PREVIEW, load
    from pipeline.run import run as run_stages

    resolved = load(case, (*(PREVIEW if preview else ()), *(overrides or ())))
    folder = output or Path("runs") / (resolved.name + ("-preview" if preview else ""))
    run_stages(resolved, folder.resolve(), start=start and start.value, stop=stop and stop.value)
    if (folder / "ffr" / "ffr.json").exists() and stop in (None, "ffr", "certify", "report"):
        _print_ffr(folder)
    if stop in (None, "report"):
        console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)


def _verb(name: str, text: str) -> None:
    """Add ``ffr3d <stage>``: run up to that stage."""

    def verb(case: CaseFile, output: Folder = None, overrides: Overrides = None) -> None:
        run(case, output, overrides, None, StageName(name))

    app.command(name, help=text)(verb)


_verb("image", "Read a CT: Hounsfield units, without identifiers.")
_verb("surface", "Run up to the closed lumen surface.")
_verb("anatomy", "Run up to ends, centrelines, flow extensions and lesions.")
_verb("mesh", "Run up to the tetrahedral mesh.")
_verb("solve", "Run up to the flow solution.")
_verb("ffr", "Run up to the FFR field and its numbers.")
_verb("certify", "Run up to the certificate: checks, and the discretisation error of each FFR.")
_verb("report", "Run up to the report (the same as run).")


@app.command()
def segment(
    case: CaseFile,
    output: Folder = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Weights of 'ffr3d train' [default: bundled].")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run up to the lumen of a CT's coronaries."""
    chosen = () if model is None else (f"input.model={model.resolve()}",)
    run(case, output, [*(overrides or ()), *chosen], None, StageName.segment)


@app.command("mesh-series")
def mesh_series(
    case: CaseFile,
    output: Folder = None,
    levels: Annotated[int, typer.Option(help="How many meshes.")] = 3,
    factor: Annotated[float, typer.Option(help="Sizes of a mesh over those of the next.")] = 1.5,
    nested: Annotated[
        bool, typer.Option("--nested", help="Cut every tetrahedron in eight.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Self-similar or nested meshes of one vessel, for convergence studies; level 1 has the case's sizes."""
    from pydantic import ValidationError

    from meshing.options import SeriesOptions
    from meshing.series import mesh_series as make
    from pipeline.anatomy import to_lumen
    from pipeline.case_file import load
    from pipeline.run import run as run_stages

    try:
        series = SeriesOptions(levels=levels, factor=factor, nested=nested)
    except ValidationError as fault:
        wrong = fault.errors()[0]
        raise InputError(
            field=f"--{wrong['loc'][0]}",
            wanted=wrong["msg"].removeprefix("Input should be "),
            got=str(wrong["input"]),
            remedy="three levels with factor 1.5 are a good start",
        ) from fault
    resolved = load(case, overrides or ())
    folder = (output or Path("runs") / resolved.name).resolve()
    run_stages(resolved, folder, stop="anatomy")
    make(to_lumen(folder / "anatomy"), resolved.mesh, folder / "series", series, console.print)
    _print_series(folder / "series")


def _print_series(folder: Path) -> None:
    table = Table("level", "tetrahedra", "edge [mm]", "finer by", "volume error", "rung")
    for row in json.loads((folder / "series.json").read_text())["levels"]:
        table.add_row(
            str(row["level"]),
            f"{row['cells']:,}",
            f"{row['edge_mm']:.4f}",
            f"{row['refinement']:.3f}" if "refinement" in row else "",
            f"{row['volume_error']:.1e}",
            row["rung"],
        )
    console.print(table)
    console.print(f"Meshes: {folder}", soft_wrap=True)


app.command()(compare)
app.command()(cohort)
app.command()(fit)
app.command()(train)
app.command("train-walls")(train_walls)
app.add_typer(labels, name="labels")


@app.command()
def check(case: CaseFile, overrides: Overrides = None) -> None:
    """Report every fault of a case at once; computes nothing."""
    from pipeline.case_file import load

    console.print(f"{case}: valid (case {load(case, overrides or ()).name!r})", soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON schema of the case."""
    from pipeline.case import Case

    sys.stdout.write(json.dumps(Case.model_json_schema(), indent=2) + "\n")


@app.command()
def phantom(
    case: CaseFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")],
    voxel_mm: Annotated[
        float | None,
        typer.Option(
            "--voxel-mm", min=0.1, max=2.0, help="Also write a label map of this voxel size."
        ),
    ] = None,
    ct_mm: Annotated[
        float | None,
        typer.Option("--ct-mm", min=0.2, max=2.0, help="Also write a CT with voxels of this size."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write the phantom tree of a case: exact surface, truth; on demand a label map and a synthetic CT."""
    from pipeline.case import PhantomInput
    from pipeline.case_file import load

    source = load(case, overrides or ()).input
    if not isinstance(source, PhantomInput):
        raise InputError(
            file=case,
            field="input.kind",
            wanted="phantom",
            got=source.kind,
            remedy="see configs/demo.yaml for a phantom",
        )
    from pipeline.phantom import build, write

    tree = build(source)
    write(tree, output, voxel_mm if voxel_mm is not None else source.voxel_mm)
    if ct_mm is not None:
        from pipeline.imaging import write_nifti
        from pipeline.phantom.scan import scan_tree, scene_around

        write_nifti(scan_tree(scene_around(tree), ct_mm, source.seed).ct, output / "ct.nii.gz")
    console.print(f"Phantom: {output}", soft_wrap=True)


def _print_ffr(folder: Path) -> None:
    from pipeline.ffr import summary_rows

    numbers = json.loads((folder / "ffr" / "ffr.json").read_text())
    for title, header, rows in summary_rows(numbers):
        table = Table(*header, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(str(numbers["notice"]))


def main() -> None:
    """Run the command line and exit."""
    logging.raiseExceptions = False  # a reader that went away (| head) is no news
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        app()
    except (InputError, ComputationError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"ffr3d: error: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write("ffr3d: interrupted; run the same command again to go on\n")
        sys.exit(130)
