"""Lesions of analytic tubes, and of the real left coronary."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.anatomy.stenosis import find_lesions
from pipeline.anatomy.surface import Surface
from pipeline.anatomy.types import Centerline

BOTH = (("in", "inlet"), ("LAD", "outlet"))
DATA = Path(__file__).parents[3] / "../shared/data"


def cosine(s, throat, length, reduction):
    x = (s - throat) / length
    return np.where(abs(x) < 0.5, 1 - reduction * 0.5 * (1 + np.cos(2 * np.pi * x)), 1.0)


def check(lesion, throat, length, reduction, reference):
    assert lesion.diameter_stenosis == pytest.approx(reduction, abs=0.03)
    assert lesion.length_mm == pytest.approx(length, rel=0.2)
    assert lesion.throat_mm == pytest.approx(throat, abs=1.0)
    assert lesion.start_mm < lesion.throat_mm < lesion.end_mm
    assert lesion.reference_diameter_mm == pytest.approx(reference, rel=0.04)
    smallest = lesion.minimum_lumen_diameter_mm
    assert lesion.minimum_lumen_area_mm2 == pytest.approx(np.pi / 4 * smallest**2)
    ratio = smallest / lesion.reference_diameter_mm
    assert lesion.diameter_stenosis == pytest.approx(1 - ratio)
    assert lesion.area_stenosis == pytest.approx(1 - ratio**2)


@pytest.mark.parametrize(
    ("throat", "length", "reduction", "taper"),
    [
        (15, 8, 0.3, 0.0),
        (12, 6, 0.7, 0.01),
        (15, 10, 0.5, 0.015),
        (5, 6, 0.5, 0.01),
        (15, 5, 0.85, 0),
    ],
)
def test_tube_with_one_stenosis(case, shapes, throat, length, reduction, taper):
    points = shapes.straight(30, 0.2)
    healthy = 1.6 * (1 - taper * points[:, 2])
    radius = healthy * cosine(points[:, 2], throat, length, reduction)
    anatomy, _ = case.put(shapes.tube(points, radius), BOTH).run()
    (lesion,) = anatomy.lesions
    check(lesion, throat, length, reduction, 3.2 * (1 - taper * throat))
    assert (lesion.name, lesion.outlet, lesion.outlets) == ("LAD-1", "LAD", ("LAD",))
    np.testing.assert_allclose(lesion.centre_mm, (0, 0, lesion.throat_mm), atol=0.05)


def test_eccentric_stenosis_in_a_bent_tube(case, shapes):
    t = np.linspace(0, 1.6, 200)
    axis = 18.0 * np.column_stack([np.cos(t), np.sin(t), 0 * t])
    s = 18.0 * t
    radius = 1.5 * cosine(s, 14, 8, 0.6)
    points = axis + (1.5 - radius)[:, None] * [0, 0, 1.0]  # one wall stays where it is
    anatomy, _ = case.put(shapes.tube(points, radius), BOTH).run()
    (lesion,) = anatomy.lesions
    check(lesion, 14, 8, 0.6, 3.0)


def line(s, diameter, name="a", branch=None):
    """A straight centreline along z with given diameters."""
    n = len(s)
    return Centerline(
        outlet=name,
        points_mm=np.column_stack([0 * s, 0 * s, s]),
        abscissa_mm=s,
        radius_mm=diameter / 2,
        area_mm2=np.pi / 4 * diameter**2,
        tangent=np.tile([0, 0, 1.0], (n, 1)),
        branch=np.zeros(n, np.int32) if branch is None else branch,
        extension=np.zeros(n, np.bool_),
    )


S = np.arange(0, 60, 0.3)


@pytest.mark.parametrize("taper", [0.0, 0.008, 0.02])
def test_a_tapering_vessel_has_no_lesion(taper):
    rng = np.random.default_rng(7)
    for _ in range(50):
        rough = np.convolve(rng.standard_normal(len(S) + 8), np.ones(9) / 9, "valid")
        assert find_lesions([line(S, 4 * np.exp(-taper * S) * (1 + 0.06 * rough))], 0.25) == ()


def test_a_bulge_is_no_lesion():
    bulge = 1 + 0.4 * np.exp(-(((S - 30) / 4) ** 2))
    assert find_lesions([line(S, 3 * bulge)], 0.2) == ()


def test_serial_stenoses_are_told_apart():
    diameter = 3.5 * np.exp(-0.005 * S) * cosine(S, 15, 8, 0.5) * cosine(S, 35, 10, 0.7)
    first, second = find_lesions([line(S, diameter, "RCA")], 0.25)
    check(first, 15, 8, 0.5, 3.5 * np.exp(-0.075))
    check(second, 35, 10, 0.7, 3.5 * np.exp(-0.175))
    assert (first.name, second.name) == ("RCA-1", "RCA-2")


def forked(stem, left, right, gap=3):
    """Two lines over a stem up to s = 30, without sections at the fork."""
    lines = []
    for name, daughter, number in (("big", left, 1), ("small", right, 2)):
        diameter = np.where(S < 30, stem, daughter)
        diameter = np.where(abs(S - 30) < gap, np.nan, diameter)
        lines.append(line(S, diameter, name, np.where(S < 30, 0, number).astype(np.int32)))
        lines[-1].points_mm[:, 0] += np.where(S < 30, 0, (S - 30) * (1 if number == 1 else -1))
        lines[-1].radius_mm[np.isnan(diameter)] = 1.5
    return lines


def test_lesion_of_a_stem_is_reported_once():
    stem = 4.0 * cosine(S, 15, 8, 0.6)
    (lesion,) = find_lesions(forked(stem, 3.4 + 0 * S, 2.6 + 0 * S), 0.25)
    check(lesion, 15, 8, 0.6, 4.0)
    assert set(lesion.outlets) == {"big", "small"}
    assert lesion.outlet == lesion.outlets[0] == "big"


def test_lesion_at_an_ostium_is_measured_against_its_own_branch():
    lesion = find_lesions(forked(4.0 + 0 * S, 3.4 + 0 * S, 2.6 * cosine(S, 35, 6, 0.5)), 0.25)
    assert [x.outlets for x in lesion] == [("small",)]
    assert lesion[0].diameter_stenosis == pytest.approx(0.5, abs=0.06)
    assert lesion[0].throat_mm == pytest.approx(35, abs=1)


def test_step_at_a_bifurcation_is_no_lesion():
    assert find_lesions(forked(4.0 + 0 * S, 3.2 + 0 * S, 2.0 + 0 * S), 0.2) == ()


def test_threshold_is_the_users():
    diameter = 3.0 * cosine(S, 30, 10, 0.35)
    assert len(find_lesions([line(S, diameter)], 0.3)) == 1
    assert find_lesions([line(S, diameter)], 0.4) == ()


@pytest.fixture(scope="module")
def left_coronary():
    """Surface and caps of the real left coronary."""
    import pyvista as pv
    from scipy.spatial import cKDTree

    folder = DATA / "left_coronary"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    mesh: Any = pv.read(folder / "m1_fluid.stl").clean()
    triangles = mesh.faces.reshape(-1, 4)[:, 1:].astype(np.int64)
    points = np.array(mesh.points, dtype=np.float64)
    patch = np.zeros(len(triangles), np.int32)
    for k in range(7):
        cap: Any = pv.read(folder / f"BC{k}.stl")
        middles = cap.points[cap.faces.reshape(-1, 4)[:, 1:]].mean(axis=1)
        patch[cKDTree(middles).query(points[triangles].mean(axis=1))[0] < 1e-4] = k + 1
    return Surface.of(points, triangles, patch)


CAPS = [("BC0", "inlet"), *((f"BC{k}", "outlet") for k in range(1, 7))]


def test_real_left_coronary_with_its_caps(case, left_coronary):
    anatomy, lines = case.put(left_coronary, CAPS).run(min_diameter_stenosis=0.3)
    (lesion,) = anatomy.lesions
    assert set(lesion.outlets) == {"BC1", "BC2"}
    assert lesion.diameter_stenosis == pytest.approx(0.84, abs=0.02)
    assert lesion.minimum_lumen_area_mm2 == pytest.approx(0.30, abs=0.03)
    assert 23 < lesion.throat_mm < 28
    # the data set's own numbers: equivalent diameters of the outlets, lengths of its VMTK centrelines
    diameters = [end.diameter_mm for end in anatomy.ends]
    np.testing.assert_allclose(diameters, [4.56, 0.72, 1.14, 1.36, 1.21, 0.87, 1.14], atol=0.006)
    lengths = [line.abscissa_mm[~line.extension][-1] for line in lines]
    np.testing.assert_allclose(lengths, [51, 104, 93, 95, 72, 107], rtol=0.015)
    assert [end.name for end in anatomy.ends] == [f"BC{k}" for k in range(7)]
    assert anatomy.lumen_volume_mm3 == pytest.approx(1530.06, abs=0.1)


def test_real_left_coronary_without_its_caps(case, left_coronary):
    bare = Surface.of(left_coronary.points, left_coronary.triangles)
    anatomy, _ = case.put(bare).run(min_diameter_stenosis=0.3)
    (lesion,) = anatomy.lesions
    assert lesion.diameter_stenosis == pytest.approx(0.84, abs=0.02)
    assert len(anatomy.outlets) == 6
    assert np.linalg.norm(np.subtract(anatomy.inlet.centre_mm, (27.68, -40.42, 101.08))) < 2.5
    given = sorted([0.72, 1.14, 1.36, 1.21, 0.87, 1.14])
    np.testing.assert_allclose(sorted(e.diameter_mm for e in anatomy.outlets), given, rtol=0.05)
