r"""Developed flow that changes with time, on an inlet of any shape.

In an endless straight vessel with the inlet's section, driven by an even pressure gradient, each harmonic of the flow
has a profile of its own: $i \omega w - \nu \Delta_\Gamma w = 1$, $w = 0$ on the rim (on a circle Womersley's Bessel
functions; for $\omega = 0$ the parabola). Solved by finite elements on the inlet's own facets and scaled so that each
carries a unit flow through the mesh exactly, their sum follows any periodic flow.

Reference:
    Womersley (1955), J. Physiol. 127, 553-563, https://doi.org/10.1113/jphysiol.1955.sp005276.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import splu

from solver.inflow import InletSection
from solver.system import FlowSystem
from solver.waveform import Waveform

Array = npt.NDArray[np.float64]
SAMPLES = 512
KEPT = 1e-5
"""Harmonics weaker than this part of the waveform's largest value are left out."""


@dataclass(frozen=True, slots=True)
class Harmonics:
    r"""A waveform as $\mathrm{Re} \sum_k q_k e^{i \omega_k t}$.

    Attributes:
        q: Without the mean, ``(k,)``, complex.
        omega: ``(k,)`` [rad/s].
    """

    q: npt.NDArray[np.complex128]
    omega: Array

    @classmethod
    def of(cls, wave: Waveform) -> Harmonics:
        """Those that matter, the mean left out."""
        values = wave.at(np.arange(SAMPLES) / SAMPLES * wave.period)
        q = np.asarray(2.0 / SAMPLES * np.fft.rfft(values)[1 : SAMPLES // 2], np.complex128)
        kept = np.flatnonzero(np.abs(q) > KEPT * np.abs(values).max())
        return cls(q[kept], np.asarray(2 * np.pi / wave.period * (kept + 1.0)))


class Womersley:
    """What a flow that changes adds to the developed profile of its present value: it carries no net flow."""

    def __init__(self, system: FlowSystem, wave: Waveform) -> None:
        """Solve for the profiles of the harmonics (collective).

        Args:
            system: Whose inlet, unit profile of developed flow, and viscosity (at the reference shear rate).
            wave: Flow into the domain [m^3/s].
        """
        scales, space = system.scales, system.space
        section = InletSection.of(system.mesh, space)
        harmonics = Harmonics.of(wave)
        self._q, self._omega = harmonics.q / scales.flow, harmonics.omega
        self._unknowns, steady = space.velocity[section.nodes], system.profile
        flux = system.openings.flux[:, 0]
        self._extra = np.empty((len(self._q), *self._unknowns.shape), np.complex128)
        rates = self._omega * scales.length / scales.velocity
        for extra, rate in zip(self._extra, rates, strict=True):
            matrix = (1j * rate * section.mass + section.stiffness / scales.reynolds).tocsc()
            w = splu(matrix).solve(section.load.astype(np.complex128))
            profile = np.zeros(len(steady), np.complex128)
            profile[self._unknowns] = section.along(w)[section.nodes]
            inflow = -system.comm.allreduce(complex(flux @ profile[: space.owned]))
            extra[:] = profile[self._unknowns] / inflow - steady[self._unknowns]

    def put(self, t: float, values: Array) -> None:
        """Write the velocity at a time [s] into values of all local unknowns."""
        turned = self._q * np.exp(1j * self._omega * t)
        values[self._unknowns] = np.einsum("k,knc->nc", turned, self._extra).real
