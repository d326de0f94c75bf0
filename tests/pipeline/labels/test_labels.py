"""Data sets: what is written is what the runs say, each kind of damage is found, torch reads it the same twice."""

import json
import shutil

import h5py
import numpy as np
import pytest
import yaml

from meshing.errors import InputError
from pipeline.labels import schema
from pipeline.labels.case import outward_normals
from pipeline.labels.verify import verify
from pipeline.labels.views import FEATURES, TARGETS, read
from pipeline.labels.write import export, read_index, splits
from pipeline.manifest import pseudonym

NAMES = [f"d-{k:05d}" for k in range(4)]


@pytest.fixture
def dataset(written, tmp_path):
    """A copy to do damage to."""
    shutil.copytree(written[0], tmp_path / "labels")
    return tmp_path / "labels"


def test_what_is_exported(written):
    target, told = written
    assert told["exported"] == 3
    assert told["left_out"] == {"FAIL": 1}
    left = json.loads((target / "left_out.json").read_text())
    assert list(left) == [NAMES[3]]
    assert left[NAMES[3]]["verdict"] == "FAIL"
    assert sum(told["splits"].values()) == 3
    rows = read_index(target)
    assert [row["case"] for row in rows] == NAMES[:3]
    assert [row["verdict"] for row in rows] == ["PASS", "PASS", "WARN"]
    assert not (target / "cases" / f"{NAMES[3]}.h5").exists()
    assert verify(target) == []


def test_a_case_has_every_array_with_its_type(written):
    with h5py.File(written[0] / "cases" / f"{NAMES[0]}.h5") as file:
        assert file.attrs["schema"] == schema.VERSION
        found = {}
        file.visititems(
            lambda path, it: found.update({path: it}) if isinstance(it, h5py.Dataset) else None
        )
        for path, values in found.items():
            told = schema.of(path)
            assert told is not None
            assert values.dtype.name == told.dtype, path
        assert len(found) == 12 + 10  # one vessel end
        labels = json.loads(file.attrs["labels"])
        (vessel,) = labels["vessels"]
        line = file[f"centerlines/{vessel['name']}"]
        end = np.interp(vessel["length_mm"], line["abscissa"][:], line["ffr"][:])
        assert end == pytest.approx(vessel["ffr"], abs=1e-3)
        inside = line["lesion"][:] >= 0
        s, (lesion,) = line["abscissa"][:], labels["lesions"]
        assert s[inside].min() == pytest.approx(lesion["start_mm"], abs=0.5)
        assert s[inside].max() == pytest.approx(lesion["end_mm"], abs=0.5)
        normals, points = file["surface/normals"][:], file["surface/points"][:]
        assert np.linalg.norm(normals, axis=1) == pytest.approx(1.0, abs=1e-5)
        conditions = json.loads(file.attrs["conditions"])
        assert conditions["outlets"][vessel["name"]]["kind"] == "resistance"
        provenance = file.attrs["provenance"]
        assert "/home/a" not in provenance
        assert "path: x.stl" not in provenance
        assert f"{pseudonym('x.stl')}.stl" in provenance  # names may be patients'
    assert len(points) == len(normals)


def test_normals_point_out_however_triangles_turn():
    import pyvista as pv

    ball = pv.Sphere(radius=2.0, theta_resolution=24, phi_resolution=24)
    points = np.asarray(ball.points, float)
    triangles = np.asarray(ball.regular_faces, np.int64)
    for turned in (triangles, triangles[:, ::-1]):
        normals = outward_normals(points, turned)
        assert np.einsum("nd,nd->n", normals, points).min() > 1.9


def test_again_nothing_is_written_twice(cohort, dataset):
    before = {path.name: path.stat().st_mtime_ns for path in (dataset / "cases").iterdir()}
    export(cohort, dataset, licence="CC-BY-4.0")
    assert {path.name: path.stat().st_mtime_ns for path in (dataset / "cases").iterdir()} == before
    (dataset / "cases" / f"{NAMES[1]}.h5").unlink()
    export(cohort, dataset, licence="CC-BY-4.0")
    assert verify(dataset) == []


def test_the_datasheet_tells_what_a_user_must_know(written):
    text = (written[0] / "datasheet.md").read_text()
    for wanted in ("Not a medical device", "CC-BY-4.0", "1 cases with FAIL", "volume/pressure"):
        assert wanted in text
    assert "| `centerlines/NAME/ffr_error` |" in text


def test_splits_keep_groups_together_and_do_not_move():
    groups = [f"g{k}" for k in range(2000)]
    shares = {"train": 0.6, "validation": 0.1, "test": 0.3}
    told = splits(groups, 1, shares)
    assert splits([*groups, "more"], 1, shares) | {"more": 0} == told | {"more": 0}
    found = [list(told.values()).count(name) / 2000 for name in schema.SPLITS]
    assert found == pytest.approx([0.6, 0.1, 0.3], abs=0.03)
    assert splits(groups, 2, shares) != told
    assert set(splits(groups, 1, {"train": 0.0, "validation": 0.0, "test": 1.0}).values()) == {
        "test"
    }


def rewrite(dataset, change):
    """Change the rows of an index."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = read_index(dataset)
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows), dataset / "index.parquet")


def edit(dataset, work, name=NAMES[0]):
    with h5py.File(dataset / "cases" / f"{name}.h5", "r+") as file:
        work(file)


def truncated(dataset):
    path = dataset / "cases" / f"{NAMES[0]}.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edited_value(dataset):
    def work(file):
        file["volume/pressure"][5] += 1.0

    edit(dataset, work)


def edited_label(dataset):
    def work(file):
        labels = json.loads(file.attrs["labels"])
        labels["vessels"][0]["ffr"] = 0.5
        file.attrs["labels"] = json.dumps(labels)

    edit(dataset, work)


def not_finite(dataset):
    def work(file):
        file["volume/velocity"][3, 1] = np.nan

    edit(dataset, work)


def array_missing(dataset):
    def work(file):
        del file["surface/shear"]

    edit(dataset, work)


def other_type(dataset):
    def work(file):
        values = file["volume/pressure"][:]
        del file["volume/pressure"]
        file["volume/pressure"] = values.astype("float64")

    edit(dataset, work)


def wrong_version(dataset):
    def work(file):
        file.attrs["schema"] = 99

    edit(dataset, work)


def wrong_schema_file(dataset):
    told = json.loads((dataset / "schema.json").read_text())
    (dataset / "schema.json").write_text(json.dumps(told | {"version": 99}))


def missing_case(dataset):
    (dataset / "cases" / f"{NAMES[1]}.h5").unlink()


def strange_case(dataset):
    shutil.copy(dataset / "cases" / f"{NAMES[1]}.h5", dataset / "cases" / "other.h5")


def leaked_group(dataset):
    def change(rows):
        rows[1]["group"] = rows[0]["group"]
        rows[0]["split"], rows[1]["split"] = "train", "test"

    rewrite(dataset, change)


def leaked_geometry(dataset):
    def change(rows):
        rows[1]["geometry_sha256"] = rows[0]["geometry_sha256"]
        rows[0]["split"], rows[1]["split"] = "train", "test"

    rewrite(dataset, change)


def failed_verdict(dataset):
    rewrite(dataset, lambda rows: rows[0].update(verdict="FAIL"))


def twice(dataset):
    rewrite(dataset, lambda rows: rows.append(rows[0]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "cannot be read"),
        (edited_value, "SHA-256"),
        (edited_label, "the label says 0.5"),
        (not_finite, "not finite"),
        (array_missing, "surface/shear is missing"),
        (other_type, "wanted float32; got float64"),
        (wrong_version, "schema version 2; got 99"),
        (wrong_schema_file, "schema.json"),
        (missing_case, "no such file"),
        (strange_case, "not in the index"),
        (leaked_group, "it leaks"),
        (leaked_geometry, "one geometry in two splits"),
        (failed_verdict, "verdict FAIL"),
        (twice, "there twice"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_damage_is_found(dataset, damage, message):
    damage(dataset)
    assert any(message in fault for fault in verify(dataset)), verify(dataset)


def test_no_index_and_no_cohort(tmp_path, cohort):
    with pytest.raises(InputError, match="index of a data set"):
        verify(tmp_path)
    with pytest.raises(InputError, match="design"):
        export(tmp_path, tmp_path / "x", licence="CC0-1.0")


@pytest.mark.parametrize("view", ["surface", "volume", "centerline"])
def test_views(written, view):
    path = written[0] / "cases" / f"{NAMES[0]}.h5"
    made = read(path, view)
    n = len(made["pos"])
    assert made["pos"].shape == (n, 3)
    assert made["x"].shape == (n, len(FEATURES[view]))
    assert made["y"].shape == (n, len(TARGETS[view]))
    assert made["edge_index"].max() == n - 1
    assert len(np.unique(made["edge_index"], axis=1).T) == made["edge_index"].shape[1]
    assert made["conditions"][0] == pytest.approx(93, abs=0.1)
    assert made["conditions"][3] == pytest.approx(3.5)
    assert np.isfinite(made["x"]).all()
    length = np.linalg.norm(np.diff(made["pos"][made["edge_index"]], axis=0), axis=-1)
    assert length.max() < 3.0
    with h5py.File(path) as file:
        lines = sum(len(file[f"centerlines/{name}/ffr"]) for name in file["centerlines"])
    if view == "centerline":
        assert n == lines  # one line: nothing is shared
        assert made["edge_index"].shape[1] == n - 1


def test_torch_reads_the_same_twice(written):
    torch = pytest.importorskip("torch")
    from pipeline.labels.torch_data import Labels, collate

    data = Labels(written[0], view="surface", points=64, seed=5)
    assert len(data) == 3
    first, again = data[1], Labels(written[0], view="surface", points=64, seed=5)[1]
    assert all(torch.equal(first[key], again[key]) for key in first)
    data.epoch = 1
    assert not torch.equal(data[1]["pos"], first["pos"])
    batch = collate([data[0], data[2]])
    assert batch["pos"].shape == (2, 64, 3)
    assert batch["y"].dtype == torch.float32
    graphs = Labels(
        written[0], view="centerline", transform=lambda item: item | {"extra": item["case"]}
    )
    joined = collate([graphs[0], graphs[1]])
    n = len(graphs[0]["pos"])
    assert joined["batch"].tolist() == [0] * n + [1] * n
    assert joined["edge_index"].max() == 2 * n - 1
    assert joined["edge_index"][:, -1].min() >= n
    with pytest.raises(InputError, match="none in it"):
        Labels(written[0], "holiday")


def test_the_reader_needs_neither_solver_nor_mesh_generator():
    import subprocess
    import sys

    program = (
        "import sys, pipeline.labels.torch_data, pipeline.labels.views, pipeline.labels.write\n"
        "assert not {'dolfinx', 'gmsh', 'petsc4py', 'vtk'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_stored_case_can_be_read(written):
    with h5py.File(written[0] / "cases" / f"{NAMES[0]}.h5") as file:
        told = yaml.safe_load(json.loads(file.attrs["provenance"])["case_yaml"])
    assert told["name"] == NAMES[0]
    assert told["input"]["path"] == f"{pseudonym('x.stl')}.stl"
