"""Triangles that are almost a line are turned away, and nothing else is touched."""

import numpy as np
import pytest

from meshing.slivers import triangle_shapes, without_slivers
from meshing.tetra import same_triangles
from meshing.topology import TRIANGLE_EDGES, edge_keys, triangle_areas


def test_shape_of_known_triangles():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0], [0, 1, 0], [0.5, 0, 0]])
    shapes = triangle_shapes(points, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    assert shapes == pytest.approx([1.0, np.sqrt(3) / 2, 0.0])


@pytest.fixture
def spoiled(shapes):
    """A tube with one vertex almost on the opposite edge of one of its triangles."""
    surface = shapes["tube"]()
    centre = surface.points[surface.triangles].mean(axis=1)
    cell = int(np.argmin(np.linalg.norm(centre - [0, 1.5, 4], axis=1)))
    points = surface.points.copy()
    a, b, c = points[surface.triangles[cell]]
    points[surface.triangles[cell, 0]] = 0.04 * a + 0.48 * (b + c)
    return points, surface.triangles, surface.patch.astype(np.int64), cell


def closed_and_alike(triangles):
    directed = triangles[:, np.array(TRIANGLE_EDGES)].reshape(-1, 2)
    assert (np.unique(edge_keys(directed), return_counts=True)[1] == 2).all()
    assert len(np.unique(directed, axis=0)) == len(directed)


def test_a_sliver_is_turned_and_the_surface_stays_closed_and_oriented(spoiled):
    points, triangles, patch, cell = spoiled
    before = triangle_shapes(points, triangles)
    assert before[cell] < 0.15
    made = without_slivers(points, triangles, patch)
    after = triangle_shapes(points, made)
    assert after.min() > 0.3
    closed_and_alike(made)
    changed = np.flatnonzero((made != triangles).any(axis=1))
    assert len(changed) == 2
    assert cell in changed
    assert np.array_equal(np.unique(made[changed]), np.unique(triangles[changed]))
    _, old = triangle_areas(points, triangles[changed])
    _, new = triangle_areas(points, made[changed])
    assert (new @ old[int(np.argmax(before[changed]))]).min() > 0.9


def test_an_edge_between_patches_is_never_turned(spoiled):
    """The sliver's patch differs from that of all others: its edges are a rim."""
    points, triangles, patch, cell = spoiled
    patch[cell] = 3
    assert same_triangles(without_slivers(points, triangles, patch), triangles)


def test_a_good_surface_comes_back_as_it_is(shapes):
    surface = shapes["bend"]()
    made = without_slivers(surface.points, surface.triangles, surface.patch.astype(np.int64))
    assert np.array_equal(made, surface.triangles)
