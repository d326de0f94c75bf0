"""The whole mesh generator on surfaces whose geometry is known."""

import hashlib
import json

import meshio
import numpy as np
import pytest

from meshing.background import Background
from meshing.errors import ComputationError, InputError
from meshing.generate import generate
from meshing.jacobian import jacobian_bounds
from meshing.options import MeshOptions
from meshing.quality import mean_edge
from meshing.sizing import Finer
from meshing.topology import boundary_facets
from meshing.vessel import VesselMesh


@pytest.fixture(scope="module")
def tube_mesh(shapes, tmp_path_factory):
    return generate(shapes["tube"](), MeshOptions(), tmp_path_factory.mktemp("tube"))


def test_a_faceted_cylinder_regains_its_volume(tube_mesh):
    arrays = tube_mesh.arrays()
    _, mean = jacobian_bounds(arrays.points, arrays.cells)
    assert mean.sum() / 6 == pytest.approx(np.pi * 1.5**2 * 12 * 1e-9, rel=1e-3)
    assert abs(tube_mesh.quality["volume_error"]) < 1e-3


def test_every_jacobian_is_positive_by_its_bound(tube_mesh):
    arrays = tube_mesh.arrays()
    lowest, _ = jacobian_bounds(arrays.points, arrays.cells)
    assert arrays.cells.shape[1] == 10
    assert lowest.min() > 0


def test_caps_are_flat_named_and_have_the_area_of_the_circle(tube_mesh):
    arrays = tube_mesh.arrays()
    assert [(p.name, p.role, p.tag) for p in tube_mesh.patches] == [
        ("wall", "wall", 0),
        ("inlet", "inlet", 1),
        ("LAD", "outlet", 2),
    ]
    for tag, z in ((1, 0.0), (2, 12e-3)):
        nodes = arrays.points[np.unique(arrays.facets[arrays.facet_tags == tag])]
        assert np.abs(nodes[:, 2] - z).max() < 1e-12
    assert tube_mesh.patch("LAD").area == pytest.approx(np.pi * 1.5e-3**2, rel=1e-3)
    assert tube_mesh.patch("wall").area == pytest.approx(2 * np.pi * 1.5e-3 * 12e-3, rel=1e-3)


def test_facets_are_the_boundary_oriented_outward(tube_mesh):
    arrays = tube_mesh.arrays()
    facets, _ = boundary_facets(arrays.cells[:, :4])
    assert {tuple(sorted(f)) for f in facets.tolist()} == {
        tuple(sorted(f)) for f in arrays.facets[:, :3].tolist()
    }
    a, b, c = (arrays.points[arrays.facets[:, k]] for k in range(3))
    assert np.einsum("kd,kd->", a, np.cross(b, c)) / 6 == pytest.approx(8.3e-8, rel=0.05)
    ends = arrays.points[arrays.facets[:, [0, 1, 2]]] + arrays.points[arrays.facets[:, [1, 2, 0]]]
    off = np.linalg.norm(arrays.points[arrays.facets[:, 3:]] - ends / 2, axis=2)
    assert off.max() < 0.2 * 0.6e-3


def test_mid_edge_nodes_lie_on_the_true_cylinder(tube_mesh):
    arrays = tube_mesh.arrays()
    wall = np.unique(arrays.facets[arrays.facet_tags == 0])
    radius = np.hypot(arrays.points[wall, 0], arrays.points[wall, 1])
    assert np.abs(radius / 1.5e-3 - 1).max() < 2e-3  # facets: 1.9e-2


def test_files_and_their_contents(tube_mesh):
    folder = tube_mesh.path.parent
    again = VesselMesh.load(folder / "mesh.json")
    assert again.patches == tube_mesh.patches
    assert json.loads((folder / "mesh.json").read_text())["quality"] == dict(tube_mesh.quality)
    vtu = meshio.read(folder / "mesh.vtu")
    assert [block.type for block in vtu.cells] == ["tetra10", "triangle6"]
    assert set(np.unique(vtu.cell_data["patch"][1])) == {0, 1, 2}
    assert set(np.unique(vtu.point_data["patch"])) == {-1, 0, 1, 2}


def test_same_input_same_mesh_bit_by_bit(tube_mesh, shapes, mesh_folder):
    again = generate(shapes["tube"](), MeshOptions(), mesh_folder)
    assert _digest(again) == _digest(tube_mesh)


def _digest(mesh: VesselMesh) -> str:
    return hashlib.sha256(mesh.path.read_bytes()).hexdigest()


def test_order_one_is_straight(shapes, mesh_folder):
    mesh = generate(shapes["tube"](), MeshOptions(order=1), mesh_folder)
    arrays = mesh.arrays()
    assert (arrays.order, arrays.facets.shape[1]) == (1, 3)
    assert mesh.quality["volume_error"] < -0.01  # the straight cylinder loses what curving keeps


def test_a_throat_holds_the_elements_asked_for(shapes, mesh_folder):
    options = MeshOptions(elements_per_diameter=4, elements_across_throat=8)
    mesh = generate(shapes["stenosis"](), options, mesh_folder)
    (throat,) = mesh.quality["throats"]
    assert throat["diameter_mm"] == pytest.approx(1.2, rel=1e-3)
    assert throat["across"] >= 8
    arrays = mesh.arrays()
    edges = np.linalg.norm(
        np.diff(arrays.points[arrays.cells[:, [0, 1]]], axis=1)[:, 0], axis=1
    )  # an independent count: first edges of the cells within 0.3 mm of the plane of the throat
    near = np.abs(arrays.points[arrays.cells[:, :4]].mean(axis=1)[:, 2] - 8e-3) < 0.3e-3
    assert 1.2e-3 / edges[near].mean() > 7.5


def test_a_throat_can_be_made_finer_than_the_options_say(shapes, mesh_folder):
    plain = generate(shapes["stenosis"](), MeshOptions(), mesh_folder)
    fine = generate(shapes["stenosis"](), MeshOptions(), mesh_folder, sizes=Finer(1.0, (0.5,)))
    (before,), (after,) = plain.quality["throats"], fine.quality["throats"]
    assert before["across"] >= 6
    assert after["across"] / before["across"] == pytest.approx(2.0, abs=0.3)
    assert fine.quality["cells"] > 1.5 * plain.quality["cells"]


def test_sizes_inside_are_those_given(shapes, mesh_folder):
    arrays = generate(shapes["tube"](), MeshOptions(elements_per_diameter=9), mesh_folder).arrays()
    used, number = np.unique(arrays.cells[:, :4], return_inverse=True)
    points = arrays.points[used] * 1e3
    size = 0.20 + 0.15 * np.hypot(points[:, 0], points[:, 1])
    sizes = Background(points, number.reshape(-1, 4), size)
    mesh = generate(shapes["tube"](), MeshOptions(), mesh_folder, sizes=sizes)
    arrays = mesh.arrays()
    centre = arrays.points[arrays.cells[:, :4]].mean(axis=1) * 1e3
    edge = mean_edge(arrays.points * 1e3, arrays.cells)
    axis = np.hypot(centre[:, 0], centre[:, 1])
    assert edge[axis < 0.2].mean() == pytest.approx(1.4 * 0.22, rel=0.15)  # edges over sizes: 1.4
    assert edge[axis > 1.2].mean() > 1.3 * edge[axis < 0.2].mean()
    assert mesh.quality["cells"] == pytest.approx(sizes.predicted_cells(), rel=0.35)
    assert abs(mesh.quality["volume_error"]) < 2e-3


def test_a_bent_tube(shapes, mesh_folder):
    mesh = generate(shapes["bend"](), MeshOptions(), mesh_folder)
    assert mesh.quality["volume_mm3"] == pytest.approx(np.pi**2 * 4.0 / 2, rel=1e-3)


def test_too_many_cells_are_refused_before_meshing(shapes, mesh_folder):
    options = MeshOptions(elements_per_diameter=60, max_cells=10_000)
    with pytest.raises(InputError, match=r"elements_per_diameter \(to about"):
        generate(shapes["tube"](), options, mesh_folder)
    assert not mesh_folder.exists()


def test_unreachable_quality_is_refused_with_numbers_and_place(shapes, mesh_folder):
    with pytest.raises(ComputationError, match=r"dihedral angle [\d.]+ < 60 at \(.*\) mm"):
        generate(shapes["tube"](), MeshOptions(min_dihedral_deg=60), mesh_folder)
