r"""Sizes for the next mesh from a solution: where the gradient of the velocity is least resolved.

The indicator of a cell is the power that its gradient's error dissipates, over the flow of its branch,

$$ e_K = \frac{\mu}{Q} \int_K |\nabla u_h - G \nabla u_h|^2 \, dV \quad [\mathrm{Pa}], $$

with $G$ the average over the cells around each vertex. Dissipated power over flow is pressure lost, so that the $e_K$
along a vessel add up to (a bound of) the error of its pressure drop, and small branches count as much as large ones.
For quadratic velocity $e_K \sim h^{4+3}$ on a cell of size $h$; the least number of cells for a given sum has equal
$e_K$, so that sizes change by $(\lambda / e_K)^{1/7}$.

References:
    Zienkiewicz & Zhu (1992), Int. J. Numer. Meth. Eng. 33, 1331-1364, https://doi.org/10.1002/nme.1620330702
    (recovered gradients); Johnson & Hansbo (1992), Comput. Methods Appl. Mech. Eng. 101, 143-181 (equal distribution).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from meshing.background import CELLS_PER_VOLUME, Background
from meshing.vessel import MeshArrays
from pipeline.anatomy.types import Centerline

Floats = npt.NDArray[np.float64]
EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))
POWER = {1: 5, 2: 7}
"""Of the size in the indicator of a cell, by the degree of the velocity: twice the degree, and three."""
CHANGE = (0.25, 1.5)
"""Least and largest ratio of a size to that of the mesh before."""


def vertex_gradients(points: Floats, cells: npt.NDArray[np.int64], u: Floats) -> Floats:
    """Gradient of a nodal field at the vertices of each cell.

    Args:
        points: Nodes, ``(n, 3)``.
        cells: Straight ``(m, 4)`` or curved ``(m, 10)``, VTK order.
        u: Nodal values, ``(n, c)``.

    Returns:
        du_c/dx_d, ``(m, 4, c, 3)``.
    """
    slopes = _slopes(cells.shape[1])
    J = np.einsum("qnd,kne->kqed", slopes, points[cells])
    reference = np.einsum("qnd,knc->kqcd", slopes, u[cells])
    return np.asarray(np.einsum("kqcd,kqde->kqce", reference, np.linalg.inv(J)))


def _slopes(nodes: int) -> Floats:
    """Gradients of the shape functions at the four vertices, ``(4, nodes, 3)``."""
    corner = np.array([[-1.0, -1, -1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    if nodes == 4:
        return np.broadcast_to(corner, (4, 4, 3))
    bary = np.eye(4)
    corners = (4 * bary[:, :, None] - 1) * corner
    middles = [4 * (bary[:, a, None] * corner[b] + bary[:, b, None] * corner[a]) for a, b in EDGES]
    return np.concatenate([corners, np.stack(middles, axis=1)], axis=1)


def volumes(mesh: MeshArrays) -> Floats:
    """Volume of the straight cells [m^3], ``(m,)``."""
    a, b, c, d = (mesh.points[mesh.cells[:, k]] for k in range(4))
    return np.asarray(np.abs(np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a)) / 6)


def indicator(mesh: MeshArrays, velocity: Floats, weight: Floats) -> Floats:
    """The indicator of every cell [Pa], ``(m,)``.

    Args:
        mesh: The mesh [m].
        velocity: Nodal [m/s], ``(n, 3)``.
        weight: Viscosity over the flow of its branch, of each cell [Pa s^2 m^-3], ``(m,)``.
    """
    gradient = vertex_gradients(mesh.points, mesh.cells, velocity).reshape(-1, 4, 9)
    vertices, volume = mesh.cells[:, :4], volumes(mesh)
    share = np.repeat(volume, 4)
    total = np.bincount(vertices.ravel(), share, minlength=len(mesh.points))
    recovered = np.stack(
        [
            np.bincount(
                vertices.ravel(), share * gradient[:, :, k].ravel(), minlength=len(mesh.points)
            )
            for k in range(9)
        ],
        axis=1,
    ) / np.maximum(total, 1e-300)[:, None]  # fmt: skip
    error = ((gradient - recovered[vertices]) ** 2).sum(axis=2).mean(axis=1)
    return np.asarray(weight * volume * error)


def branch_flows(
    points_mm: Floats, lines: Sequence[Centerline], outflow: Mapping[str, float]
) -> Floats:
    """Flow of the branch that each point lies in, ``(k,)``: the sum of the outflows behind it.

    Args:
        points_mm: ``(k, 3)``.
        lines: Centrelines; a point belongs to that of the nearest inscribed ball.
        outflow: By outlet, any unit.
    """
    from meshing.sizing import nearest_ball

    branches = np.concatenate([line.branch for line in lines])
    flow = np.zeros(int(branches.max()) + 1)
    for line in lines:
        flow[np.unique(line.branch)] += abs(outflow[line.outlet])
    centres = np.vstack([line.points_mm for line in lines])
    radius = np.concatenate([line.radius_mm for line in lines])
    return np.asarray(flow[branches[nearest_ball(centres, radius, points_mm)]])


def next_sizes(mesh: MeshArrays, errors: Floats, cells: float, degree: int = 2) -> Background:
    """Sizes with equal indicators in about so many cells.

    Args:
        mesh: The mesh [m] of the solution.
        errors: The indicator of each of its cells, ``(m,)``.
        cells: Wanted.
        degree: Of the velocity.
    """
    volume = volumes(mesh) * 1e9
    size = np.cbrt(CELLS_PER_VOLUME * volume)
    ratio = _ratios(errors, cells, POWER[degree])
    vertices = mesh.cells[:, :4]
    used, number = np.unique(vertices, return_inverse=True)
    number = number.reshape(vertices.shape)
    logarithm = np.repeat(np.log(size * ratio), 4)
    mean = np.bincount(number.ravel(), logarithm) / np.bincount(number.ravel())
    return Background(mesh.points[used] * 1e3, number.astype(np.int64), np.exp(mean))


def _ratios(errors: Floats, cells: float, power: int) -> Floats:
    """Changes of size, ``(m,)``: equal indicators within `CHANGE`, and the number of cells."""
    low, high = np.log(errors.max() * 1e-30 + 1e-300), np.log(errors.max() * 1e30)
    for _ in range(200):
        middle = 0.5 * (low + high)
        ratio = np.clip(np.exp((middle - np.log(errors + 1e-300)) / power), *CHANGE)
        low, high = (middle, high) if np.sum(ratio**-3.0) > cells else (low, middle)
    return np.asarray(ratio)
