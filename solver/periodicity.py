r"""When a flow is periodic.

Periods that follow one another differ by $\delta_n$, the largest relative root mean square difference of any open
patch's flow or mean pressure. Two alike need not be the last: where differences shrink by a factor $\rho$ a period,
$\delta_n\,\rho/(1-\rho)$ is still missing after the $n$-th. Until two differences tell the flow's own factor, a half is
taken for it.

Reference:
    Pfaller, Pham, Wilson, Pegolotti & Marsden (2021), Ann. Biomed. Eng. 49, 3574-3592,
    https://doi.org/10.1007/s10439-021-02796-x (asymptotic error of lumped boundary conditions).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
SLOWEST = 0.98
UNKNOWN = 0.5
"""What the flow itself may keep of a disturbance after a period, as long as no two differences tell."""


def difference(now: tuple[Array, Array], before: tuple[Array, Array]) -> float:
    r"""$\delta$ of two periods, each flows and mean pressures ``(steps, patches)``.

    Flows are taken relative to the largest patch's root mean square flow, pressures to their own.
    """
    flow = np.sqrt(((now[0] - before[0]) ** 2).mean(axis=0)).max() / _size(now[0]).max()
    pressure = np.sqrt(((now[1] - before[1]) ** 2).mean(axis=0)) / np.maximum(_size(now[1]), 1e-300)
    return float(max(flow, pressure.max()))


def missing(differences: list[float], decay: float) -> float:
    r"""What the last period still lacks, relative.

    Args:
        differences: $\delta$ of all pairs of periods that follow one another, at least one.
        decay: Least factor by which the beds' slowest disturbance shrinks in a period.
    """
    seen = UNKNOWN
    if len(differences) > 1:
        seen = differences[-1] / max(differences[-2], 1e-300)
    rho = min(max(decay, seen), SLOWEST)
    return differences[-1] * rho / (1.0 - rho)


def _size(waves: Array) -> Array:
    return np.asarray(np.sqrt((waves**2).mean(axis=0)))
