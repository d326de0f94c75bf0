"""Plaque along a straight vessel whose volumes are known; the score of spots by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.ffr.plaque import plaque, score
from pipeline.imaging import Volume, write_nifti
from pipeline.segmentation.stage import LABELS

H = 0.25
LENGTH, LUMEN, OUTER = 30.0, 1.5, 2.25


@pytest.fixture(scope="module")
def vessel(tmp_path_factory):
    """A tube along z; its wall is dark from 10 to 15 mm, fibro-fatty elsewhere; calcium on one side, 12 to 13 mm."""
    folder = tmp_path_factory.mktemp("plaque")
    shape = (40, 40, int(LENGTH / H))
    affine = np.diag([H, H, H, 1.0])
    affine[:3, 3] = [-5 + H / 2, -5 + H / 2, H / 2]
    x, y, z = np.indices(shape) * H + affine[:3, 3][:, None, None, None]
    r = np.hypot(x, y)
    labels = np.zeros(shape, np.uint8)
    labels[r < OUTER] = LABELS["wall"]
    labels[r < LUMEN] = LABELS["left"]
    bone = (r > LUMEN) & (r < OUTER) & (x > 0) & (z > 12) & (z < 13)
    labels[bone] = LABELS["calcium"]
    labels[(x > 4) & (z < 2)] = LABELS["wall"]  # far away: of another vessel
    hu = np.where(r < LUMEN, 400, np.where((z > 10) & (z < 15), 10, 90)).astype(np.int16)
    hu[bone] = 800
    for name in ("image", "segment"):
        (folder / name).mkdir()
    write_nifti(Volume(hu, affine), folder / "image" / "ct.nii.gz")
    write_nifti(Volume(labels, affine), folder / "segment" / "labels.nii.gz")
    share = (255 * (r < LUMEN)).astype(np.uint8)
    write_nifti(Volume(share, affine), folder / "segment" / "lumen.nii.gz")
    (folder / "segment" / "segment.json").write_text(json.dumps({"labels": LABELS}))
    s = np.arange(0, LENGTH, 0.5)
    line = SimpleNamespace(
        points_mm=np.column_stack([0 * s, 0 * s, s]),
        radius_mm=np.full(len(s), LUMEN),
        abscissa_mm=s,
        outlet="LAD",
    )
    return folder, (SimpleNamespace(line=line, vessel=np.ones(len(s), bool)),)


def test_volumes_of_tree_and_lesion(vessel):
    folder, curves = vessel
    lesion = {"name": "LAD-1", "outlets": ["LAD"], "start_mm": 9.75, "end_mm": 15.25}
    told = plaque(folder, curves, [lesion])
    assert told is not None
    ring = np.pi * (OUTER**2 - LUMEN**2)
    tree, inside = told["tree"], told["lesions"][0]
    assert tree["calcium_mm3"] == pytest.approx(0.5 * ring, rel=0.05)
    assert tree["low_attenuation_mm3"] == pytest.approx(5 * ring - 0.5 * ring, rel=0.05)
    assert tree["fibrofatty_mm3"] == pytest.approx((LENGTH - 5) * ring, rel=0.05)
    assert tree["stent_mm3"] == 0
    assert tree["burden"] == pytest.approx(1 - (LUMEN / OUTER) ** 2, rel=0.03)
    assert inside["name"] == "LAD-1"
    assert inside["low_attenuation_mm3"] == tree["low_attenuation_mm3"]
    assert inside["calcium_mm3"] == tree["calcium_mm3"]
    assert inside["fibrofatty_mm3"] < 0.05 * tree["fibrofatty_mm3"]
    assert 1 < told["calcium_score"] < 10


def test_without_a_ct_there_is_none(tmp_path):
    assert plaque(tmp_path, (), []) is None


@pytest.mark.parametrize(("peak", "weight"), [(100, 0), (150, 1), (250, 2), (350, 3), (900, 4)])
def test_the_score_is_area_times_weight(peak, weight):
    """Two spots of four and nine voxels of 0.5 mm in one slice of 1 mm: area times weight, a third of it a slice."""
    hu = np.full((20, 20, 6), 60.0)
    mask = np.zeros(hu.shape, bool)
    mask[2:4, 2:4, 3] = mask[10:13, 10:13, 3] = True
    hu[mask] = peak
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    got = score(Volume(mask, affine), Volume(hu, affine))
    assert got == pytest.approx(weight * 13 * 0.25 / 3, abs=0.051)
