"""Meshes of other generators: tags to patches, orientation, what is refused."""

import meshio
import numpy as np
import pytest

from meshing.errors import InputError
from meshing.tagged import from_tagged
from meshing.vessel import Role

ROLES: dict[str, Role] = {"in": "inlet", "out": "outlet", "side": "wall"}


@pytest.mark.parametrize("order", [1, 2])
def test_groups_become_patches(flow_meshes, tmp_path, order):
    file = flow_meshes.tagged_box(tmp_path / "box.msh", order, inside=True)
    vessel = from_tagged(file, ROLES, tmp_path / "mesh", scale=1e-3)
    arrays = vessel.arrays()
    assert arrays.order == order
    assert {p.name: p.role for p in vessel.patches} == ROLES
    assert vessel.patch("in").area == pytest.approx(1e-6)
    assert vessel.patch("side").area == pytest.approx(12e-6)
    on_inlet = arrays.facets[arrays.facet_tags == vessel.patch("in").tag]
    assert np.abs(arrays.points[on_inlet][..., 2]).max() == 0.0
    assert arrays.points[:, 2].max() == pytest.approx(3e-3)


def test_inverted_cells_are_turned(flow_meshes, tmp_path):
    mesh = meshio.read(flow_meshes.tagged_box(tmp_path / "box.msh", 2))
    cells = mesh.cells_dict["tetra10"]
    cells[::2] = cells[::2][:, [1, 0, 2, 3, 4, 6, 5, 8, 7, 9]]
    turned = meshio.Mesh(
        mesh.points,
        {"tetra10": cells, "triangle6": mesh.cells_dict["triangle6"]},
        cell_data={
            "tag": [
                np.zeros(len(cells), int),
                mesh.cell_data_dict["gmsh:physical"]["triangle6"].astype(int),
            ]
        },
    )
    turned.write(tmp_path / "turned.vtu")
    roles: dict[str, Role] = {"1": "inlet", "2": "outlet", "3": "wall"}
    arrays = from_tagged(tmp_path / "turned.vtu", roles, tmp_path / "mesh").arrays()
    p = arrays.points[arrays.cells]
    edges = p[:, 1:4] - p[:, :1]
    assert np.linalg.det(edges).min() > 0
    middles = 0.5 * (p[:, [0, 1, 2, 0, 1, 2]] + p[:, [1, 2, 0, 3, 3, 3]])
    assert p[:, 4:] == pytest.approx(middles, abs=1e-12)


def test_faces_without_a_tag_are_refused_with_their_place(flow_meshes, tmp_path):
    file = flow_meshes.tagged_box(tmp_path / "box.msh", named=("in", "side"))
    with pytest.raises(InputError, match=r"faces without, the first at .* 3\. *\] m"):
        from_tagged(file, {"in": "inlet", "side": "wall"}, tmp_path)


def test_roles_must_name_the_groups(flow_meshes, tmp_path):
    file = flow_meshes.tagged_box(tmp_path / "box.msh")
    with pytest.raises(InputError, match=r"\['in', 'out', 'side'\]; got roles of \['in'\]"):
        from_tagged(file, {"in": "inlet"}, tmp_path)


def test_other_cells_and_other_files_are_refused(tmp_path):
    hexahedron = np.array(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    )
    meshio.Mesh(hexahedron.astype(float), {"hexahedron": [list(range(8))]}).write(
        tmp_path / "h.vtu"
    )
    with pytest.raises(InputError, match="hexahedron"):
        from_tagged(tmp_path / "h.vtu", ROLES, tmp_path)
    (tmp_path / "no.msh").write_text("no mesh")
    with pytest.raises(InputError, match="meshio reads"):
        from_tagged(tmp_path / "no.msh", ROLES, tmp_path)
    with pytest.raises(InputError, match="meshio reads"):
        from_tagged(tmp_path / "missing.msh", ROLES, tmp_path)
