"""Vessels named by where they lie, against the phantoms' own names, and on trees drawn by hand."""

import numpy as np
import pytest

from pipeline.anatomy.coronary import coronary_names
from pipeline.anatomy.lines import Line
from pipeline.anatomy.surface import Surface
from pipeline.anatomy.tree import Branch
from pipeline.case import PhantomInput
from pipeline.phantom import build, exact_surface


def tree(*pieces):
    """Branches from (parent, lines, where it ends [mm]); they begin where the parent ends, the first at 0."""
    ends, branches = {-1: np.zeros(3)}, []
    for number, (parent, lines, end) in enumerate(pieces):
        ends[number] = np.asarray(end, float)
        points = np.linspace(ends[parent], ends[number], 50)
        branches.append(Branch(number, parent, lines, Line(points, np.ones(50))))
    return branches


LAD, LCX, RAMUS = (30, -40, -50), (20, 40, -20), (30, 0, -40)


def test_left_main_divides():
    branches = tree(
        (-1, (0, 1, 2, 3), (10, -2, 0)),
        (0, (0,), LCX),
        (0, (1, 2, 3), (20, -20, -20)),
        (2, (1, 3), (35, -15, -25)),
        (2, (2,), LAD),
        (3, (1,), (37, -13, -27)),
        (3, (3,), (45, -10, -35)),
    )
    assert coronary_names(branches, "left") == ["LCx", "D1b", "LAD", "D1"]


def test_a_ramus_lies_between():
    branches = tree((-1, (0, 1, 2), (10, -2, 0)), (0, (0,), RAMUS), (0, (1,), LCX), (0, (2,), LAD))
    assert coronary_names(branches, "left") == ["RI", "LCx", "LAD"]


def test_a_twig_of_the_left_main_is_no_fork():
    branches = tree(
        (-1, (0, 1, 2), (5, 0, 0)),
        (0, (0,), (6, 3, 8)),
        (0, (1, 2), (10, -2, 0)),
        (2, (1,), LAD),
        (2, (2,), LCX),
    )
    assert coronary_names(branches, "left") == ["RI", "LAD", "LCx"]


@pytest.mark.parametrize(("end", "name"), [(LAD, "LAD"), (LCX, "LCx")])
def test_one_vessel(end, name):
    assert coronary_names(tree((-1, (0,), end)), "left") == [name]


def test_right():
    branches = tree(
        (-1, (0, 1, 2, 3), (-20, -20, -10)),
        (0, (0,), (-30, -40, -20)),
        (0, (1, 2, 3), (-30, 0, -60)),
        (2, (1,), (0, -20, -65)),
        (2, (2, 3), (-10, 30, -55)),
        (4, (2,), (20, 40, -50)),
        (4, (3,), (0, 40, -60)),
    )
    assert coronary_names(branches, "right") == ["AM1", "AM2", "PLV", "PDA"]


@pytest.mark.slow
@pytest.mark.parametrize(("side", "seed"), [("left", 1), ("left", 4), ("left", 9), ("right", 2)])
def test_phantoms(case, side, seed):
    built = build(PhantomInput(tree=side, seed=seed, side_branches=3, min_diameter_mm=1.4))
    mesh = exact_surface(built)
    surface = Surface.of(mesh.points, mesh.triangles, mesh.cap)
    roles = [(None, "inlet" if end.role == "inlet" else None) for end in built.ends]
    anatomy, _ = case.put(surface, roles).run(coronary_tree=side)
    found = {end.name: np.asarray(end.centre_mm) for end in anatomy.outlets}
    exact = {end.name: np.asarray(end.centre_mm) for end in built.ends if end.role == "outlet"}
    assert found.keys() == exact.keys()
    for name, centre in found.items():
        assert np.linalg.norm(centre - exact[name]) < 1.0, name


def test_right_that_ends_before_the_crux():
    branches = tree(
        (-1, (0, 1), (-20, -20, -10)), (0, (0,), (-30, -40, -20)), (0, (1,), (-30, 0, -60))
    )
    assert coronary_names(branches, "right") == ["AM1", "RCA"]


def test_given_names_stay(case):
    built = build(PhantomInput(seed=1, side_branches=1))
    mesh = exact_surface(built)
    surface = Surface.of(mesh.points, mesh.triangles, mesh.cap)
    lcx = next(end for end in built.ends if end.name == "LCx")
    case.put(surface, [(None, "inlet" if end.role == "inlet" else None) for end in built.ends])
    names = {"LAD": lcx.centre_mm}
    anatomy, lines = case.run(coronary_tree="left", names=names)
    called = {end.name for end in anatomy.outlets}
    assert called == {"LAD", "D1", "outlet_1"}
    assert {line.outlet for line in lines} == called
