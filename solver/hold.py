r"""A force that keeps readings of the flow where they are: $F(x) + \Psi\, s = 0$, $s = g\,(L^T x - a) + b$.

With a large gain $g$ the readings $L^T x$ stay at $a$, and the force $s$ is what that takes; with none, the force is
the constant $b$. Terms of rank one, like those of a resistance outlet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solver.coupling import LowRank

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hold:
    r"""Forces and readings as columns over the owned unknowns, zero at fixed ones.

    Attributes:
        comm: Communicator.
        forces: $\Psi$, ``(n, k)``.
        readings: $L$, ``(n, k)``.
        values: $a$, ``(k,)``.
        gain: $g$.
        push: $b$, ``(k,)``.
    """

    comm: Any
    forces: Array
    readings: Array
    values: Array
    gain: float
    push: Array

    def strength(self, x: Array) -> Array:
        """The force $s$ at a state (owned unknowns), ``(k,)``."""
        if self.gain == 0.0:
            return self.push
        reading = np.asarray(self.comm.allreduce(self.readings.T @ x))
        return self.gain * (reading - self.values) + self.push

    def load(self, x: Array) -> Array:
        """What the force adds to the residual at a state (owned unknowns)."""
        return self.forces @ self.strength(x)

    def join(self, low: LowRank) -> LowRank:
        """The low-rank terms of the Jacobian with those of the force."""
        if self.gain == 0.0:
            return low
        U = np.concatenate([low.U, self.gain * self.forces], axis=1)
        return LowRank(self.comm, U, np.concatenate([low.V, self.readings], axis=1))
