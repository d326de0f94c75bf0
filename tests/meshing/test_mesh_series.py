"""Mesh series: self-similar levels, and nested ones that cover exactly the same curved domain."""

import json

import numpy as np
import pytest

from meshing.jacobian import jacobian_bounds
from meshing.options import MeshOptions, SeriesOptions
from meshing.quality import facet_areas
from meshing.refine import refine
from meshing.series import mesh_series
from meshing.topology import boundary_facets
from meshing.vessel import MeshArrays, VesselMesh

COARSE = {"elements_per_diameter": 3, "elements_across_throat": 3}


def volume(mesh):
    return float(jacobian_bounds(mesh.points, mesh.cells)[1].sum() / 6)


@pytest.fixture(scope="module")
def one_cell():
    """A single curved tetrahedron with its four faces."""
    rng = np.random.default_rng(1)
    corners = np.vstack([np.zeros(3), np.eye(3)])
    edges = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]
    middles = [corners[list(e)].mean(axis=0) + rng.uniform(-0.08, 0.08, 3) for e in edges]
    facets = np.array(
        [[0, 2, 1, 6, 5, 4], [0, 1, 3, 4, 8, 7], [1, 2, 3, 5, 9, 8], [0, 3, 2, 7, 9, 6]]
    )
    tags = np.array([0, 1, 2, 3], dtype=np.int32)
    return MeshArrays(np.vstack([corners, middles]), np.arange(10)[None], facets, tags)


def test_eight_children_fill_a_curved_tetrahedron_exactly(one_cell):
    fine = refine(one_cell)
    assert fine.cells.shape == (8, 10)
    assert len(fine.points) == 35  # the lattice of degree four
    assert volume(fine) == pytest.approx(volume(one_cell), rel=1e-13)
    low, _ = jacobian_bounds(fine.points, fine.cells)
    assert low.min() > 0
    area = [
        facet_areas(m.points, m.facets)[m.facet_tags == k].sum()
        for m in (one_cell, fine)
        for k in range(4)
    ]
    assert area[4:] == pytest.approx(
        area[:4], rel=2e-3
    )  # a curved face's area is integrated by quadrature


@pytest.mark.parametrize("order", [1, 2])
def test_refining_keeps_domain_patches_and_conformity(one_cell, order):
    mesh = one_cell
    if order == 1:
        mesh = MeshArrays(mesh.points[:4], mesh.cells[:, :4], mesh.facets[:, :3], mesh.facet_tags)
    fine = refine(refine(mesh))
    assert len(fine.cells) == 64
    assert volume(fine) == pytest.approx(volume(mesh), rel=1e-13)
    assert np.bincount(fine.facet_tags).tolist() == [16] * 4
    outside = np.sort(boundary_facets(fine.cells[:, :4])[0], axis=1)
    assert {tuple(f) for f in outside} == {tuple(np.sort(f)) for f in fine.facets[:, :3]}
    assert len(np.unique(np.round(fine.points, 12), axis=0)) == len(fine.points)
    assert np.unique(fine.cells).tolist() == list(range(len(fine.points)))


def test_self_similar_levels(shapes, tmp_path):
    options = MeshOptions(elements_across_throat=7)
    mesh_series(shapes["stenosis"](0.5), options, tmp_path, SeriesOptions(levels=3, factor=1.3))
    told = json.loads((tmp_path / "series.json").read_text())
    assert [row["level"] for row in told["levels"]] == [1, 2, 3]
    assert [row["refinement"] for row in told["levels"][1:]] == pytest.approx([1.3, 1.3], rel=0.05)
    assert len({row["rung"] for row in told["levels"]}) == 1
    throats = [
        VesselMesh.load(tmp_path / f"level_{k}" / "mesh.json").quality["throats"][0]["across"]
        for k in (1, 2, 3)
    ]
    assert throats[0] >= 7
    assert np.array(throats[1:]) / throats[:-1] == pytest.approx([1.3, 1.3], rel=0.1)


def test_nested_levels(shapes, tmp_path):
    (tmp_path / "level_7").mkdir()  # of another series
    mesh_series(
        shapes["tube"](), MeshOptions(**COARSE), tmp_path, SeriesOptions(levels=2, nested=True)
    )
    coarse, fine = (VesselMesh.load(tmp_path / f"level_{k}" / "mesh.json") for k in (1, 2))
    assert len(fine.arrays().cells) == 8 * len(coarse.arrays().cells)
    assert volume(fine.arrays()) == pytest.approx(volume(coarse.arrays()), rel=1e-12)
    for patch in coarse.patches:
        assert fine.patch(patch.name).area == pytest.approx(patch.area, rel=1e-3)
    assert fine.quality["min_scaled_jacobian"] > 0
    assert json.loads((tmp_path / "series.json").read_text())["levels"][1][
        "refinement"
    ] == pytest.approx(2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["level_1", "level_2", "series.json"]
