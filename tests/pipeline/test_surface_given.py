"""Given surfaces: formats, units, repairs with their reports, refusals with their place."""

import json
from pathlib import Path

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.case import SurfaceInput, SurfaceOptions
from pipeline.surface import TriangleMesh, run, write_stl
from pipeline.surface.crossing import crossing_triangles
from pipeline.surface.reading import read_surface
from pipeline.surface.topology import Edges, boundary_loops

DATA = Path(__file__).parents[2] / "../shared/data"
N = 24


def tube(length=30.0, radius=1.5, rings=31, around=N, caps=True):
    """A closed tube along x; cap triangles last (first cap, then last cap), normals outward."""
    x = np.linspace(0, length, rings)
    phi = np.linspace(0, 2 * np.pi, around, endpoint=False)
    ring = np.column_stack([0 * phi, radius * np.cos(phi), radius * np.sin(phi)])
    points = [*(ring + np.array([xi, 0, 0]) for xi in x), np.array([[0, 0, 0], [length, 0, 0]])]
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    cells = [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    k, last, hub = np.arange(around), (rings - 1) * around, rings * around
    if caps:
        cells.append(np.column_stack([np.full(around, hub), (k + 1) % around, k]))
        cells.append(np.column_stack([np.full(around, hub + 1), last + k, last + (k + 1) % around]))
    return TriangleMesh.of(np.concatenate(points), np.concatenate(cells)).compact()


def exact_volume(length=30.0, radius=1.5, around=N):
    return length * around / 2 * radius**2 * np.sin(2 * np.pi / around)


def joined(*meshes):
    points, cells, n = [], [], 0
    for mesh in meshes:
        points.append(mesh.points)
        cells.append(mesh.triangles + n)
        n += len(mesh.points)
    return TriangleMesh.of(np.concatenate(points), np.concatenate(cells))


def moved(mesh, shift=(0, 0, 0), scale=1.0):
    return TriangleMesh.of(mesh.points * scale + np.array(shift), mesh.triangles)


def ball(radius, centre):
    """An octahedron: a small closed body."""
    points = np.vstack([np.eye(3), -np.eye(3)]) * radius + centre
    cells = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return TriangleMesh.of(points, np.array(cells))


def surface(mesh, tmp_path, unit="mm", caps=None, **options):
    """Run the stage on a mesh; the surface read back and its JSON."""
    write_stl(mesh, tmp_path / "in.stl")
    return stage(tmp_path / "in.stl", tmp_path, unit, caps, **options)


def stage(path, tmp_path, unit="mm", caps=None, **options):
    source = SurfaceInput(path=path, unit=unit, caps=caps or {})
    run(source, SurfaceOptions(**options), tmp_path / "out")
    import pyvista as pv

    data = pv.read(tmp_path / "out/lumen.vtp")
    mesh = TriangleMesh.of(data.points, data.regular_faces, data.cell_data["cap"])
    return mesh, json.loads((tmp_path / "out/surface.json").read_text())


def test_clean_tube_comes_back_unchanged(tmp_path):
    mesh, info = surface(tube(), tmp_path)
    assert info["repairs"] == info["bodies_dropped"] == info["notes"] == []
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=1e-6)
    assert mesh.volume == pytest.approx(exact_volume(), rel=1e-6)
    assert info["bounding_box_mm"][1] == pytest.approx([30, 1.5, 1.5])


@pytest.mark.parametrize("name", ["a.vtp", "a.ply", "a.obj", "binary.stl", "ascii.stl"])
def test_formats(name, tmp_path):
    import pyvista as pv

    mesh = tube()
    path = tmp_path / name
    pv.PolyData.from_regular_faces(mesh.points, mesh.triangles).save(
        path, **({} if name.endswith((".vtp", ".obj")) else {"binary": "ascii" not in name})
    )
    assert stage(path, tmp_path)[1]["volume_mm3"] == pytest.approx(exact_volume(), rel=1e-5)


@pytest.mark.parametrize(("unit", "per_mm"), [("cm", 0.1), ("m", 1e-3)])
def test_units(unit, per_mm, tmp_path):
    _, info = surface(moved(tube(), scale=per_mm), tmp_path, unit=unit)
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=1e-5)


@pytest.mark.parametrize(
    ("scale", "unit", "likely"),
    [(1e-3, "mm", "m"), (1.0, "m", "mm"), (0.1, "mm", "cm"), (1, "cm", "mm")],
)
def test_wrong_unit_is_named(scale, unit, likely, tmp_path):
    with pytest.raises(InputError, match=f"input.unit: {likely}$") as caught:
        surface(moved(tube(), scale=scale), tmp_path, unit=unit)
    assert caught.value.field == "input.unit"


def test_open_ends_stay_open(tmp_path):
    mesh, info = surface(tube(caps=False), tmp_path)
    assert sorted(round(end["centre_mm"][0], 6) for end in info["open_ends"]) == [0.0, 30.0]
    disc = exact_volume() / 30
    assert [e["diameter_mm"] for e in info["open_ends"]] == pytest.approx(
        [2 * np.sqrt(disc / np.pi)] * 2
    )
    assert info["volume_mm3"] is None
    assert sorted(len(loop) for loop in boundary_loops(mesh)) == [N, N]
    assert (mesh.points[mesh.triangles].mean(1)[:, 1:] * mesh.area_vectors[:, 1:]).sum(1).min() > 0


def cut(mesh, where):
    return mesh.keep(~where(mesh.corners.mean(axis=1)))


def test_hole_in_the_wall_is_located(tmp_path):
    holed = cut(tube(), lambda c: (abs(c[:, 0] - 15) < 3) & (c[:, 1] > 0.3))
    with pytest.raises(InputError, match=r"1 hole in the wall: .* at \(15\.0, ") as caught:
        surface(holed, tmp_path)
    assert str(caught.value.file).endswith("in.stl")


def test_small_hole_is_filled_and_reported(tmp_path):
    whole = tube()
    holed = whole.keep(~np.isin(np.arange(len(whole.triangles)), [360, 1080, 1081]))
    mesh, info = surface(holed, tmp_path)
    assert (Edges.of(mesh.triangles).count == 2).all()
    assert len(info["repairs"]) == 1
    assert "filled a hole" in info["repairs"][0]
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=2e-3)
    with pytest.raises(InputError, match="repair: filled a hole"):
        surface(holed, tmp_path, repair=False)


def test_small_bodies_are_dropped_and_reported(tmp_path):
    mesh, info = surface(joined(tube(), ball(0.5, [10, 5, 0])), tmp_path)
    assert len(info["bodies_dropped"]) == 1
    assert "(10.00, 5.00, 0.00)" in info["bodies_dropped"][0]
    assert mesh.volume == pytest.approx(exact_volume(), rel=1e-6)
    with pytest.raises(InputError, match="2 bodies"):
        surface(joined(tube(), ball(0.5, [10, 5, 0])), tmp_path, keep="error")


def test_two_alike_bodies_are_an_error(tmp_path):
    with pytest.raises(InputError, match="one connected lumen; got 2 bodies"):
        surface(joined(tube(), moved(tube(), (0, 12, 0))), tmp_path)


def test_crossing_tubes_are_located(tmp_path):
    across = tube()
    across = TriangleMesh.of(
        across.points[:, [1, 0, 2]] + [15, -12, 0.4], across.triangles[:, ::-1]
    )
    with pytest.raises(InputError, match=r"intersect near \(1[3-6]\.") as caught:
        surface(joined(tube(), across), tmp_path)
    assert "does not intersect itself" in caught.value.wanted


def test_local_crossing_is_rebuilt(tmp_path):
    mesh = tube(rings=61, around=24)
    spike = int(np.argmin(np.linalg.norm(mesh.points - [15, 1.5, 0], axis=1)))
    mesh.points[spike] = [15.1, -1.9, 0.1]  # through the opposite wall
    assert len(crossing_triangles(mesh)[0]) > 0
    out, info = surface(mesh, tmp_path)
    assert len(crossing_triangles(out)[0]) == 0
    assert any("crossed itself" in line for line in info["repairs"])
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=0.01)


def test_no_crossing_in_a_clean_tube_and_the_right_one_between_two():
    assert len(crossing_triangles(tube())[0]) == 0
    one = [[0, 0, 0], [2, 0, 0], [0, 2, 0]]
    two = [[0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0.5]]
    pairs, where = crossing_triangles(
        TriangleMesh.of(np.array(one + two), np.arange(6).reshape(2, 3))
    )
    assert pairs.tolist() == [[0, 1]]
    assert where[0, 2] == pytest.approx(0.0)


def broken_duplicates(mesh):
    return TriangleMesh.of(
        mesh.points, np.vstack([mesh.triangles, mesh.triangles[5:9]])
    ), "4 repeated"


def broken_shell(mesh):
    return joined(mesh, mesh), f"{len(mesh.triangles)} repeated"


def broken_flips(mesh):
    cells = mesh.triangles.copy()
    cells[10:40] = cells[10:40, ::-1]
    return TriangleMesh.of(mesh.points, cells), "turned 30 triangles round"


def broken_inside_out(mesh):
    return TriangleMesh.of(mesh.points, mesh.triangles[:, ::-1]), "inside out"


def broken_collapsed(mesh):
    return TriangleMesh.of(
        mesh.points, np.vstack([mesh.triangles, [[3, 3, 4]]])
    ), "1 triangles without"


def broken_flap(mesh):
    points = np.vstack([mesh.points, [[15, 3, 0]]])
    cell = [*mesh.triangles[300, :2], len(points) - 1]
    return TriangleMesh.of(points, np.vstack([mesh.triangles, [cell]])), "hung on an edge"


def broken_needle(mesh):
    """A triangle cut at its edge's middle on one side only, the gap closed by a triangle without area."""
    a, b, c = mesh.triangles[300]
    m = len(mesh.points)
    points = np.vstack([mesh.points, (mesh.points[a] + mesh.points[b])[None] / 2])
    cells = np.vstack([np.delete(mesh.triangles, 300, 0), [[a, m, c], [m, b, c], [a, b, m]]])
    return TriangleMesh.of(points, cells), "flat triangles"


BROKEN = [
    broken_duplicates, broken_shell, broken_flips, broken_inside_out, broken_collapsed, broken_flap, broken_needle,
]  # fmt: skip


@pytest.mark.parametrize("make", BROKEN, ids=lambda f: f.__name__)
def test_repairs(make, tmp_path):
    mesh, words = make(tube())
    out, info = surface(mesh, tmp_path)
    assert any(words in line for line in info["repairs"]), info["repairs"]
    edges = Edges.of(out.triangles)
    assert (edges.count == 2).all()
    assert len(out.points) - len(edges.ends) + len(out.triangles) == 2
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=1e-5)
    with pytest.raises(InputError, match=r"surface\.repair: true"):
        surface(mesh, tmp_path, repair=False)


def test_inner_wall_is_refused_with_its_place(tmp_path):
    """Two tubes end to end that kept the wall between them: a ring of edges with three triangles."""
    mesh = tube()
    ring = [int(np.argmin(np.linalg.norm(mesh.points - p, axis=1))) for p in ring_at(15.0)]
    hub = len(mesh.points)
    wall = [[hub, ring[k], ring[(k + 1) % N]] for k in range(N)]
    both = TriangleMesh.of(
        np.vstack([mesh.points, [[15.0, 0, 0]]]), np.vstack([mesh.triangles, wall])
    )
    with pytest.raises(InputError, match=rf"{N} non-manifold edges near \(1[45]"):
        surface(both, tmp_path)


def ring_at(x):
    phi = np.linspace(0, 2 * np.pi, N, endpoint=False)
    return np.column_stack([x + 0 * phi, 1.5 * np.cos(phi), 1.5 * np.sin(phi)])


def caps_of(mesh, tmp_path):
    """The two caps as STL files."""
    centre = mesh.corners[:, :, 0]
    for name, x in (("in", 0.0), ("out", 30.0)):
        write_stl(mesh.keep((abs(centre - x) < 1e-6).all(axis=1)), tmp_path / f"{name}.stl")
    return {"aorta": tmp_path / "in.stl", "LAD": tmp_path / "out.stl"}


@pytest.mark.parametrize("closed", [True, False])
def test_caps_are_marked_or_close_the_ends(closed, tmp_path):
    caps = caps_of(tube(), tmp_path)
    write_stl(tube(caps=closed), tmp_path / "wall.stl")
    mesh, info = stage(tmp_path / "wall.stl", tmp_path, caps=caps)
    assert info["caps"] == [{"name": "aorta", "role": None}, {"name": "LAD", "role": None}]
    assert info["open_ends"] == []
    for number, x in ((1, 0.0), (2, 30.0)):
        assert np.abs(mesh.corners[mesh.cap == number][:, :, 0] - x).max() < 1e-6
        assert mesh.areas[mesh.cap == number].sum() == pytest.approx(exact_volume() / 30, rel=1e-5)
    assert info["volume_mm3"] == pytest.approx(exact_volume(), rel=1e-5)


def test_cap_triangulated_otherwise_is_found(tmp_path):
    ring = ring_at(0.0)
    fan = TriangleMesh.of(ring, np.array([[0, k + 1, k] for k in range(1, N - 1)]))
    write_stl(fan, tmp_path / "fan.stl")
    mesh, _ = surface(tube(), tmp_path, caps={"aorta": tmp_path / "fan.stl"})
    assert (mesh.cap == 1).sum() == N


def test_cap_elsewhere_is_refused(tmp_path):
    write_stl(moved(ball(1.0, [0, 0, 0]), (50, 0, 0)), tmp_path / "cap.stl")
    with pytest.raises(InputError, match="0% lies on the surface") as caught:
        surface(tube(), tmp_path, caps={"aorta": tmp_path / "cap.stl"})
    assert "aorta" in str(caught.value.field)


def not_finite(path):
    mesh = tube()
    mesh.points[7] = np.nan
    write_stl(mesh, path)


def cut_off(path):
    write_stl(tube(), path)
    path.write_bytes(path.read_bytes()[:-70])


FILES = [
    ("absent.stl", lambda p: None, "no such file"),
    ("empty.stl", lambda p: p.write_bytes(b""), "an empty file"),
    ("none.stl", lambda p: p.write_text("solid a\nendsolid a\n"), "no triangle"),
    ("nan.stl", not_finite, "NaN or infinite coordinates"),
    ("cut.stl", cut_off, "header announces"),
    (
        "cut_ascii.stl",
        lambda p: p.write_text("solid a\nfacet\nvertex 1 2\n"),
        "ASCII STL with a fault",
    ),
    ("broken.vtp", lambda p: p.write_text("<VTKFile"), "unreadable file"),
    ("mesh.xyz", lambda p: p.write_text("1 2 3"), r"\*.xyz"),
]


@pytest.mark.parametrize(("name", "make", "words"), FILES, ids=[f[0] for f in FILES])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_files(name, make, words, tmp_path):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        read_surface(tmp_path / name)
    assert str(caught.value.file).endswith(name)


@pytest.mark.skipif(not DATA.exists(), reason="shared data are not beside this checkout")
def test_real_left_coronary(tmp_path):
    folder = DATA / "left_coronary"
    mesh, info = stage(
        folder / "m1_fluid.stl", tmp_path, caps={f"BC{i}": folder / f"BC{i}.stl" for i in range(7)}
    )
    assert info["repairs"] == []
    assert (len(mesh.points), len(mesh.triangles)) == (7170, 14336)  # README of the data
    inlet = mesh.areas[mesh.cap == 1].sum()
    assert 2 * np.sqrt(inlet / np.pi) == pytest.approx(4.56, abs=0.02)
    outlets = [2 * np.sqrt(mesh.areas[mesh.cap == k].sum() / np.pi) for k in range(2, 8)]
    assert outlets == pytest.approx([0.72, 1.14, 1.36, 1.21, 0.87, 1.14], abs=0.02)


@pytest.mark.skipif(not DATA.exists(), reason="shared data are not beside this checkout")
def test_real_phantom_with_open_ends(tmp_path):
    _, info = stage(DATA / "coronary_phantom/phantom_coarse.stl", tmp_path)
    diameters = sorted(end["diameter_mm"] for end in info["open_ends"])
    assert diameters == pytest.approx([4.0] * 6 + [6.3], abs=0.12)  # README of the data
