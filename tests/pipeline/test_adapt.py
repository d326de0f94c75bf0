"""Sizes from a solution: the indicator's order, equal shares, the flows of branches."""

import dataclasses
from typing import Any

import h5py
import numpy as np
import pytest

from meshing.background import Background
from meshing.vessel import MeshArrays
from pipeline.adapt import branch_flows, indicator, next_sizes, vertex_gradients, volumes
from pipeline.anatomy.types import Centerline
from pipeline.carry import carry, keep
from solver.io.guess import Guess
from solver.problem import BranchEnd

EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))
KUHN = ((0, 1, 3, 7), (0, 1, 5, 7), (0, 2, 3, 7), (0, 2, 6, 7), (0, 4, 5, 7), (0, 4, 6, 7))


def cube(n, order, bend=0.0):
    """The unit cube in 6 n^3 tetrahedra; ``bend`` moves its inner nodes by a smooth map."""
    axis = np.arange(n + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    number = {tuple(p): k for k, p in enumerate(grid.tolist())}
    tetrahedra: list[list[int]] = []
    for corner in grid[np.all(grid < n, axis=1)]:
        eight = [number[tuple(corner + np.array([k & 1, k >> 1 & 1, k >> 2]))] for k in range(8)]
        tetrahedra += [[eight[i] for i in tetra] for tetra in KUHN]
    points, cells = grid / n, np.array(tetrahedra)
    if order == 2:
        ends = np.sort(cells[:, np.array(EDGES)].reshape(-1, 2), axis=1)
        edges, which = np.unique(ends, axis=0, return_inverse=True)
        cells = np.concatenate([cells, len(points) + which.reshape(-1, 6)], axis=1)
        points = np.concatenate([points, points[edges].mean(axis=1)])
    points = points + bend * np.sin(np.pi * points[:, [1, 2, 0]])
    return MeshArrays(points, cells, np.zeros((0, 3), int), np.zeros(0, np.int32))


def test_gradients_are_those_of_the_element():
    mesh = cube(2, 2)
    x, y, z = mesh.points.T
    u = np.stack([x**2 + y * z, z**2 - x, x * y], axis=1)
    at = mesh.points[mesh.cells[:, :4]]
    a, b, c, zero = at[..., 0], at[..., 1], at[..., 2], np.zeros(at.shape[:2])
    rows = [[2 * a, c, b], [zero - 1, zero, 2 * c], [b, a, zero]]
    expected = np.moveaxis(np.array(rows), (0, 1), (2, 3))
    assert vertex_gradients(mesh.points, mesh.cells, u) == pytest.approx(expected, abs=1e-12)


def test_gradients_on_curved_cells_are_those_of_a_linear_field():
    mesh = cube(2, 2, bend=0.05)
    A = np.array([[1.0, 2, 3], [0, -1, 4], [5, 0, 1]])
    found = vertex_gradients(mesh.points, mesh.cells, mesh.points @ A.T)
    assert found == pytest.approx(np.broadcast_to(A, found.shape), abs=1e-11)


@pytest.mark.parametrize(("order", "power"), [(1, 2), (2, 4)])
def test_the_indicator_falls_with_twice_the_degree(order, power):
    total = []
    for n in (6, 12):
        mesh = cube(n, order)
        wave = np.sin(3 * mesh.points @ np.array([1.0, 0.7, 0.4]))[:, None]
        error = indicator(mesh, wave * [[1.0, -0.5, 0.2]], np.ones(len(mesh.cells)))
        assert error.shape == (len(mesh.cells),)
        total.append(error.sum())
    assert np.log2(total[0] / total[1]) == pytest.approx(power, abs=0.6)


def test_the_indicator_of_a_field_in_the_space_vanishes():
    mesh = cube(3, 2)
    error = indicator(mesh, mesh.points**2, np.ones(len(mesh.cells)))
    assert error == pytest.approx(0.0, abs=1e-20)


def test_sizes_ask_for_the_cells_wanted_where_the_error_is():
    mesh = cube(6, 2)
    middle = mesh.points[mesh.cells[:, :4]].mean(axis=1)[:, 0]
    error = volumes(mesh) * np.where(middle < 0.5, 1e3, 1.0)
    sizes = next_sizes(mesh, error, 4000)
    assert sizes.predicted_cells() == pytest.approx(4000, rel=0.1)
    left, right = (
        sizes.size[s].mean() for s in (sizes.points[:, 0] < 400, sizes.points[:, 0] > 600)
    )
    assert right / left == pytest.approx(1e3 ** (1 / 7), rel=0.02)


def test_equal_errors_keep_the_sizes_in_proportion():
    mesh = cube(4, 2)
    sizes = next_sizes(mesh, np.ones(len(mesh.cells)), 8 * len(mesh.cells))
    again = next_sizes(mesh, np.ones(len(mesh.cells)), len(mesh.cells))
    assert again.size / sizes.size == pytest.approx(2.0, rel=1e-6)


def test_sizes_survive_their_file(tmp_path):
    sizes = next_sizes(cube(2, 1), np.ones(48), 100, degree=1)
    sizes.save(tmp_path / "sizes.npz")
    first = (tmp_path / "sizes.npz").read_bytes()
    read = Background.load(tmp_path / "sizes.npz")
    assert np.array_equal(read.size, sizes.size)
    read.save(tmp_path / "sizes.npz")
    assert (tmp_path / "sizes.npz").read_bytes() == first


def test_a_branch_carries_the_flow_of_the_outlets_behind_it():
    def line(outlet, end, branch):
        points: Any = np.concatenate(
            [np.linspace([0, 0, 0], [10, 0, 0], 11), np.linspace([10, 0, 0], end, 11)[1:]]
        )
        n = len(points)
        numbers = np.where(np.arange(n) < 11, 0, branch).astype(np.int32)
        return Centerline(
            outlet,
            points,
            np.arange(n, dtype=np.float64),
            np.ones(n),
            np.ones(n),
            points,
            numbers,
            numbers < 0,
        )

    lines = (line("a", [20, 10, 0], 1), line("b", [20, -10, 0], 2))
    at = np.array([[5.0, 0.3, 0], [18, 8, 0], [18, -8, 0.5]])
    assert branch_flows(at, lines, {"a": 2.0, "b": 1.0}) == pytest.approx([3.0, 2.0, 1.0])


@pytest.mark.parametrize("order", [1, 2])
def test_fields_go_to_another_mesh_with_the_shape_functions_of_the_first(tmp_path, order):
    def field(points):
        x, y, z = points.T
        bend = x * y - z**2 if order == 2 else x
        return np.stack([bend + y, z - x, 2 * bend], axis=1), 9000 + 5 * bend

    old, new = cube(3, order), cube(4, 2)
    velocity, pressure = field(old.points)
    with h5py.File(tmp_path / "fields.h5", "w") as f:
        f["velocity"], f["pressure"] = velocity, pressure
    end = BranchEnd(
        factor=1.3,
        outflow={"a": 1e-6, "b": 2e-6},
        cells=162,
        steps=9,
        seconds=1.0,
        peak_memory_GiB=0.5,
    )
    keep(old, tmp_path, end, tmp_path / "state.h5")
    guess = carry(tmp_path / "state.h5", new)
    velocity, pressure = field(new.points)
    assert guess.velocity == pytest.approx(velocity, abs=1e-4)
    assert guess.pressure == pytest.approx(pressure, abs=1e-3)
    assert guess.thickening == 1.3
    assert pytest.approx(3e-6) == guess.Q_in
    beyond = np.array([[1.02, 1.02, 1.02], [-0.01, 0.0, 0.0]])
    outside = carry(tmp_path / "state.h5", dataclasses.replace(new, points=beyond))
    assert outside.pressure == pytest.approx(field(np.array([[1.0, 1, 1], [0, 0, 0]]))[1])
    Guess(2 * field(old.points)[0], field(old.points)[1], 4e-6, 2.5).save(tmp_path / "earlier.h5")
    keep(old, tmp_path, end, tmp_path / "state.h5")
    earlier = carry(tmp_path / "state.h5", new)
    assert earlier.velocity == pytest.approx(2 * velocity, abs=1e-4)
    assert (earlier.thickening, earlier.Q_in) == (2.5, 4e-6)
    keep(old, tmp_path, end.model_copy(update={"factor": 1.0}), tmp_path / "state.h5")
    assert carry(tmp_path / "state.h5", new).thickening == 1.0  # a steady state was found
