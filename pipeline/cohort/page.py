"""The page of a cohort: how far it is, what is in it, what did not pass and why; one HTML file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.cohort.one import CERTIFICATE
from pipeline.manifest import now, write_atomically
from pipeline.report.charts import sheet, svg
from pipeline.report.colours import INK, LESION, VESSELS

NAME = "cohort.html"
WARN, FAIL = 0.02, 0.05  # of the discretisation error (`pipeline.certificate.rows`)


def write_page(folder: Path, told: Mapping[str, Any], usable: Iterable[str]) -> None:
    """Write ``cohort.html``.

    Args:
        folder: The cohort's.
        told: Its summary.
        usable: Names of the cases with a label.
    """
    import jinja2
    from markupsafe import Markup

    text = resources.files("pipeline.cohort").joinpath(NAME).read_text("utf-8")
    css = resources.files("pipeline.report").joinpath("style.css").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    values = [row for name in usable for row in _values(folder / "cases" / name)]
    figures = [Markup(one) for one in (_lowest(values), _errors(values))] if values else []
    page = environment.from_string(text).render(
        told=told, css=Markup(css), figures=figures, now=now()
    )
    write_atomically(folder / NAME, page)


def _values(run: Path) -> list[tuple[str, float, float | None]]:
    """Every FFR of a case with its error: case, value, error."""
    try:
        told = json.loads((run / CERTIFICATE).read_text())["discretisation"]["ffr"]
    except (OSError, ValueError, KeyError):
        return []
    return [(run.name, float(one["value"]), one["error"]) for one in told.values()]


def _lowest(values: list[tuple[str, float, float | None]]) -> str:
    lowest: dict[str, float] = {}
    for case, ffr, _ in values:
        lowest[case] = min(ffr, lowest.get(case, ffr))
    with sheet(5.4, 3.6) as figure:
        axes = figure.subplots()
        axes.set_axisbelow(True)
        axes.hist(list(lowest.values()), bins=[0.02 * k for k in range(52)], color=VESSELS[0])
        axes.axvline(0.80, color=INK, lw=0.8, ls=(0, (5, 3)))
        axes.set_xlim(min(0.5, *lowest.values()) - 0.02, 1.02)
        axes.set_xlabel("Lowest FFR of a case")
        axes.set_ylabel("Cases")
        return svg(figure)


def _errors(values: list[tuple[str, float, float | None]]) -> str:
    known = [(ffr, max(error, 1e-5)) for _, ffr, error in values if error is not None]
    with sheet(5.4, 3.6) as figure:
        axes = figure.subplots()
        if known:
            axes.semilogy(*zip(*known, strict=True), "o", ms=3.5, alpha=0.7, color=VESSELS[0])
        for limit in (WARN, FAIL):
            axes.axhline(limit, color=LESION, lw=1.0, ls="--")
        axes.set_xlabel("FFR")
        axes.set_ylabel("Discretisation error of FFR")
        return svg(figure)
