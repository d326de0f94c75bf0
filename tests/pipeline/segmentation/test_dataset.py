"""Datasets in nnU-Net's layout: what is read, what is refused, patches of it, a training on it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from meshing.errors import InputError
from pipeline.imaging import Volume, write_nifti
from pipeline.segmentation.dataset import FilePatches, prepare, read_dataset
from pipeline.segmentation.network import Design, carried, load

FFR3D = Path(sys.executable).parent / "ffr3d"
DESIGN = Design(filters=(4, 8, 8), wide_edge=32, wide_filters=(4, 8, 8))
SPACING = np.diag([0.5, 0.4, 0.8, 1.0])


def _dataset(folder, labels, cases=2):
    """Bright rods along z in a dark block; the rod is label 3, a ball of another tissue 7."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for k in range(cases):
        x, y, z = np.indices((60, 70, 40))
        rod = np.hypot(0.5 * (x - 30 - k), 0.4 * (y - 35)) < 3.0
        ball = (0.5 * (x - 10)) ** 2 + (0.4 * (y - 12)) ** 2 + (0.8 * (z - 20)) ** 2 < 16
        hu = np.where(rod, 400, np.where(ball, 900, 0)).astype(np.int16)
        write_nifti(Volume(hu, SPACING), folder / "imagesTr" / f"case{k}_0000.nii.gz")
        label = (3 * rod + 7 * (ball & ~rod)).astype(np.uint8)
        write_nifti(Volume(label, SPACING), folder / "labelsTr" / f"case{k}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    return folder


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ({"background": 0, "Coronary_arteries": 3}, {"lumen": (3,)}),
        ({"0": "background", "3": "lumen", "7": "calcification"}, {"lumen": (3,), "calcium": (7,)}),
        ({"LAD": 1, "RCA": [2, 3], "aorta": 4}, {"lumen": (1, 2, 3), "aorta": (4,)}),
        ({"pulmonary_artery": 1, "lumen": 3, "atrial_appendage_left": 9}, {"lumen": (3,)}),
    ],
)
def test_labels_are_known_by_their_names(tmp_path, labels, numbers):
    assert read_dataset(_dataset(tmp_path, labels, cases=1)).numbers == numbers


def test_prepared_on_the_networks_cubes(tmp_path):
    """Volumes to a few per cent; a tissue without label is unknown."""
    dataset = read_dataset(_dataset(tmp_path / "data", {"lumen": 3, "calcium": 7}))
    cases = prepare(dataset, DESIGN, tmp_path / "prepared")
    shares = np.load(cases[0] / "shares.npy") / 255.0
    volume = shares.sum(axis=(1, 2, 3)) * DESIGN.voxel_mm**3
    assert volume == pytest.approx([np.pi * 9 * 40 * 0.8, 4 / 3 * np.pi * 64], rel=0.05)
    assert np.load(cases[0] / "known.npy").tolist() == [True, False, True, False, False]
    before = (cases[0] / "hu.npy").stat().st_mtime_ns
    assert prepare(dataset, DESIGN, tmp_path / "prepared") == cases
    assert (cases[0] / "hu.npy").stat().st_mtime_ns == before


def test_patches_of_files(tmp_path):
    dataset = read_dataset(_dataset(tmp_path / "data", {"lumen": 3, "aorta": 7}))
    cases = prepare(dataset, DESIGN, tmp_path / "prepared")
    drawn = []
    for _, sample in zip(range(30), FilePatches(cases, DESIGN, 32), strict=False):
        drawn.append(sample)
    for image, share, wide, asked, place in drawn:
        assert wide.shape == (1, 32, 32, 32)
        assert torch.isfinite(asked[0]).all()  # the aorta
        assert torch.isnan(asked[1:]).all()
        told = carried(asked[None, :1], place[None], (32, 32, 32))[0, 0]
        if 0.1 < share[1].mean() < 0.9:
            both = torch.stack([told.flatten(), share[1].flatten()])
            assert torch.corrcoef(both)[0, 1] > 0.85
        assert image.shape == (1, 32, 32, 32)
        assert torch.isnan(share[2:]).all()
        assert 0 <= share[0].min() <= share[0].max() <= 1
    assert sum(float(one.shares[0].max()) > 0.9 for one in drawn) > 18
    assert sum(float(one.shares[1].mean()) > 0.1 for one in drawn) > 0
    inside = torch.cat([one.image[0][one.shares[0] > 0.99] for one in drawn])
    assert inside.median() == pytest.approx((400 - 300) / 500, abs=0.1)


def _train(*options):
    command = [FFR3D, "train", *options, "--steps", "2", "--batch", "1", "--workers", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_training_on_files(tmp_path):
    """From the command line, synthetic patches beside them; then on from its model."""
    data = _dataset(tmp_path / "data", {"lumen": 3})
    first, on = tmp_path / "first", tmp_path / "on"
    _train("-o", first, "--data", data, "--no-synthetic", "--edge", "32")
    model = load(first / "model.safetensors")
    assert model.card["data"] == ["data"]  # its name: a path may tell more than a model should
    _train("-o", on, "--data", data, "--begin", first / "model.safetensors", "--edge", "32")
    card = load(on / "model.safetensors").card
    assert card["begun_with"] == model.card
    assert len(card["data"]) == 2


def _without_json(folder):
    (folder / "dataset.json").unlink()


def _no_json(folder):
    (folder / "dataset.json").write_text("{")


def _no_labels(folder):
    (folder / "dataset.json").write_text("{}")


def _other_labels(folder):
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))


def _no_images(folder):
    for path in (folder / "imagesTr").iterdir():
        path.unlink()


def _no_label_map(folder):
    (folder / "labelsTr" / "case1.nii.gz").unlink()


def _other_voxels(folder):
    label = Volume(np.zeros((60, 70, 41), np.uint8), SPACING)
    write_nifti(label, folder / "labelsTr" / "case0.nii.gz")


def _empty(folder):
    label = Volume(np.zeros((60, 70, 40), np.uint8), SPACING)
    write_nifti(label, folder / "labelsTr" / "case0.nii.gz")


def _cut_short(folder):
    path = folder / "imagesTr" / "case0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_json, r"dataset\.json: wanted a dataset in nnU-Net's format; got no such file"),
        (_no_json, "JSONDecodeError"),
        (_no_labels, "'labels'"),
        (_other_labels, "wanted one that is the coronaries' lumen; got background, liver"),
        (_no_images, "wanted images called CASE_0000.nii.gz; got none"),
        (_no_label_map, r"case1\.nii\.gz: wanted a label map for every image; got no such file"),
        (_other_voxels, "wanted the voxels of case0_0000"),
        (_empty, "wanted a lumen; got no voxel"),
        (_cut_short, r"case0_0000\.nii\.gz"),
    ],
)
def test_faulty_datasets(tmp_path, spoil, said):
    folder = _dataset(tmp_path / "data", {"lumen": 3})
    spoil(folder)
    with pytest.raises(InputError) as fault:
        prepare(read_dataset(folder), DESIGN, tmp_path / "prepared")
    assert re.search(said, str(fault.value)), str(fault.value)
