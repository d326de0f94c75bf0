"""Pull-back curves and convergence history."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report.colours import INK, LESION, STEM, vessel_style
from pipeline.report.data import PullBack, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LABEL_WIDTH = 0.08
"""Room for a lesion's label, as a part of the axis."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": "#8a9099",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "xtick.color": "#4a5059",
    "ytick.color": "#4a5059",
    "svg.fonttype": "none",
    "svg.hashsalt": "ffr3d",
    "legend.frameon": False,
}


@contextmanager
def sheet(width: float, height: float) -> Iterator[Figure]:
    """A figure of a size [in] in the report's style."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def svg(figure: Figure) -> str:
    """A figure as SVG, to be put into a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def pull_back(run: Run, path: Path) -> None:
    """FFR and lumen diameter along every centreline, with the threshold and the lesions."""
    with sheet(9.0, 5.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
        shared = _shared(run.pull_backs)
        for k, curve in enumerate(run.pull_backs):
            colour, dash = vessel_style(k)
            own = ~np.isin(curve.branch, shared)
            _line(upper, curve.abscissa_mm, curve.ffr, ~own, color=STEM, lw=1.8)
            _line(lower, curve.abscissa_mm, curve.diameter_mm, ~own, color=STEM, lw=1.4)
            style = {"color": colour, "ls": dash}
            _line(upper, curve.abscissa_mm, curve.ffr, own, lw=1.8, label=curve.outlet, **style)
            _line(lower, curve.abscissa_mm, curve.diameter_mm, own, lw=1.4, **style)
        _threshold(upper, run.case.report.threshold)
        _lesions(upper, lower, run)
        lowest = min(float(np.nanmin(curve.ffr)) for curve in run.pull_backs)
        upper.set_ylim(min(0.5, lowest - 0.05), 1.03)
        upper.set_ylabel("FFR = p / Pa")
        lower.set_ylabel("Diameter [mm]")
        lower.set_ylim(bottom=0)
        lower.set_xlabel("Distance from the anatomical inlet along the centreline [mm]")
        upper.legend(loc="lower left", ncols=3, title="Vessel end")
        figure.savefig(path, dpi=150)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def beat(run: Run, path: Path) -> bool:
    """Pressures and flows of a beat at inlet and outlets; False where the flow is steady."""
    told = run.ffr.get("pulse")
    if not told:
        return False
    times = np.array([0.0, *told["times_s"]])
    record = run.physiology.get("pulse") or {}
    with sheet(9.0, 5.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for axes in (upper, lower):
            if "valve_closing" in record:
                axes.axvspan(
                    record["valve_closing"] * told["period_s"],
                    times[-1],
                    color=STEM,
                    alpha=0.12,
                    lw=0,
                )
        outlets = [name for name in told["flow_mL_per_min"] if name != run.anatomy.inlet.name]
        inlet = told["pressure_mmHg"][run.anatomy.inlet.name]
        given = run.case.inlet.kind == "flow"
        upper.plot(times, _closed(inlet), color=INK, lw=1.8, label="inlet" if given else "aorta")
        if "ventricular_mmHg" in record:
            ventricle = record["ventricular_mmHg"]
            even = np.linspace(0.0, told["period_s"], len(ventricle) + 1)
            upper.plot(
                even, [*ventricle, ventricle[0]], color=INK, lw=1.0, ls=":", label="left ventricle"
            )
        for k, name in enumerate(outlets):
            colour, dash = vessel_style(k)
            style = {"color": colour, "ls": dash, "lw": 1.6, "label": name}
            upper.plot(times, _closed(told["pressure_mmHg"][name]), **style)
            lower.plot(times, _closed(told["flow_mL_per_min"][name]), **style)
        upper.set_ylabel("Pressure [mmHg]")
        lower.set_ylabel("Flow [mL/min]")
        lower.set_xlabel("Time from the beginning of contraction [s]")
        lower.set_xlim(0.0, times[-1])
        upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, dpi=150)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return True


def _closed(values: Sequence[float]) -> list[float]:
    """A period's values with the last before the first: at time zero the flow is what it is at the end."""
    return [values[-1], *values]


def _shared(curves: Sequence[PullBack]) -> Ints:
    """Branch numbers that more than one centreline passes."""
    numbers, count = np.unique(
        np.concatenate([np.unique(curve.branch) for curve in curves]), return_counts=True
    )
    return np.asarray(numbers[count > 1])


def _line(axes: Axes, x: Floats, y: Floats, show: Mask, **style: Any) -> None:  # noqa: ANN401
    """A line where ``show``, joined to the point before it."""
    joined = show.copy()
    joined[:-1] |= show[1:]
    axes.plot(x, np.where(joined, y, np.nan), **style)


def _threshold(axes: Axes, threshold: float) -> None:
    axes.axhline(threshold, color=INK, lw=1.0, ls=(0, (5, 3)))
    axes.annotate(
        f"{threshold:.2f}",
        (1, threshold),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        color=INK,
    )


def _lesions(upper: Axes, lower: Axes, run: Run) -> None:
    lesions = run.ffr["lesions"]
    left, right = upper.get_xlim()
    rows = label_rows([lesion["throat_mm"] for lesion in lesions], LABEL_WIDTH * (right - left))
    for lesion, row in zip(lesions, rows, strict=True):
        for axes in (upper, lower):
            axes.axvspan(lesion["start_mm"], lesion["end_mm"], color=LESION, alpha=0.08, lw=0)
        upper.annotate(
            f"{lesion['name']}\n{lesion['diameter_stenosis']:.0%} DS",
            (lesion["throat_mm"], 1.0),
            (0, 2 + 26 * row),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=LESION,
            annotation_clip=False,
        )


def label_rows(places: Sequence[float], width: float) -> list[int]:
    """Row (0 lowest) of each of several labels of a width so that none overlaps another."""
    rows, last = [0] * len(places), list[float]()
    for k in np.argsort(places, kind="stable"):
        free = (row for row, at in enumerate(last) if places[k] - at >= width)
        row = next(free, len(last))
        last[row : row + 1] = [places[k]]
        rows[k] = row
    return rows


def convergence(run: Run, path: Path) -> bool:
    """Residual and flows over the solver's steps; False if there is no history to draw."""
    rows = run.flow.history
    if not any(_number(row.get("residual")) for row in rows):
        return False
    with sheet(9.0, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        _residuals(left, rows)
        left.axhline(run.ffr["evidence"]["solver"]["tolerance"], color=INK, lw=0.9, ls=(0, (5, 3)))
        left.set_ylabel("Residual, relative to the first [1]")
        _flows(right, rows)
        for axes in (left, right):
            axes.set_xlabel("Step of the solver")
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.savefig(path, dpi=150)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return True


def mesh_quality(run: Run, path: Path) -> bool:
    """Histograms of the cells' angles, scaled Jacobian and aspect, and elements across; False if not in the mesh."""
    quality = run.vessel.quality
    if "histograms" not in quality:
        return False
    asked = run.case.mesh
    with sheet(9.0, 5.2) as figure:
        (angles, jacobian), (aspect, across) = figure.subplots(2, 2)
        _bars(angles, quality, "dihedral", asked.min_dihedral_deg, "smallest")
        _bars(angles, quality, "max_dihedral", None, "largest")
        angles.set_xlabel("Dihedral angle of a cell [degrees]")
        angles.legend(loc="upper right")
        _bars(jacobian, quality, "scaled_jacobian", asked.min_scaled_jacobian)
        jacobian.set_xlabel("Scaled Jacobian [1]")
        _bars(aspect, quality, "aspect", None)
        aspect.set_xlabel("Aspect: longest edge over inscribed radius, regular cell 1 [1]")
        _elements_across(across, quality.get("across_by_radius", []), asked.elements_per_diameter)
        figure.savefig(path, dpi=150)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return True


def _bars(
    axes: Axes, quality: Mapping[str, Any], name: str, limit: float | None, label: str = ""
) -> None:
    edges = np.array(quality["histograms"][name]["edges"])
    counts = np.array(quality["histograms"][name]["counts"])
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", alpha=0.7, label=label or None)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.set_ylabel("Tetrahedra")
    if limit is not None:
        axes.axvline(limit, color=INK, lw=1.0, ls=(0, (5, 3)))


def _elements_across(axes: Axes, rows: list[dict[str, Any]], asked: float) -> None:
    """Diameter over mean edge against the local diameter: median and the coarsest hundredth."""
    middle = [row["radius_from_mm"] + row["radius_to_mm"] for row in rows]
    for k, (key, label) in enumerate(
        (("across_median", "median"), ("across_1_percent", "1 % of the cells below"))
    ):
        axes.plot(middle, [r[key] for r in rows], "o-", color=vessel_style(k)[0], label=label)
    axes.axhline(asked, color=INK, lw=1.0, ls=(0, (5, 3)))
    axes.set_xlabel("Diameter [mm]")
    axes.set_ylabel("Elements across [1]")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")


def _residuals(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """One line a phase of the solver; phases of one element share a colour, its helpers (``P2-P2 nu*3``) a pale one."""
    found = [
        (n, str(row.get("phase", "")), row["residual"])
        for n, row in enumerate(rows, 1)
        if _number(row.get("residual"))
    ]
    labels: dict[str, str] = {}
    for phase in dict.fromkeys(phase for _, phase, _ in found):
        element, *helper = phase.split(" ", 1)
        label = f"{element}, on the way" if helper else element
        colour = labels.setdefault(element, vessel_style(len(labels))[0])
        steps = np.array([n for n, of, _ in found if of == phase], dtype=float)
        values = np.array([value for _, of, value in found if of == phase])
        pauses = np.flatnonzero(np.diff(steps) > 1) + 1  # a phase that comes back is not one line
        steps, values = (np.insert(column, pauses, np.nan) for column in (steps, values))
        again = label in axes.get_legend_handles_labels()[1]
        axes.semilogy(
            steps,
            values,
            color=colour,
            alpha=0.45 if helper else 1.0,
            lw=1.6,
            marker="o",
            ms=3,
            label="_" if again else label,
        )
    if any(labels):
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _flows(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Flow out of each outlet, or the linear iterations where the history has no flows."""
    steps = np.arange(1, len(rows) + 1)
    names = [name for name, value in rows[-1].get("Q", {}).items() if value > 0]
    if not names:
        axes.plot(steps, [row.get("linear_iterations", np.nan) for row in rows], color="#0072b2")
        axes.set_ylabel("Linear iterations [1]")
        return
    for k, name in enumerate(names):
        colour, dash = vessel_style(k)
        flow = [row.get("Q", {}).get(name, np.nan) * 60e6 for row in rows]
        axes.plot(steps, flow, color=colour, ls=dash, lw=1.4, label=name)
    axes.set_ylabel("Flow out [mL/min]")
    axes.set_ylim(0, 1.2 * max(1.0, *(rows[-1]["Q"][name] * 60e6 for name in names)))
    axes.legend(fontsize=8, ncols=3, loc="upper left")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and value > 0
