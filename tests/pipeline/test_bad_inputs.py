"""Inputs that cannot work: one clear error each, exit status 2, no traceback, nothing already computed is lost."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import pyvista as pv

FFR3D = Path(sys.executable).parent / "ffr3d"


def tube(length=30.0, radius=1.5, rings=31, around=24, bend=0.0):
    """A closed, flat-ended tube along x [mm] with outward normals; `bend` raises its middle."""
    x = np.linspace(0.0, length, rings)
    angle = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    y = radius * np.cos(angle)[None, :] + bend * np.sin(np.pi * x / length)[:, None]
    z = np.broadcast_to(radius * np.sin(angle), y.shape)
    wall = np.stack([np.broadcast_to(x[:, None], y.shape), y, z], axis=-1).reshape(-1, 3)
    centres = np.array([[0.0, 0.0, 0.0], [length, 0.0, 0.0]])
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    sides = np.concatenate(
        [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    k = np.arange(around)
    last = (rings - 1) * around
    first_cap = np.stack([np.full(around, rings * around), k, (k + 1) % around], -1)
    last_cap = np.stack(
        [np.full(around, rings * around + 1), last + (k + 1) % around, last + k], -1
    )
    return pv.PolyData.from_regular_faces(
        np.concatenate([wall, centres]), np.concatenate([sides, first_cap, last_cap])
    )


def without_cells(mesh, where):
    return mesh.extract_cells(~where(mesh.cell_centers().points)).extract_surface(
        algorithm="dataset_surface"
    )


def run(arguments, cwd):
    result = subprocess.run(
        [FFR3D, "run", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout, result.stderr


def surface_with_a_hole(path):
    mesh = tube()
    without_cells(mesh, lambda c: (abs(c[:, 0] - 15) < 3) & (c[:, 1] > 0.3)).save(path)


def two_bodies(path):
    (tube() + tube().translate((0, 12, 0))).save(path)


def metres_taken_for_millimetres(path):
    tube().scale(1e-3).save(path)


def self_intersecting(path):
    """Two tubes that cross, as one surface whose walls pass through each other."""
    (tube() + tube().rotate_z(90, point=(15, 0, 0)).translate((0, 3, 0.4))).save(path)


def no_outlet(path):
    """A tube with one open end; the other is a closed dome."""
    mesh = tube(length=20)
    inner = mesh.points[:, 0] > 19.99
    mesh.points[inner, 0] += 1.5 - np.hypot(mesh.points[inner, 1], mesh.points[inner, 2])
    without_cells(mesh, lambda c: c[:, 0] < 1e-6).save(path)


SURFACES = [
    (surface_with_a_hole, ("hole",)),
    (two_bodies, ("bodies",)),
    (metres_taken_for_millimetres, ("unit", "m")),
    (self_intersecting, ("intersect",)),
    (no_outlet, ("outlet",)),
]


@pytest.mark.parametrize(("make", "words"), SURFACES, ids=lambda v: getattr(v, "__name__", None))
def test_bad_surface(make, words, tmp_path):
    make(tmp_path / "lumen.stl")
    status, out, err = run(["lumen.stl", "-o", "out", "--to", "anatomy"], tmp_path)
    assert status == 2, out + err
    assert "Traceback" not in out + err
    assert err.count("ffr3d: error:") == 1
    assert "lumen" in err
    assert "remedy:" in err
    assert all(word in err for word in words), err


def write_labels(path, array):
    nibabel.save(nibabel.Nifti1Image(array, np.diag([0.4, 0.4, 0.4, 1.0])), path)


LABELS = [
    ("empty", np.zeros((20, 20, 20), np.uint8), "empty"),
    ("nan", np.where(np.indices((20, 20, 20))[0] > 10, np.nan, 1.0).astype(np.float32), "NaN"),
]


@pytest.mark.parametrize(
    ("name", "array", "word"), LABELS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_bad_label_map(name, array, word, tmp_path):
    write_labels(tmp_path / f"{name}.nii.gz", array)
    status, out, err = run([f"{name}.nii.gz", "-o", "out", "--to", "anatomy"], tmp_path)
    assert status == 2, out + err
    assert "Traceback" not in out + err
    assert f"{name}.nii.gz" in err
    assert word in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input: {kind: surface, path: absent.stl}", ("absent.stl", "not there")),
        (
            "input: {kind: phantom}\nphysiology: {mean_aortic_pressure_mmHg: 12400}",
            ("mean_aortic_pressure_mmHg", "200", "12400"),
        ),
        ("input: {kind: phantom}\nmeshing: {order: 2}", ("meshing", "unknown", "'mesh'")),
    ],
    ids=["missing file", "wrong unit range", "unknown key"],
)
def test_bad_case(text, words, tmp_path):
    (tmp_path / "case.yaml").write_text(text)
    status, out, err = run(["case.yaml", "-o", "out"], tmp_path)
    assert status == 2
    assert "Traceback" not in out + err
    assert all(word in err for word in words), err
    assert not (tmp_path / "out").exists()


def test_good_tube_passes_the_same_way(tmp_path):
    """The counter-check: the shape the faults are made from is itself accepted."""
    tube().save(tmp_path / "lumen.stl")
    status, out, err = run(["lumen.stl", "-o", "out", "--to", "anatomy"], tmp_path)
    assert status == 0, out + err
