import base64
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from meshing.errors import InputError
from pipeline import certificate, ffr, report
from pipeline.anatomy.types import End
from pipeline.manifest import Manifest, StageRecord
from pipeline.report.border import straighten
from pipeline.report.charts import label_rows
from pipeline.report.colours import scales
from pipeline.report.data import gather
from pipeline.report.html import error, number, render
from pipeline.report.scenes import Label
from pipeline.report.viewer import decimate, scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


class Page(HTMLParser):
    """Tables by id as lists of rows, addresses in attributes, texts of scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tables: dict[str, Any] = {}
        self.addresses: list[Any] = []
        self.scripts: dict[str, str] = {}
        self._table: Any = None
        self._cell: Any = None
        self._script: str | None = None
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        for name in ("src", "href", "data", "action", "poster", "srcset", "formaction"):
            if name in attrs:
                self.addresses.append(attrs[name])
        if tag == "table":
            self._table = self.tables.setdefault(attrs["id"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._cell = ""
        elif tag == "script":
            self._script = attrs.get("id", "code")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._table[-1].append(self._cell)
            self._cell = None
        elif tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


@pytest.fixture(scope="module")
def made(tube_run):
    folder, case, _ = tube_run
    ledger = Manifest(name="tube")
    ledger.stages["mesh"] = StageRecord(
        fingerprint="x",
        inputs={},
        outputs={},
        finished="",
        seconds=12.34,
        cpu_seconds=11,
        peak_memory_GiB=0.5,
    )
    ledger.save(folder)
    ffr.run(folder, case)
    certificate.run(folder, case)
    report.run(folder, case)
    text = (folder / "report.html").read_text(encoding="utf-8")
    return folder, Page(text), json.loads((folder / "ffr" / "ffr.json").read_text())


def test_nothing_is_fetched(made):
    _, page, _ = made
    assert page.addresses
    assert [a for a in page.addresses if not a.startswith(("data:", "#"))] == []
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert (
        re.search(r"url\((?!data:|#)|@import|\bfetch\(|XMLHttpRequest|import\(", page.text) is None
    )
    assert "default-src 'none'" in page.text


def test_size_and_figures(made):
    folder, page, _ = made
    assert len(page.text.encode()) < 5e6
    for name in ("map", "mesh", "pull_back", "convergence", "quality"):
        data = (folder / "figures" / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")


def test_vessel_table_has_the_numbers_of_the_json(made):
    _, page, numbers = made
    row = page.tables["vessels"][1]
    v = numbers["vessels"][0]
    assert row == [
        "LAD",
        f"{v['ffr']:.3f}",
        "–",  # one mesh tells no discretisation error
        f"{v['pressure_mmHg']:.2f}",
        f"{v['ffr_min']:.3f}",
        f"{v['ffr_min_abscissa_mm']:.1f}",
        f"{v['flow_mL_per_min']:.1f}",
        f"{v['length_mm']:.1f}",
        f"{v['diameter_mm']:.2f}",
    ]


def test_the_certificate_is_on_the_page(made):
    folder, page, _ = made
    told = json.loads((folder / "certify" / "certificate.json").read_text())
    rows = {row[0]: row for row in page.tables["checks"][1:]}
    assert len(rows) == len(told["rows"])
    assert f"Certificate: {told['status']}" in page.text
    assert rows["largest discretisation error of an FFR"][1:] == ["–", "0.02", "0.05", "WARN"]
    assert error({"error": 0.0123}) == "±\u202f0.012"


def test_lesion_tables_have_the_numbers_of_the_json(made):
    _, page, numbers = made
    lesion = numbers["lesions"][0]
    row = page.tables["lesions"][1]
    assert row[0] == "LAD-1LAD"
    assert row[1:6] == [
        f"{lesion['ffr_distal']:.3f}",
        "–",
        *(f"{lesion[k]:.3f}" for k in ("ffr_proximal", "ffr_drop")),
        f"{lesion['pressure_drop_mmHg']:.2f}",
    ]
    assert row[6:8] == ["50.0", "75.0"]
    flow = page.tables["lesion-flow"][1]
    assert flow[1] == f"{lesion['flow_mL_per_min']:.1f}"
    assert flow[4] == f"{lesion['throat_reynolds']:.0f}"
    assert flow[5] == f"{lesion['wall_shear_stress']['mean_Pa']:.2f}"


def test_physiology_evidence_and_timings_are_told(made):
    _, page, numbers = made
    quantities = {row[0]: row for row in page.tables["quantities"][1:]}
    assert quantities["mean aortic pressure"][2:5] == ["93", "mmHg", "default"]
    assert "10.4244/EIJ-D-20-00684" in quantities["resting flow of the tree"][5]
    outlet = page.tables["outlets"][1]
    assert outlet[0] == "LAD"
    assert float(outlet[9]) == pytest.approx(
        numbers["vessels"][0]["outlet_line_error_mmHg"], rel=0.1
    )
    solver = dict(page.tables["solver"])
    assert solver["Mass balance |sum Q| / Q in"] == "2.0e-12"
    assert dict(page.tables["mesh"])["Tetrahedra"] == str(numbers["evidence"]["mesh"]["cells"])
    assert page.tables["timings"][1] == ["mesh", "12.3", "11.0", "0.50"]


def test_notice_notes_and_threshold_are_on_the_page(made):
    _, page, numbers = made
    assert page.text.count("Research use only. Not a medical device.") >= 2
    for note in numbers["notes"]:
        assert note in page.text
    assert "0.80" in page.text


def test_viewer_data_restore_wall_and_values(made):
    _, page, _ = made
    packed = json.loads(page.scripts["scene"])
    position = np.frombuffer(base64.b64decode(packed["positions"]), "<u2").reshape(-1, 3) / 65535
    points = position * packed["size_mm"] + np.array(packed["origin_mm"])
    triangles = np.frombuffer(base64.b64decode(packed["triangles"]), "<u2").reshape(-1, 3)
    assert triangles.max() < len(points)
    assert np.linalg.norm(points[:, :2], axis=1).max() == pytest.approx(1.5, rel=1e-3)
    ffr_field = packed["fields"][0]
    raw = np.frombuffer(base64.b64decode(ffr_field["values"]), "<u2")
    masked = raw == 65535
    value = ffr_field["data_low"] + (ffr_field["data_high"] - ffr_field["data_low"]) * raw / 65534
    z = points[:, 2]
    assert (masked == ((z < -0.01) | (z > 40.01))).all()
    exact = 1 - 40e3 * (z + 6) * 1e-3 / 133.322387415 / 93
    assert value[~masked] == pytest.approx(exact[~masked], abs=1e-3)
    assert [f["name"] for f in packed["fields"]] == ["ffr", "wall_shear_stress_Pa", "pressure_mmHg"]
    assert {label["kind"] for label in packed["labels"]} == {"lesion", "end"}
    assert ffr_field["threshold"] == 0.80


def test_text_of_others_cannot_become_markup(made, tube_run):
    folder, case, _ = tube_run
    nasty = case.model_copy(
        update={
            "report": case.report.model_copy(update={"title": "</script><script>alert(1)</script>"})
        }
    )
    data = gather(folder, nasty)
    labels = [Label("</script><b>", (0.0, 0.0, 0.0), "end")]
    wall = pv.PolyData(str(folder / "ffr" / "wall.vtp"))
    view = scene(wall, [], labels)
    figures = {n: folder / "figures" / f"{n}.png" for n in ("map", "mesh", "pull_back")}
    text = render(data, view, figures, "here")
    assert "<script>alert" not in text
    assert json.loads(Page(text).scripts["scene"])["labels"][0]["text"] == "</script><b>"


def test_a_run_without_ledger_history_and_lesions_still_has_a_report(make_run, make_tube):
    folder, case = make_run(make_tube(layers=24))
    flow = json.loads((folder / "solve" / "flow.json").read_text())
    flow["history"] = []
    (folder / "solve" / "flow.json").write_text(json.dumps(flow))
    mesh = json.loads((folder / "mesh" / "mesh.json").read_text())
    del mesh["quality"]["histograms"]  # of an older run
    (folder / "mesh" / "mesh.json").write_text(json.dumps(mesh))
    ffr.run(folder, case)
    certificate.run(folder, case)
    report.run(folder, case)
    text = (folder / "report.html").read_text()
    assert "No narrowing of 25 %" in text
    assert "no history" in text
    assert "No ledger" in text
    assert not (folder / "figures" / "convergence.png").exists()
    assert not (folder / "figures" / "quality.png").exists()


def test_a_missing_stage_is_named(tmp_path, tube_run):
    with pytest.raises(InputError, match=r"ffr\.json"):
        report.run(tmp_path, tube_run[1])


def test_the_border_of_the_mask_is_straight_in_pictures():
    wall = pv.Cylinder(radius=1.5, height=20, direction=(0, 0, 1), resolution=24, capping=False)
    wall = wall.triangulate().subdivide(4)
    z = np.asarray(wall.points)[:, 2]
    mask = z > 2.1  # no row of nodes lies there
    wall.point_data["extension"] = mask.astype(np.uint8)
    wall.point_data["ffr"] = np.where(mask, np.nan, 0.9)
    end = End("out", "outlet", 1, (0.0, 0.0, 2.1), (0.0, 0.0, 1.0), 7.0, 3.0, 8.0)
    far = dataclasses.replace(end, name="in", centre_mm=(0.0, 0.0, -9.0), normal=(0.0, 0.0, -1.0))
    made = straighten(wall, [end, far])
    ffr_there = np.asarray(made.point_data["ffr"])
    coloured = ~np.isnan(ffr_there)
    assert np.asarray(made.points)[coloured, 2].max() == pytest.approx(2.1)
    assert ffr_there[coloured] == pytest.approx(0.9)
    assert np.array_equal(np.asarray(made.points)[~mask], np.asarray(wall.points)[~mask])
    whole = coloured[made.regular_faces].all(axis=1)
    shown = made.extract_cells(whole).compute_cell_sizes()["Area"].sum()
    sides = 24 * 2 * 1.5 * np.sin(np.pi / 24)
    assert shown == pytest.approx(sides * 12.1, rel=1e-6)
    assert straighten(wall, [dataclasses.replace(end, extension_mm=0.0)]) == wall


def test_decimation_keeps_shape_and_limit():

    sphere = pv.Sphere(radius=2.0, theta_resolution=120, phi_resolution=120)
    light = decimate(sphere, 5000)
    assert light.n_cells <= 5000
    assert light.volume == pytest.approx(sphere.volume, rel=2e-3)


def test_scales_are_round_and_the_ffr_scale_is_fixed():
    f, w, p = scales(np.array([0.1, 3.0, 17.0, np.nan]), np.array([47.2, 93.0, np.nan]))
    assert (f.low, f.high) == (0.5, 1.0)
    assert w.high == 20.0
    assert (p.low, p.high) == (45.0, 95.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.8046, "0.805"), (None, "–"), (float("nan"), "–"), (-0.0001, "0.000")]
)
def test_numbers_on_the_page(value, text):
    assert number(value, 3) == text


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")
def test_a_browser_shows_the_view_without_complaint(made, tmp_path):
    folder, _, _ = made
    flags = (
        "--headless --no-sandbox --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader "
        "--enable-logging=stderr --virtual-time-budget=5000 --dump-dom"
    )
    done = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path}", f"file://{folder}/report.html"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert complaints == []
    assert 'data-ready="yes"' in done.stdout
    assert 'class="without"' not in done.stdout
    assert done.stdout.count('class="label ') == 3


@pytest.mark.parametrize(
    ("places", "rows"),
    [([], []), ([5.0], [0]), ([30.0, 10.0, 31.0, 29.0], [1, 0, 2, 0]), ([1.0, 6.0], [0, 0])],
)
def test_labels_of_close_lesions_stand_above_each_other(places, rows):
    assert label_rows(places, 5.0) == rows
