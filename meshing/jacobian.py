"""Bounds of the Jacobian determinant of quadratic tetrahedra by Bernstein-Bezier coefficients.

The determinant of a ten-node tetrahedron is a cubic polynomial; its smallest and largest of 20
Bernstein coefficients bound it over the whole cell (Johnen, Remacle, Geuzaine 2013,
doi:10.1016/j.jcp.2012.08.051, sec. 3), so a positive coefficient set proves the cell valid.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from meshing.topology import Floats, Ints

# control point (i, j) of the quadratic map: corner i on the diagonal, else the node of edge ij
_NODE = np.array([[0, 4, 6, 7], [4, 1, 5, 8], [6, 5, 2, 9], [7, 8, 9, 3]])
_TRIPLES = np.array(list(product(range(4), repeat=3)))
_GROUPS = sorted({tuple(sorted(t)) for t in _TRIPLES.tolist()})
_GROUP = np.array([_GROUPS.index(tuple(sorted(t))) for t in _TRIPLES.tolist()])
_COUNT = np.bincount(_GROUP, minlength=20)
_CHUNK = 4_000  # cells whose numbers stay in the cache


def bernstein_coefficients(nodes: Floats) -> Floats:
    """Coefficients of det J over the unit simplex of ten-node tetrahedra.

    Args:
        nodes: Node coordinates in VTK order, ``(m, 10, 3)``.

    Returns:
        ``(m, 20)``; their mean over six is the volume of the curved cell.
    """
    parts = [_coefficients(nodes[k : k + _CHUNK]) for k in range(0, len(nodes), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, 20))


def _coefficients(nodes: Floats) -> Floats:
    control = nodes.copy()
    for i in range(4):
        for j in range(i):
            control[:, _NODE[i, j]] = 2 * nodes[:, _NODE[i, j]] - (nodes[:, i] + nodes[:, j]) / 2
    # column k of J is linear: 2 sum_i lambda_i (C_ik - C_i0); coordinates first, cells last: contiguous
    inner = np.ascontiguousarray(control.transpose(1, 2, 0))
    x, y, z = (2 * (inner[_NODE[:, k]] - inner[_NODE[:, 0]]) for k in (1, 2, 3))
    summed = np.zeros((20, len(nodes)))
    for i, j in product(range(4), repeat=2):
        a, b = x[i], y[j]
        cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
        for k in range(4):
            determinant = cross[0] * z[k, 0] + cross[1] * z[k, 1] + cross[2] * z[k, 2]
            summed[_GROUP[16 * i + 4 * j + k]] += determinant
    return np.asarray((summed / _COUNT[:, None]).T)


def jacobian_bounds(points: Floats, cells: Ints) -> tuple[Floats, Floats]:
    """Lower bound of det J and its mean, a cell: ``(m,)`` and ``(m,)`` (mean / 6 is the volume).

    Args:
        points: Nodes, ``(n, 3)``.
        cells: Four- or ten-node tetrahedra, ``(m, 4)`` or ``(m, 10)``.
    """
    if cells.shape[1] == 4:
        a, b, c, d = (points[cells[:, k]] for k in range(4))
        value = np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a)
        return value, value
    coefficients = bernstein_coefficients(points[cells])
    return coefficients.min(axis=1), coefficients.mean(axis=1)
