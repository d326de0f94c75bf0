import numpy as np
import pytest

from pipeline.report.view import best_view


def tube(start, stop, radius=1.5):
    """Points on a tube along a straight axis."""
    start, stop = np.array(start, float), np.array(stop, float)
    axis = (stop - start) / np.linalg.norm(stop - start)
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    s, a = np.meshgrid(np.linspace(0, 1, 120), np.linspace(0, 2 * np.pi, 40))
    ring = np.cos(a)[..., None] * side + np.sin(a)[..., None] * other
    return (start + s[..., None] * (stop - start) + radius * ring).reshape(-1, 3)


def test_axes_are_a_right_handed_frame():
    axes = best_view(tube([0, 0, 0], [10, 20, 30]), np.ones(4800, bool), np.empty((0, 3)))
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_flat_tree_is_seen_from_its_flat_side():
    tree = np.concatenate([tube([0, 0, 0], [0, 40, 30]), tube([0, 0, 0], [0, -40, 30])])
    axes = best_view(tree, np.ones(len(tree), bool), np.empty((0, 3)))
    assert abs(axes[2][0]) > 0.9


@pytest.mark.parametrize("side", [1, -1])
def test_what_would_hide_a_mark_is_looked_at_from_behind(side):
    """A flat tree with a thick extension before its middle, on one side."""
    tree = np.concatenate([tube([0, 0, 0], [0, 40, 30]), tube([0, 0, 0], [0, -40, 30])])
    extension = tube([side * 12.0, -12, 0], [side * 12.0, 12, 0], radius=6.0)
    points = np.concatenate([tree, extension])
    vessel = np.arange(len(points)) < len(tree)
    axes = best_view(points, vessel, np.zeros((1, 3)))
    assert axes[2][0] * side < 0
