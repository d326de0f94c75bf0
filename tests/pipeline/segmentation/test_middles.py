"""Middles of a tree on voxels."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.segmentation.middles import middles_of, smoothed
from pipeline.segmentation.strips import STEP_MM

EDGE = 0.4
AFFINE = np.diag([EDGE, EDGE, EDGE, 1.0])
AFFINE[:3, 3] = [-10.0, -12.0, 3.0]


def rods(*parts):
    """A union of capsules, from world points and radii, on voxels."""
    index = np.indices((60, 60, 90)).reshape(3, -1).T
    points = index @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    inside = np.zeros(len(points), bool)
    for a, b, radius in parts:
        a, way = np.array(a), np.subtract(b, a)
        t = np.clip((points - a) @ way / (way @ way), 0, 1)
        inside |= np.linalg.norm(points - a - t[:, None] * way, axis=1) < radius
    return inside.reshape(60, 60, 90)


TRUNK = ((2.0, 0.0, 5.0), (2.0, 0.0, 36.0), 1.5)
BRANCH = ((2.0, 0.0, 15.0), (-7.0, 0.0, 28.0), 0.9)
STUB = ((2.0, 0.0, 25.0), (2.0, 3.5, 25.0), 0.8)


def test_the_longest_way_comes_first_and_branches_begin_on_it():
    lines = middles_of(rods(TRUNK, BRANCH, STUB), AFFINE, np.array(TRUNK[0]))
    assert len(lines) == 2  # a stub of 2 mm is none
    trunk, branch = lines
    assert np.linalg.norm(trunk[0] - TRUNK[0]) < 1.6
    assert np.linalg.norm(trunk[-1] - TRUNK[1]) < 1.6
    assert np.linalg.norm(branch[-1] - BRANCH[1]) < 1.0
    assert cKDTree(trunk).query(branch[0])[0] < 0.5
    for line, (a, b, _) in ((trunk, TRUNK), (branch[12:], BRANCH)):
        way = np.subtract(b, a) / np.linalg.norm(np.subtract(b, a))
        arm = line[4:-4] - np.array(a)
        off = np.linalg.norm(arm - (arm @ way)[:, None] * way, axis=1)
        assert off.max() < 0.35
    steps = np.linalg.norm(np.diff(trunk, axis=0), axis=1)
    assert steps == pytest.approx(STEP_MM, rel=0.05)


def test_a_single_voxel_and_a_speck():
    body = np.zeros((60, 60, 90), bool)
    body[20, 20, 20] = True
    (line,) = middles_of(body, AFFINE, np.zeros(3)) or [np.empty((0, 3))]
    assert len(line) == 0
    body[20:23, 20:23, 20:23] = True
    assert middles_of(body, AFFINE, np.zeros(3)) == []


def test_smoothing_keeps_ends_and_bends():
    t = np.linspace(0, np.pi, 300)
    arc = np.column_stack([15 * np.cos(t), 15 * np.sin(t), 0 * t])
    rng = np.random.default_rng(0)
    line = smoothed(arc + rng.normal(0, 0.02, arc.shape))
    assert np.abs(np.linalg.norm(line[3:-3, :2], axis=1) - 15).max() < 0.1
    assert np.linalg.norm(line[0] - arc[0]) < 0.15
    assert np.linalg.norm(line[-1] - arc[-1]) < 0.5
