"""A CT along its vessels: frames that do not turn, planes that hold what is there, a picture in the report."""

import re
import shutil

import numpy as np
import pytest

from pipeline import certificate, ffr, report
from pipeline.imaging import Volume, write_nifti
from pipeline.report.data import gather
from pipeline.report.reformat import STEP_MM, Way, reformats, sampled


def _helix(turns=1.5, radius=12.0, rise=20.0):
    t = np.linspace(0, turns * 2 * np.pi, 400)
    points = np.column_stack([radius * np.cos(t), radius * np.sin(t), rise * t / (2 * np.pi)])
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return s, points


def test_frames_are_orthonormal_and_do_not_turn():
    way = Way.along(*_helix())
    tangent = np.gradient(way.points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    first, second = way.across
    inner = slice(20, -20)
    for a, b, wanted in (
        (first, first, 1),
        (second, second, 1),
        (first, second, 0),
        (first, tangent, 0),
    ):
        assert np.einsum("ij,ij->i", a, b)[inner] == pytest.approx(wanted, abs=2e-3)
    turning = np.einsum("ij,ij->i", np.gradient(first, axis=0), second)[inner] / STEP_MM
    assert (
        np.abs(turning).max() < 1e-3
    )  # radians a mm; the helix's own torsion is twenty times that


def test_a_straightened_plane_of_a_tube_is_a_band():
    """Distance to a helix: in both planes that of the offset, wherever along it."""
    s, points = _helix()
    way = Way.along(s, points)
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    for which in range(2):
        plane = way.plane(which, 3.0)
        offsets = np.abs(np.arange(-3.0, 3.0 + STEP_MM / 2, STEP_MM))
        gaps = tree.query(plane[40:-40].reshape(-1, 3))[0].reshape(-1, len(offsets))
        assert gaps == pytest.approx(np.tile(offsets, (len(gaps), 1)), abs=0.2)


def test_values_are_those_of_the_volume():
    affine = np.array([[0.0, -0.5, 0, 3], [0.4, 0, 0, -7], [0, 0, 0.8, 2], [0, 0, 0, 1]])
    index = np.indices((30, 30, 30)).reshape(3, -1).T.astype(float)
    slope = np.array([3.0, -2.0, 1.0])
    volume = Volume(
        (index @ affine[:3, :3].T + affine[:3, 3]).dot(slope).reshape(30, 30, 30), affine
    )
    points = volume.to_world(np.random.default_rng(0).uniform(1, 28, (50, 3)))
    assert sampled(volume, points, np.nan) == pytest.approx(points @ slope, abs=1e-4)
    assert np.isnan(sampled(volume, points + 100.0, np.nan)).all()


@pytest.fixture(scope="module")
def solved(tube_run):
    """The tube's run with its FFR."""
    folder, case, _ = tube_run
    ffr.run(folder, case)
    certificate.run(folder, case)
    return folder, case


@pytest.fixture
def from_ct(solved, tmp_path):
    """The same with a CT of it, as if it had been segmented."""
    folder, case = solved
    here = tmp_path / "run"
    shutil.copytree(folder, here)
    data = gather(here, case)
    points = np.concatenate([curve.points_mm for curve in data.pull_backs])
    low, high = points.min(axis=0) - 9, points.max(axis=0) + 9
    shape = tuple(np.ceil((high - low) / 0.5).astype(int))
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = low
    from scipy.spatial import cKDTree

    grid = np.indices(shape).reshape(3, -1).T * 0.5 + low
    gap = cKDTree(points).query(grid)[0].reshape(shape)
    share = np.clip(0.5 - (gap - 1.5) / 0.5, 0, 1)
    for name in ("image", "segment"):
        (here / name).mkdir()
    write_nifti(Volume((share * 400 - 80).astype(np.int16), affine), here / "image" / "ct.nii.gz")
    write_nifti(
        Volume(np.rint(255 * share).astype(np.uint8), affine), here / "segment" / "lumen.nii.gz"
    )
    return here, case


def test_the_report_shows_the_ct(from_ct):
    folder, case = from_ct
    report.run(folder, case)
    page = (folder / "report.html").read_text()
    assert "The CT along the vessels" in page
    assert re.search(r'alt="Curved planar reformats"', page)
    assert (folder / "figures" / "reformat.png").stat().st_size > 20_000


def test_without_a_ct_there_is_none(solved, tmp_path):
    folder, case = solved
    assert not reformats(gather(folder, case), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    report.run(folder, case)
    assert "The CT along the vessels" not in (folder / "report.html").read_text()
