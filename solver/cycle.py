r"""What is kept of a period: flows and pressures of the open patches, means of the fields, the wall's shear.

Of the wall shear stress $\tau(t)$: its mean, $TAWSS = \overline{|\tau|}$,
$OSI = \tfrac12(1 - |\overline{\tau}|/\overline{|\tau|})$ and $RRT = 1/((1 - 2\,OSI)\,TAWSS)$.

Reference:
    He & Ku (1996), J. Biomech. Eng. 118, 74-82, https://doi.org/10.1115/1.2795948 (OSI); Himburg et al. (2004), Ann.
    Biomed. Eng. 32, 606-617, https://doi.org/10.1023/B:ABME.0000019182.79044.b9 (RRT).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.io import nodal
from solver.problem import Pulse
from solver.system import FlowSystem
from solver.wall_shear import WallShear

Array = npt.NDArray[np.float64]
SHEAR_SAMPLES = 80
"""Instants of a period at which the wall's shear is taken, at least."""


class Cycle:
    """Sums over the present period.

    Attributes:
        flow: Flow out of each open patch, a row a step, dimensionless.
        pressure: Mean pressure over each.
        sums: ``state``: of all local unknowns; ``shear (n, 3)``, ``shear_size (n,)``: of the wall shear stress [Pa];
            ``window NAME (m,)``: of the pressure at P's nodes [Pa].
        counts: What each sum has to be divided by.
    """

    def __init__(self, system: FlowSystem, pulse: Pulse, steps: int) -> None:
        self.system, self.pulse, self.steps = system, pulse, steps
        self.every = max(steps // SHEAR_SAMPLES, 1)
        self.shear = WallShear(system)
        self.flow: list[Array] = []
        self.pressure: list[Array] = []
        self.sums: dict[str, Array] = {}
        self.counts: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """Forget the period before."""
        self.flow, self.pressure, self.counts = [], [], {}
        self.sums = {}

    def add(self, Q: Array, p: Array) -> None:
        """Take the state at the end of a step, with its flows and mean pressures."""
        self.flow.append(Q)
        self.pressure.append(p)
        step = len(self.flow)
        self._sum("state", self.system.x.x.array)
        if step % self.every == 0:
            shear = self.shear.values()
            self._sum("shear", shear)
            self._sum("shear_size", np.linalg.norm(shear, axis=1))
        for name, (start, end) in self.pulse.windows.items():
            if start < step / self.steps <= end:
                scales, space = self.system.scales, self.system.space
                pressure = self.system.x.x.array[space.pressure]
                self._sum(f"window {name}", pressure * scales.pressure + scales.datum)

    def _sum(self, name: str, values: Array) -> None:
        if name in self.sums:
            self.sums[name] += values
        else:
            self.sums[name] = np.array(values)
        self.counts[name] = self.counts.get(name, 0) + 1

    def waves(self) -> tuple[Array, Array]:
        """Flows and mean pressures so far, ``(steps, patches)``, dimensionless."""
        return np.array(self.flow), np.array(self.pressure)

    def mean(self, name: str) -> Array:
        """The mean over the period of one of the sums."""
        return np.asarray(self.sums[name] / self.counts[name])

    def fields(self) -> dict[str, Array]:
        """This rank's slabs of nodal fields in the numbering of ``mesh.h5`` (`solver.io.nodal.gather`; collective).

        ``wall_shear_stress`` (mean), ``tawss``, ``osi``, ``rrt`` and ``pressure_NAME`` of each window.
        """
        system = self.system
        wall = np.column_stack([self.mean("shear"), self.mean("shear_size")])
        held = nodal.gather(system.mesh, system.space.V, wall)
        told: dict[str, Array] = {}
        for name in self.pulse.windows:
            column = self.mean(f"window {name}")[:, None]
            told[f"pressure_{name}"] = nodal.gather(system.mesh, system.space.P, column)
        mean, size = held[:, :3], held[:, 3]
        steady, wet = np.minimum(np.linalg.norm(mean, axis=1), size), size > 0
        return {
            "wall_shear_stress": mean,
            "tawss": size,
            "osi": np.where(wet, 0.5 * (1.0 - steady / np.where(wet, size, 1.0)), 0.0),
            "rrt": np.where(steady > 0, 1.0 / np.where(steady > 0, steady, 1.0), 0.0),
            **{name: values[:, 0] for name, values in told.items()},
        }

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        self.shear.destroy()
