"""What of the computed flow tells that it is sane: speeds, flow the wrong way, how far the residual fell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ffr.load import Solution
from pipeline.physiology.formulas import reynolds

_CENTROID = {3: (1 / 3,) * 3, 6: (-1 / 9,) * 3 + (4 / 9,) * 3}
"""Values of a facet's shape functions at its centroid."""


def sanity(solution: Solution) -> dict[str, float]:
    """Numbers of a solution for `pipeline.certificate.rows`.

    Returns:
        ``peak_m_per_s``: largest nodal speed; ``reversed_area``: largest part of an open end's area through which the
        flow goes the wrong way; ``reynolds``: of the inlet's mean flow; ``residual_decades``: by which the nonlinear
        residual fell from the largest one on the last mesh (infinite where there was nothing to fall from).
    """
    fluid, inlet = solution.problem, solution.anatomy.inlet
    Q = abs(solution.result.patches[inlet.name].Q) * 1e6
    return {
        "peak_m_per_s": float(np.linalg.norm(solution.velocity_m_per_s, axis=1).max()),
        "reversed_area": max(reversed_areas(solution).values()),
        "reynolds": reynolds(Q, inlet.diameter_mm, fluid.density, fluid.rheology.viscosity),
        "residual_decades": _decades([_residual(row) for row in solution.result.history]),
    }


def reversed_areas(solution: Solution) -> dict[str, float]:
    """By open end, the part of its area through which flow goes against that through the whole of it."""
    mesh, found = solution.mesh, {}
    for patch in solution.vessel.patches:
        if patch.role in ("inlet", "outlet"):
            facets = mesh.facets[mesh.facet_tags == patch.tag]
            found[patch.name] = reversed_share(mesh.points, facets, solution.velocity_m_per_s)
    return found


def reversed_share(
    points: npt.NDArray[np.float64], facets: npt.NDArray[np.int64], u: npt.NDArray[np.float64]
) -> float:
    """Part of a flat patch's area whose facets' flow is against the sum's.

    Args:
        points: Nodes, ``(n, 3)``.
        facets: ``(k, 3)`` or ``(k, 6)``; orientation is of no matter.
        u: Nodal velocity, ``(n, 3)``.
    """
    a, b, c = (points[facets[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    area *= np.sign(area @ area[int(np.argmax(np.linalg.norm(area, axis=1)))])[:, None]
    at = np.einsum("i,kid->kd", np.array(_CENTROID[facets.shape[1]]), u[facets])
    through = np.einsum("kd,kd->k", area, at)
    size = np.linalg.norm(area, axis=1)
    return float(size[through * through.sum() < 0].sum() / size.sum())


def _residual(row: Any) -> float:  # noqa: ANN401
    return float(row["residual"] if isinstance(row, dict) else row.residual)


def _decades(residuals: list[float]) -> float:
    good = [r for r in residuals if math.isfinite(r) and r > 0]
    return math.log10(max(good) / good[-1]) if len(good) > 1 else math.inf
