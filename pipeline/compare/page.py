"""The page of a comparison: agreement, decisions, strata, the worst cases; one HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.charts import sheet, svg
from pipeline.report.colours import INK, LESION, STEM, VESSELS

if TYPE_CHECKING:
    from pipeline.compare.pairs import Curve, Row
    from pipeline.compare.pictures import Picture

THRESHOLD = 0.80
DASH = "–"


def render(
    told: Mapping[str, Any],
    rows: Sequence[Row],
    curves: Sequence[Curve],
    pictures: Sequence[Picture] = (),
) -> str:
    """The page.

    Args:
        told: The comparison's numbers.
        rows: All pairs.
        curves: Pressures along lines of the worst cases.
        pictures: Of their vessels.
    """
    import jinja2
    from markupsafe import Markup

    text = resources.files("pipeline.compare").joinpath("comparison.html").read_text("utf-8")
    css = resources.files("pipeline.report").joinpath("style.css").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "interval": interval}
    return environment.from_string(text).render(
        told=told,
        css=Markup(css),
        scatter=Markup(scatter(rows)),
        bland_altman=Markup(bland_altman(rows, told["vessels"])),
        worst=Markup(worst(curves)) if curves else "",
        pictures=pictures,
    )


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", "\u2212")


def interval(value: Sequence[float] | None, digits: int = 3) -> str:
    """A confidence interval."""
    return "" if value is None else f"{number(value[0], digits)} to {number(value[1], digits)}"


def scatter(rows: Sequence[Row]) -> str:
    """Model against reference, as SVG."""
    with sheet(5.4, 5.0) as figure:
        axes = figure.subplots()
        low = min(0.5, *(min(row.reference, row.other) for row in rows)) - 0.02
        axes.plot([low, 1.02], [low, 1.02], color=STEM, lw=1.0)
        for kind, colour in zip(("vessel", "lesion"), VESSELS, strict=False):
            part = [row for row in rows if row.kind == kind]
            if part:
                errors = [row.error if math.isfinite(row.error) else 0.0 for row in part]
                axes.errorbar(
                    [row.reference for row in part],
                    [row.other for row in part],
                    xerr=errors,
                    fmt="o",
                    ms=4,
                    lw=0.8,
                    alpha=0.8,
                    color=colour,
                    label={"vessel": "vessel ends", "lesion": "distal of lesions"}[kind],
                )
        for line in (axes.axhline, axes.axvline):
            line(THRESHOLD, color=INK, lw=0.8, ls=(0, (5, 3)))
        axes.set_xlim(low, 1.02)
        axes.set_ylim(low, 1.02)
        axes.set_xlabel("FFR, reference (bars: its discretisation error)")
        axes.set_ylabel("FFR, model")
        axes.legend(loc="upper left")
        return svg(figure)


def bland_altman(rows: Sequence[Row], told: Mapping[str, Any]) -> str:
    """Differences over means of the vessel ends, as SVG."""
    part = [row for row in rows if row.kind == "vessel"]
    with sheet(5.4, 5.0) as figure:
        axes = figure.subplots()
        a, b = (np.array([getattr(row, name) for row in part]) for name in ("reference", "other"))
        axes.plot(0.5 * (a + b), b - a, "o", ms=4, alpha=0.8, color=VESSELS[0])
        for name, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
            if told.get(name) is not None:
                axes.axhline(told[name], color=LESION, lw=1.2, ls=style)
                axes.annotate(number(told[name]), (1, told[name]), (-2, 3), xycoords=("axes fraction", "data"),
                              textcoords="offset points", ha="right", color=LESION)  # fmt: skip
        axes.axhline(0.0, color=STEM, lw=1.0)
        axes.set_xlabel("Mean of both FFR, vessel ends")
        axes.set_ylabel("FFR, model less reference")
        return svg(figure)


def worst(curves: Sequence[Curve]) -> str:
    """Reference and model along the lines with the largest differences, as SVG."""
    with sheet(9.0, 2.6 * math.ceil(len(curves) / 2)) as figure:
        axes = np.ravel(figure.subplots(math.ceil(len(curves) / 2), 2, squeeze=False))
        for one, place in zip(curves, axes, strict=False):
            place.plot(one.abscissa_mm, one.reference, color=INK, lw=1.6, label="reference")
            place.plot(one.abscissa_mm, one.other, color=VESSELS[1], lw=1.6, ls="--", label="model")
            place.axhline(THRESHOLD, color=INK, lw=0.8, ls=(0, (5, 3)))
            place.set_title(f"{one.case}, {one.name}", fontsize=9.5, loc="left")
            place.set_xlabel("Distance from the inlet [mm]")
            place.set_ylabel("p / Pa")
        for place in axes[len(curves) :]:
            place.set_visible(False)
        axes[0].legend(loc="lower left")
        return svg(figure)
