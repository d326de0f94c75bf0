"""The page: tables, figures and viewer in one file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.report.data import Run

DASH = "–"


def render(run: Run, scene: dict[str, Any], figures: Mapping[str, Path], mesh_place: str) -> str:
    """The report as one HTML text without any reference outside of itself.

    Args:
        run: What to tell.
        scene: Data of the rotatable view.
        figures: PNG by name: ``map``, ``mesh``, ``pull_back``, maybe ``beat``, ``convergence``, ``quality``, and
            ``reformat`` (of a CT). Of all charts the SVG beside the PNG goes into the page.
        mesh_place: Where the mesh figure looks.
    """
    import jinja2
    from markupsafe import Markup

    def low(value: float) -> Markup:
        return Markup(' class="low"' if value <= run.case.report.threshold else "")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["value"] = lambda x: x if isinstance(x, str) else significant(x)
    environment.filters |= {
        "number": number,
        "significant": significant,
        "power": power,
        "low": low,
        "error": error,
    }
    page = environment.from_string(_asset("report.html")).render(
        title=run.title,
        summary=_summary(run),
        cards=_cards(run),
        ffr=run.ffr,
        certificate=run.certificate,
        errors=run.certificate["discretisation"]["ffr"],
        physiology=run.physiology,
        vessels={v["name"]: v for v in run.ffr["vessels"]},
        threshold=run.case.report.threshold,
        min_stenosis=run.case.anatomy.min_diameter_stenosis,
        images={
            name: _data_uri(figures[name])
            for name in ("map", "mesh", "reformat")
            if name in figures
        },
        svg={
            name: _svg(figures.get(name))
            for name in ("pull_back", "beat", "convergence", "quality")
        },
        triangles=f"{_triangles(scene):,}".replace(",", "\u202f"),
        solver_rows=list(_solver_rows(run)),
        mesh_rows=list(_mesh_rows(run)),
        mesh_place=mesh_place,
        failed=Markup(' class="low"'),
        stages=[
            {"name": name, **record.model_dump()} for name, record in run.ledger.stages.items()
        ],
        case_yaml=_case_yaml(run),
        css=Markup(_asset("style.css")),
        js=Markup(_asset("viewer.js")),
        scene=Markup(json.dumps(scene).replace("</", "<\\/")),
    )
    return str(page)


def number(value: float | None, digits: int) -> str:
    """Fixed digits; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "\u2212") if float(text) != 0 else text.lstrip("-")


def significant(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def error(told: Mapping[str, Any] | None) -> str:
    """A discretisation error; a dash for what is not known."""
    return DASH if told is None else f"±\u202f{told['error']:.3f}"


def power(value: float) -> str:
    """Scientific, two digits."""
    return f"{value:.1e}"


def _asset(name: str) -> str:
    return resources.files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _svg(path: Path | None) -> Any:  # noqa: ANN401
    from markupsafe import Markup

    if path is None:
        return ""
    text = path.with_suffix(".svg").read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    for name in ("xmlns:xlink", "xmlns"):  # HTML needs no namespace addresses
        start = text.index(f'{name}="')
        text = text[:start] + text[text.index('"', start + len(name) + 2) + 1 :]
    metadata = text.find("<metadata>")
    if metadata >= 0:
        text = text[:metadata] + text[text.index("</metadata>") + len("</metadata>") :]
    return Markup(text.replace("xlink:href", "href"))


def _triangles(scene: Mapping[str, Any]) -> int:
    return len(base64.b64decode(scene["triangles"])) // int(scene["index_bytes"]) // 3


def _summary(run: Run) -> str:
    ends = len(run.anatomy.outlets)
    created = run.ledger.created if run.ledger.stages else ""
    parts = [
        f"{run.case.input.kind} input",
        f"{ends} vessel end{'s' if ends > 1 else ''}",
        f"lumen {run.anatomy.lumen_volume_mm3 / 1000:.2f} mL",
        f"{run.flow.element} on {run.flow.cells:,} tetrahedra".replace(",", "\u202f"),
        created,
    ]
    return " · ".join(part for part in parts if part)


def _cards(run: Run) -> Iterator[dict[str, str]]:
    worst = min(run.ffr["vessels"], key=lambda v: v["ffr"])
    yield {
        "value": number(worst["ffr"], 2),
        "label": f"lowest FFR at a vessel end ({worst['name']})",
    }
    if run.ffr["lesions"]:
        lesion = max(run.ffr["lesions"], key=lambda x: x["ffr_drop"])
        drop = number(lesion["pressure_drop_mmHg"], 1)
        yield {
            "value": number(lesion["ffr_distal"], 2),
            "label": f"FFR distal of {lesion['name']}, drop {drop} mmHg",
        }
    yield {
        "value": number(run.ffr["reference"]["Pa_mmHg"], 0) + " mmHg",
        "label": "aortic pressure Pa",
    }
    yield {"value": number(run.ffr["inlet"]["flow_mL_per_min"], 0) + " mL/min", "label": "inflow"}
    told, reasons = run.certificate, run.certificate["reasons"]
    label = (
        f"{len(reasons)} of {len(told['rows'])} checks need a look" if reasons else "certificate"
    )
    yield {"value": told["status"], "label": label}


def _solver_rows(run: Run) -> Iterator[tuple[str, str]]:
    s, blood = run.ffr["evidence"]["solver"], run.ffr["evidence"]["blood"]
    mismatch = run.ffr["evidence"]["section_flow_mismatch"]
    yield "Element (velocity-pressure)", s["element"]
    yield "Status", s["status"]
    yield "Nonlinear residual, relative", power(s["residual"])
    yield "Tolerance asked for", power(s["tolerance"])
    yield "Mass balance |sum Q| / Q in", power(s["mass_balance"])
    yield "Unknowns", str(s["unknowns"])
    yield "Nonlinear steps", str(s["steps"])
    yield "Linear iterations", str(s["linear_iterations"])
    yield "MPI ranks", str(s["ranks"])
    yield "Memory of all ranks [GiB]", number(s["peak_memory_GiB"], 2)
    if len(s.get("rank_memory_GiB", ())) > 1:
        yield "Memory of the largest rank [GiB]", number(max(s["rank_memory_GiB"]), 2)
    for phase, seconds in s["seconds"].items():
        yield f"Time: {phase} [s]", number(seconds, 1)
    if mismatch["median"] is not None:
        yield (
            f"Flow through {mismatch['sections']} sections off by, median / 95 % [%]",
            f"{number(100 * mismatch['median'], 2)} / {number(100 * mismatch['p95'], 2)}",
        )
    yield "Density [kg/m3]", significant(blood["density_kg_per_m3"])
    yield "Viscosity [mPa s]", significant(blood["viscosity_mPa_s"])


def _mesh_rows(run: Run) -> Iterator[tuple[str, str]]:
    mesh = run.ffr["evidence"]["mesh"]
    yield "Tetrahedra", str(mesh["cells"])
    yield "Nodes", str(mesh["nodes"])
    yield "Geometric order", {1: "1 (straight)", 2: "2 (curved)"}[mesh["geometric_order"]]
    told = ("cells", "nodes", "order")
    yield from _flat({key: value for key, value in mesh["quality"].items() if key not in told})


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Numbers and texts of a nested record; lists of records are left to the JSON."""
    for key, value in data.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, bool | int | str):
            yield name, str(value)
        elif isinstance(value, float):
            yield name, significant(value)


def _case_yaml(run: Run) -> str:
    import yaml

    path = run.folder / "case.yaml"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return yaml.safe_dump(run.case.model_dump(mode="json"), sort_keys=False)
