"""A data set in other shapes, and with images: what is written says what the labels say."""

import json
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import pyvista as pv
import yaml

from meshing.errors import InputError
from pipeline.case import Case, PhantomInput
from pipeline.case_file import dump
from pipeline.imaging import Volume, read_volume, write_nifti
from pipeline.labels.convert import convert
from pipeline.labels.images import LABELS, files, write_pair, write_table
from pipeline.labels.verify import verify
from pipeline.labels.write import export, read_index
from pipeline.phantom import build
from pipeline.segmentation.dataset import read_dataset
from pipeline.segmentation.stage import LABELS as SEGMENTED

CASES = [f"d-{k:05d}" for k in range(3)]


def split_of(dataset):
    return {row["case"]: row["split"] for row in read_index(dataset)}


def test_vtk_files_are_the_arrays(written, tmp_path):
    dataset, _ = written
    assert convert(dataset, tmp_path, "vtk") == 3
    folder = tmp_path / split_of(dataset)[CASES[0]] / CASES[0]
    with h5py.File(dataset / "cases" / f"{CASES[0]}.h5") as file:
        volume = pv.UnstructuredGrid(str(folder / "volume.vtu"))
        np.testing.assert_array_equal(volume["pressure_mmHg"], file["volume/pressure"][:])
        np.testing.assert_array_equal(
            volume.cells_dict[volume.celltypes[0]], file["volume/cells"][:]
        )
        lumen = volume.compute_cell_sizes()["Volume"]
        assert (lumen > 0).all()  # the nodes are in VTK's order
        surface = pv.PolyData(str(folder / "surface.vtp"))
        np.testing.assert_array_equal(surface["shear_Pa"], file["surface/shear"][:])
        lines = pv.PolyData(str(folder / "centerlines.vtp"))
        assert list(lines.field_data["end_names"]) == ["LAD"]
        ids = lines.get_cell(0).point_ids
        np.testing.assert_array_equal(lines["ffr"][ids], file["centerlines/LAD/ffr"][:])


def test_graphs_and_points(written, tmp_path):
    dataset, _ = written
    convert(dataset, tmp_path / "g", "graph", view="centerline")
    convert(dataset, tmp_path / "p", "points", points=300)
    split = split_of(dataset)[CASES[0]]
    graph = np.load(tmp_path / "g" / split / f"{CASES[0]}.npz")
    assert set(graph) == {"pos", "x", "y", "edge_index", "conditions"}
    assert graph["edge_index"].max() == len(graph["pos"]) - 1
    points = np.load(tmp_path / "p" / split / f"{CASES[0]}.npz")
    assert points["pos"].shape == (300, 3)
    assert len(np.unique(points["pos"], axis=0)) == 300


def phantom(folder):
    told = {
        "name": "x",
        "input": {"kind": "phantom", "side_branches": 0, "inlet_diameter_mm": 3.6, "seed": 3},
    }
    folder.mkdir()
    (folder / "case.yaml").write_text(dump(Case.model_validate(told)))


def test_a_phantom_is_scanned_in_the_labels_frame(tmp_path):
    """CT and label map on the same voxels; bright where the label map says lumen; the tree's axis is in the lumen."""
    phantom(tmp_path / "run")
    told = write_pair(tmp_path / "run", tmp_path / "set", "x", "train", 0.7)
    image, label = (read_volume(path) for path in files(tmp_path / "set", "x", "train"))
    np.testing.assert_array_equal(image.affine, label.affine)
    assert image.array.shape == label.array.shape
    lumen = label.array == LABELS["lumen"]
    assert np.median(image.array[lumen]) > np.median(image.array[~lumen]) + 200
    source = Case.model_validate(yaml.safe_load((tmp_path / "run" / "case.yaml").read_text())).input
    assert isinstance(source, PhantomInput)
    tree = build(source)
    axis = np.rint(label.to_index(tree.paths[0].centre)).astype(int)
    assert lumen[tuple(axis[100:300].T)].mean() > 0.9  # before that it is in the aorta
    row = {"case": "x", "split": "train", **told}
    write_table(tmp_path / "set", [row])
    assert (
        len(read_dataset(tmp_path / "set" / "images").pairs) == 1
    )  # `ffr3d train --data` reads it
    before = image.array.copy()
    moved = write_pair(tmp_path / "run", tmp_path / "set", "x", "test", 0.7)
    assert moved == told
    assert not files(tmp_path / "set", "x", "train")[0].exists()
    np.testing.assert_array_equal(
        read_volume(files(tmp_path / "set", "x", "test")[0]).array, before
    )


def test_a_cts_segmentation_on_its_voxels(tmp_path):
    """Found on cubes of another size; each voxel of the CT has the label of the cube it lies in."""
    told = {"name": "x", "input": {"kind": "ct", "path": "ct.nii.gz"}}
    run = tmp_path / "run"
    for name in ("image", "segment"):
        (run / name).mkdir(parents=True)
    (run / "case.yaml").write_text(dump(Case.model_validate(told)))
    ct = Volume(np.zeros((20, 20, 10), np.int16), np.diag([0.5, 0.5, 1.0, 1.0]))
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[4:6, 4:6] = SEGMENTED["left"]
    labels[0, 0] = SEGMENTED["aorta"]
    write_nifti(ct, run / "image" / "ct.nii.gz")
    write_nifti(Volume(labels, np.diag([1.0, 1.0, 1.0, 1.0])), run / "segment" / "labels.nii.gz")
    (run / "segment" / "segment.json").write_text(json.dumps({"labels": SEGMENTED}))
    write_pair(run, tmp_path / "set", "x", "test", 0.4)
    found = read_volume(files(tmp_path / "set", "x", "test")[1]).array
    assert found.shape == ct.array.shape
    assert (found == LABELS["lumen"]).sum() == pytest.approx(4 * 4 * 10, rel=0.3)
    assert found[0, 0, 0] == LABELS["aorta"]


def test_a_surface_has_no_image_and_damage_is_found(cohort, tmp_path):
    target = tmp_path / "labels"
    export(cohort, target, licence="CC-BY-4.0", images_mm=0.5)
    rows = read_index(target)
    assert all(row["image_sha256"] is None for row in rows)
    assert verify(target) == []
    run = tmp_path / "phantom"
    phantom(run)
    name, split = rows[0]["case"], rows[0]["split"]
    rows[0] |= write_pair(run, target, name, split, 0.9)
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), target / "index.parquet")
    assert verify(target) == []
    image, label = files(target, name, split)
    told: Any = nibabel.load(image)
    nibabel.save(nibabel.Nifti1Image(np.asarray(told.dataobj) + 1, told.affine), image)
    label.unlink()
    faults = "\n".join(verify(target))
    assert f"{image.name}: its SHA-256" in faults
    assert f"{label.name}: in the index, but there is no such file" in faults


def test_no_data_set(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path, tmp_path / "out", "vtk")
