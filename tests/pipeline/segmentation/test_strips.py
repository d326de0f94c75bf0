"""Straightened images: frames that do not twist, and values that are the volume's."""

import numpy as np
import pytest

from pipeline.imaging import Volume
from pipeline.segmentation.strips import ACROSS, PIXEL_MM, STEP_MM, Strip, evenly, offsets


def helix():
    t = np.linspace(0, 3, 400)
    return evenly(np.column_stack([12 * np.cos(t), 12 * np.sin(t), 6 * t]))


def test_points_are_evenly_spaced_and_begin_where_the_line_does():
    line = helix()
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert steps == pytest.approx(STEP_MM, rel=1e-3)
    assert line[0] == pytest.approx([12, 0, 0])


def test_frames_are_across_the_line_and_hardly_twist():
    strip = Strip.along(helix(), angle=0.7)
    u, v = strip.frames[:, 0], strip.frames[:, 1]
    tangents = np.gradient(strip.middles, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    for a, b, wanted in ((u, u, 1), (v, v, 1), (u, v, 0), (u, tangents, 0), (v, tangents, 0)):
        assert np.einsum("ni,ni->n", a, b) == pytest.approx(wanted, abs=1e-9)
    turned = np.einsum("ni,ni->n", u[1:], v[:-1])  # sine of the twist from section to section
    assert np.abs(turned).max() < 1e-3


def test_the_first_section_is_turned_by_the_angle():
    line = np.column_stack([np.zeros(20), np.zeros(20), STEP_MM * np.arange(20)])
    first, second = (Strip.along(line, angle).frames[0, 0] for angle in (0.0, 0.5))
    assert first @ second == pytest.approx(np.cos(0.5))


def test_an_image_holds_what_the_volume_has_there():
    """A linear field on voxels of three sizes: linear interpolation is exact."""
    affine = np.diag([0.4, 0.5, 0.7, 1.0])
    affine[:3, 3] = [-25, -25, -15]
    index = np.indices((130, 110, 70)).reshape(3, -1).T
    world = index @ affine[:3, :3].T + affine[:3, 3]
    volume = Volume((world @ [1.0, -2.0, 3.0]).reshape(130, 110, 70), affine)
    strip = Strip.along(helix()[:40])
    assert strip.points.shape == (40, ACROSS, ACROSS, 3)
    assert strip.image(volume) == pytest.approx(strip.points @ [1.0, -2.0, 3.0], abs=1e-3)
    at = offsets()
    assert at.sum() == pytest.approx(0)
    assert strip.points[5, 3, 7] == pytest.approx(
        strip.middles[5] + at[3] * strip.frames[5, 0] + at[7] * strip.frames[5, 1]
    )
    assert np.diff(at) == pytest.approx(PIXEL_MM)
