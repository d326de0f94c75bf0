"""Boundary layers: prisms cut in tetrahedra between the wall and a shrunk core."""

from itertools import permutations

import numpy as np
import pytest

from meshing.boundary_layer import cut_prisms
from meshing.generate import generate
from meshing.jacobian import jacobian_bounds
from meshing.options import MeshOptions
from meshing.topology import boundary_facets


def test_every_numbering_of_a_prism_is_cut_into_three_positive_tetrahedra():
    base = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])  # seen from +z: the outside
    points = np.vstack([base, base - [0, 0, 0.5]])
    for order in permutations(range(3)):
        outer, inner = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
        outer[list(order)], inner[list(order)] = np.arange(3), np.arange(3, 6)
        cells = cut_prisms(np.array([order]), outer, inner)
        volume, _ = jacobian_bounds(points, cells)
        assert (volume > 0).all()
        assert volume.sum() / 6 == pytest.approx(0.25)


def test_neighbouring_prisms_agree_on_the_diagonal():
    wall = np.array([[0, 2, 1], [1, 2, 3]])
    cells = cut_prisms(wall, np.arange(4), np.arange(4, 8))
    facets, _ = boundary_facets(cells)
    assert len(facets) == 2 + 2 + 4 * 2  # two lids each side, four open quadrilaterals


@pytest.mark.parametrize("order", [1, 2])
def test_layers_in_a_tube(shapes, mesh_folder, order):
    options = MeshOptions(order=order, boundary_layers=3, boundary_layer_growth=1.5)
    mesh = generate(shapes["tube"](), options, mesh_folder)
    arrays = mesh.arrays()
    lowest, mean = jacobian_bounds(arrays.points, arrays.cells)
    assert lowest.min() > 0
    if order == 2:
        assert mean.sum() / 6 == pytest.approx(np.pi * 1.5**2 * 12e-9, rel=1e-3)
        assert mesh.patch("LAD").area == pytest.approx(np.pi * 1.5e-3**2, rel=1e-3)
    for tag, z in ((1, 0.0), (2, 12e-3)):
        nodes = arrays.points[np.unique(arrays.facets[arrays.facet_tags == tag])]
        assert np.abs(nodes[:, 2] - z).max() < 1e-12
    report = mesh.quality["boundary_layers"]
    assert (report["layers"], report["thinned_share"]) == (3, 0.0)
    assert report["full_thickness_share_of_wall_area"] == 1.0
    # vertices lie on the cylinder and at three depths that grow by 1.5
    vertices = arrays.points[np.unique(arrays.cells[:, :4])]
    depth = 1.5e-3 - np.hypot(vertices[:, 0], vertices[:, 1])
    first = report["first_thickness_mm_median"] * 1e-3
    for wanted in (first, 2.5 * first, 4.75 * first):
        assert np.sum(np.abs(depth - wanted) < 0.05 * wanted) > 300


def test_boundary_facets_of_layers_are_the_surface(shapes, mesh_folder):
    mesh = generate(shapes["tube"](), MeshOptions(boundary_layers=2), mesh_folder)
    arrays = mesh.arrays()
    facets, _ = boundary_facets(arrays.cells[:, :4])
    assert sorted(map(sorted, facets.tolist())) == sorted(
        map(sorted, arrays.facets[:, :3].tolist())
    )


def test_layers_thin_out_in_a_throat(shapes, mesh_folder):
    options = MeshOptions(elements_per_diameter=4, boundary_layers=2)
    mesh = generate(shapes["stenosis"](), options, mesh_folder)
    report = mesh.quality["boundary_layers"]
    assert report["first_thickness_mm_min"] < 0.7 * report["first_thickness_mm_median"]
    assert mesh.quality["throats"][0]["across"] >= 6
