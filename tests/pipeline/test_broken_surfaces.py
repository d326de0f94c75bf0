"""Surfaces broken in known places: each is mended (volume kept, clean) and reported, or refused with that place."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import pyvista as pv

from meshing.errors import InputError
from pipeline.case import SurfaceInput, SurfaceOptions
from pipeline.surface import TriangleMesh, given, run, write_stl
from pipeline.surface.crossing import crossing_triangles
from pipeline.surface.mend import _refilled
from pipeline.surface.topology import Edges

AROUND, RINGS, LENGTH, RADIUS = 24, 61, 30.0, 1.5
POINT = r"\((-?[\d.]+), (-?[\d.]+), (-?[\d.]+)\)"


def vessel(radius=RADIUS, around=AROUND, rings=RINGS):
    """A closed tube, its axis raised by 2 mm in the middle; the caps are the last triangles."""
    x = np.linspace(0, LENGTH, rings)
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    y = 2 * np.sin(np.pi * x / LENGTH)[:, None] + radius * np.cos(angle)
    z = np.broadcast_to(radius * np.sin(angle), y.shape)
    wall = np.stack([np.broadcast_to(x[:, None], y.shape), y, z], -1)
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    k, last, hub = np.arange(around), (rings - 1) * around, rings * around
    cells = [
        np.stack([a, b, d], -1).reshape(-1, 3),
        np.stack([a, d, c], -1).reshape(-1, 3),
        np.column_stack([np.full(around, hub), (k + 1) % around, k]),
        np.column_stack([np.full(around, hub + 1), last + k, last + (k + 1) % around]),
    ]
    centres = np.array([[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0]])
    points = np.vstack([wall.reshape(-1, 3), centres])
    return TriangleMesh.of(points, np.concatenate(cells))


def axis(x):
    return np.array([x, 2 * np.sin(np.pi * x / LENGTH), 0.0])


TOP = np.array([15.0, 2 + RADIUS, 0.0])


def joined(*meshes):
    starts = np.cumsum([0, *(len(m.points) for m in meshes)])
    return TriangleMesh.of(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.triangles + n for m, n in zip(meshes, starts, strict=False)]),
    )


def nearest_cells(mesh, place, count):
    return np.argsort(np.linalg.norm(mesh.corners.mean(1) - place, axis=1), kind="stable")[:count]


def nearest_point(mesh, place):
    return int(np.argmin(np.linalg.norm(mesh.points - place, axis=1)))


def without(mesh, cells):
    return mesh.keep(~np.isin(np.arange(len(mesh.triangles)), cells))


def with_points(mesh, points):
    return TriangleMesh.of(points, mesh.triangles)


def with_cells(mesh, *rows):
    return TriangleMesh.of(mesh.points, np.vstack([mesh.triangles, *rows]))


def small_hole(mesh):
    return without(mesh, nearest_cells(mesh, TOP, 3))


def chimney(mesh):
    """A triangle of the wall drawn out and gone: its rim is flat and lies across, as that of a vessel's end does."""
    cell = nearest_cells(mesh, TOP, 1)[0]
    base, first = mesh.triangles[cell], len(mesh.points)
    middle = mesh.points[base].mean(axis=0)
    top = middle + 0.5 * (mesh.points[base] - middle) + [0, 0.2, 0]
    walls = [
        row
        for k, (a, b) in enumerate(zip(base, np.roll(base, -1), strict=True))
        for row in ((a, b, first + k), (b, first + (k + 1) % 3, first + k))
    ]
    rest = without(mesh, [cell])
    return TriangleMesh.of(np.vstack([mesh.points, top]), np.vstack([rest.triangles, walls]))


def large_hole(mesh):
    return without(mesh, nearest_cells(mesh, TOP, 60))


def slit(mesh):
    """The wall cut open lengthwise over ten rings, its lips 0.02 mm apart."""
    ring = [
        nearest_point(mesh, axis(x) + np.array([0, RADIUS, 0])) for x in np.linspace(12.5, 17.5, 11)
    ]
    cells, points = mesh.triangles.copy(), mesh.points
    left = mesh.corners[:, :, 2].mean(axis=1) > 0
    for vertex in ring[1:-1]:
        cells[left] = np.where(cells[left] == vertex, len(points), cells[left])
        points = np.vstack([points, points[vertex] + [0, 0, 0.02]])
    return TriangleMesh.of(points, cells)


def hole_in_a_cap(mesh):
    return without(mesh, [len(mesh.triangles) - 7, len(mesh.triangles) - 8])


def torn_end(mesh):
    """The outlet torn off obliquely, in steps: no flat end."""
    middle = mesh.corners.mean(axis=1)
    return mesh.keep(middle[:, 0] < 26 + np.where(middle[:, 2] > 0, 1.5, -1.5))


def spike_through_the_wall(mesh):
    points = mesh.points.copy()
    points[nearest_point(mesh, TOP)] = axis(15) + np.array([0.05, -1.4 * RADIUS, 0.08])
    return with_points(mesh, points)


def wall_pushed_through(mesh):
    """All of the upper wall over 8 mm pushed out below the lower one."""
    points = mesh.points.copy()
    upper = (abs(points[:, 0] - 15) < 4) & (points[:, 1] - axis(15)[1] > -0.5)
    points[upper, 1] -= 3.6
    return with_points(mesh, points)


def vessels_that_cross(mesh):
    other = (mesh.points - axis(15))[:, [1, 0, 2]] + axis(15) + np.array([0, 0, 0.4])
    return joined(mesh, TriangleMesh.of(other, mesh.triangles[:, ::-1]))


def inner_wall(mesh):
    """Two vessels end to end that kept the wall between them: edges of three triangles."""
    ring = np.flatnonzero(abs(mesh.points[:, 0] - 15) < 1e-9)
    hub = len(mesh.points)
    fan = np.column_stack([np.full(AROUND, hub), ring, np.roll(ring, -1)])
    return TriangleMesh.of(np.vstack([mesh.points, axis(15)]), np.vstack([mesh.triangles, fan]))


def fin(mesh):
    """Two triangles back to back on an edge of the wall, which has four then."""
    a, b, _ = mesh.triangles[nearest_cells(mesh, TOP, 1)[0]]
    tip = len(mesh.points)
    points = np.vstack([mesh.points, TOP + np.array([0.2, 1.0, 0])])
    return TriangleMesh.of(points, np.vstack([mesh.triangles, [[a, b, tip], [b, a, tip]]]))


def flap(mesh):
    a, b, _ = mesh.triangles[nearest_cells(mesh, TOP, 1)[0]]
    points = np.vstack([mesh.points, TOP + np.array([0.2, 1.0, 0])])
    return TriangleMesh.of(points, np.vstack([mesh.triangles, [[a, b, len(mesh.points)]]]))


def touching_in_a_point(mesh):
    """The upper wall drawn down to one vertex of the lower one: a closed throat, one shared point."""
    points = mesh.points.copy()
    here, there = nearest_point(mesh, TOP), nearest_point(mesh, axis(15) - np.array([0, RADIUS, 0]))
    points[here] = points[there]
    return TriangleMesh.of(points, np.where(mesh.triangles == here, there, mesh.triangles))


def flipped_patch(mesh):
    cells = mesh.triangles.copy()
    some = nearest_cells(mesh, TOP, 40)
    cells[some] = cells[some, ::-1]
    return TriangleMesh.of(mesh.points, cells)


def flipped_at_random(mesh):
    cells = mesh.triangles.copy()
    some = np.random.default_rng(3).uniform(size=len(cells)) < 0.5
    cells[some] = cells[some, ::-1]
    return TriangleMesh.of(mesh.points, cells)


def inside_out(mesh):
    return TriangleMesh.of(mesh.points, mesh.triangles[:, ::-1])


def doubled_shell(mesh):
    return joined(mesh, mesh)


def doubled_shell_turned(mesh):
    return joined(mesh, inside_out(mesh))


def doubled_patch(mesh):
    return with_cells(mesh, mesh.triangles[nearest_cells(mesh, TOP, 25)])


def shell_with_thickness(mesh):
    return joined(mesh, inside_out(vessel(radius=RADIUS - 0.3)))


def shell_with_noise(mesh):
    """A second copy of the wall 1e-3 mm off here and there: the two cross all over."""
    noise = np.random.default_rng(4).normal(0, 1e-3, mesh.points.shape)
    return joined(mesh, with_points(mesh, mesh.points + noise))


def debris(mesh):
    bits = [
        with_points(mesh, 0.03 * (mesh.points - axis(15)) + TOP + np.array([k, 2, k]))
        for k in range(3)
    ]
    return joined(mesh, *bits)


def bubble(mesh):
    """A closed cavity inside the lumen."""
    return joined(mesh, inside_out(with_points(mesh, 0.03 * (mesh.points - axis(15)) + axis(15))))


def zero_area(mesh):
    """Ten triangles replaced by two, each with a needle without area on its long side."""
    for cell in range(300, 320, 2):
        a, b, c = mesh.triangles[cell]
        middle = len(mesh.points)
        points = np.vstack([mesh.points, (mesh.points[a] + mesh.points[b])[None] / 2])
        cells = np.delete(mesh.triangles, cell, 0)
        three = [[a, middle, c], [middle, b, c], [a, b, middle]]
        mesh = TriangleMesh.of(points, np.vstack([cells, three]))
    return mesh


def collapsed(mesh):
    """Rings 20 and 21 shrunk onto each other: 48 triangles without area."""
    points = mesh.points.copy()
    points[21 * AROUND : 22 * AROUND] = points[20 * AROUND : 21 * AROUND]
    return with_points(mesh, points)


def one_sided(mesh):
    """A strip with half a twist beside the vessel's end, as large as the vessel."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    edge = []
    for s in (-2.0, 2.0):
        r = 9 + s * np.cos(t / 2)
        edge.append(np.column_stack([r * np.cos(t), r * np.sin(t), s * np.sin(t / 2)]))
    k, n = np.arange(60), np.r_[1:60, 0]
    same = np.where(k == 59, n + 60, n)  # the last quadrilateral joins the other edge
    other = np.where(k == 59, n, n + 60)
    cells = np.vstack([np.column_stack([k, other, k + 60]), np.column_stack([k, same, other])])
    return TriangleMesh.of(np.vstack(edge), cells)


def metres(mesh):
    return with_points(mesh, 1e-3 * mesh.points)


def micrometres(mesh):
    return with_points(mesh, 1e3 * mesh.points)


def inches(mesh):
    """Ten times too small: read as mm, it is thinner than any vessel that is imaged."""
    return with_points(mesh, mesh.points / 10)


class Broken(NamedTuple):
    """What is broken, and what must become of it."""

    make: Callable[[TriangleMesh], TriangleMesh]
    volume: float | None = None  # largest relative error once mended; None: refused
    place: np.ndarray | None = None  # where, in a refusal
    reach: float = 1.0  # within this many mm


BROKEN = [
    Broken(small_hole, volume=2e-3),
    Broken(chimney, volume=2e-3),
    Broken(large_hole, place=TOP),
    Broken(slit, place=TOP),
    Broken(hole_in_a_cap, volume=1e-5),
    Broken(torn_end, place=axis(26), reach=1.5),
    Broken(spike_through_the_wall, volume=0.01),
    Broken(wall_pushed_through, place=axis(15), reach=4.5),
    Broken(vessels_that_cross, place=axis(15), reach=3.0),
    Broken(inner_wall, place=axis(15), reach=2.0),
    Broken(fin, volume=2e-3),
    Broken(flap, volume=1e-5),
    Broken(touching_in_a_point, volume=0.01),
    Broken(flipped_patch, volume=1e-5),
    Broken(flipped_at_random, volume=1e-5),
    Broken(inside_out, volume=1e-5),
    Broken(doubled_shell, volume=1e-5),
    Broken(doubled_shell_turned, volume=1e-5),
    Broken(doubled_patch, volume=1e-5),
    Broken(shell_with_thickness, place=axis(15), reach=2.0),
    Broken(shell_with_noise, place=axis(15), reach=16.0),
    Broken(debris, volume=1e-5),
    Broken(bubble, volume=1e-5),
    Broken(zero_area, volume=1e-5),
    Broken(collapsed, volume=5e-3),
    Broken(one_sided, place=np.zeros(3), reach=12.0),
    Broken(metres, place=np.zeros(3), reach=2.0),
    Broken(micrometres, place=1e3 * axis(30), reach=4000.0),
    Broken(inches, place=np.zeros(3), reach=2.0),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: b.make.__name__)
def test_is_mended_or_refused_with_its_place(broken, tmp_path):
    whole = vessel()
    write_stl(broken.make(whole), tmp_path / "in.stl")
    source = SurfaceInput(path=tmp_path / "in.stl", unit="mm", caps={})
    if broken.volume is None:
        with pytest.raises(InputError) as caught:
            run(source, SurfaceOptions(), tmp_path / "out")
        text = f"{caught.value.got} {caught.value.field or ''}"
        told = np.array([[float(x) for x in row] for row in re.findall(POINT, text)])
        assert len(told), text
        assert np.linalg.norm(told - broken.place, axis=1).min() < broken.reach, text
        assert caught.value.remedy
        assert str(caught.value.file).endswith("in.stl")
        return
    run(source, SurfaceOptions(), tmp_path / "out")
    info = json.loads((tmp_path / "out" / "surface.json").read_text())
    assert info["repairs"] + info["bodies_dropped"]
    assert info["volume_mm3"] == pytest.approx(whole.volume, rel=broken.volume)
    data = pv.read(tmp_path / "out" / "lumen.vtp")
    mesh = TriangleMesh.of(data.points, data.regular_faces)
    edges = Edges.of(mesh.triangles)
    assert (edges.count == 2).all()
    assert len(mesh.points) - len(edges.ends) + len(mesh.triangles) == 2
    assert len(crossing_triangles(mesh)[0]) == 0
    assert len(np.unique(mesh.points.round(6), axis=0)) == len(mesh.points)
    assert mesh.areas.min() > 1e-7 * whole.areas.mean()


def test_the_whole_vessel_passes_unmended(tmp_path):
    """The counter-check: the shape that the faults are put into is itself taken as it is."""
    write_stl(vessel(), tmp_path / "in.stl")
    run(SurfaceInput(path=tmp_path / "in.stl", unit="mm", caps={}), SurfaceOptions(), tmp_path / "out")  # fmt: skip
    info = json.loads((tmp_path / "out" / "surface.json").read_text())
    assert info["repairs"] == info["bodies_dropped"] == []
    assert info["volume_mm3"] == pytest.approx(vessel().volume, rel=1e-6)


def test_no_crumb_is_left_in_a_rebuilt_place():
    """All around one triangle is cut out: what is filled covers it."""
    mesh = vessel()
    cell = nearest_cells(mesh, TOP, 1)[0]
    around = np.isin(mesh.triangles, mesh.triangles[cell]).any(axis=1)
    around[cell] = False
    out = _refilled(mesh, around)
    assert out is not None
    assert (Edges.of(out.triangles).count == 2).all()
    assert out.volume == pytest.approx(mesh.volume, rel=5e-3)


def test_what_a_rebuilt_place_cuts_off_is_dropped(tmp_path, monkeypatch):
    """A blob that hung on a neck which crossed itself."""
    mesh = vessel()
    blob = TriangleMesh.of(0.1 * mesh.points + TOP + [0, 2, 0], mesh.triangles)
    monkeypatch.setattr(given, "uncross", lambda told, _: joined(told, blob))
    write_stl(mesh, tmp_path / "vessel.stl")
    source = SurfaceInput(kind="surface", path=tmp_path / "vessel.stl")
    out, report = given.lumen_of_file(source, SurfaceOptions())
    assert len(out.triangles) == len(mesh.triangles)
    assert len(report["bodies_dropped"]) == 1
