r"""A heart beat: pressures of the left ventricle and the aorta, from a ventricle with an elastance and a Windkessel.

::

    Pla --|>|-- ventricle, E(t) --|>|-- Zc --- pc --- Rp --- 0
           Rm                    Ra            |
                                               C
                                               |
                                              gnd

Equations: $P_{lv} = E(t)(V - V_d)$, $\dot V = Q_m - Q_a$, $C \dot p_c = Q_a - p_c/R_p$, flows through open valves only:
$Q_m = (P_{la} - P_{lv})^+/R_m$, $Q_a = (P_{lv} - p_c)^+/(R_a + Z_c)$; $P_{ao} = p_c + Z_c Q_a$. The elastance is a
product of two Hill functions of the time over that of its peak, $t_p = 0.2\,\mathrm{s} + 0.1555\,T$.

Only the shapes are used: the aortic pressure is moved and stretched to the systolic and diastolic pressures asked for,
the ventricle's with it, so that both are one above the valve.

Reference:
    Stergiopulos, Meister & Westerhof (1996), Am. J. Physiol. 270, H2050-H2059,
    https://doi.org/10.1152/ajpheart.1996.270.6.H2050 (elastance and its values, Windkessel);
    Ottesen & Danielsen (2003), J. Theor. Biol. 222, 447-457, https://doi.org/10.1016/S0022-5193(03)00059-7 (time of
    the peak).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

E_MAX, E_MIN = 2.31, 0.06  # mmHg/mL
V_DEAD = 20.0  # mL
P_ATRIUM = 7.5  # mmHg
R_MITRAL, R_AORTIC = 0.005, 0.005  # mmHg s/mL, open valves
Z_AORTA, R_BODY, C_BODY = 0.05, 1.05, 1.3  # mmHg s/mL, mmHg s/mL, mL/mmHg
_BEATS = 15  # from rest to periodic
SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Beat:
    """One period, from the beginning of contraction; arrays ``(n,)`` at even times, the first at zero.

    Attributes:
        period: [s].
        aorta: [mmHg].
        ventricle: [mmHg].
        closing: Time at which the aortic valve closes, over the period: diastole begins.
    """

    period: float
    aorta: Array
    ventricle: Array
    closing: float

    @property
    def mean(self) -> float:
        """Mean aortic pressure [mmHg]."""
        return float(self.aorta.mean())

    @property
    def wave_free(self) -> tuple[float, float]:
        """The wave-free part of diastole, as fractions of the period: from a quarter into it to 5 ms before its end.

        Reference:
            Sen et al. (2012), J. Am. Coll. Cardiol. 59, 1392-1402, https://doi.org/10.1016/j.jacc.2011.11.003.
        """
        start = self.closing + 0.25 * (1.0 - self.closing)
        return start, 1.0 - 0.005 / self.period


def beat(rate_per_min: float, systolic_mmHg: float, diastolic_mmHg: float) -> Beat:
    """A beat between two pressures.

    Args:
        rate_per_min: Heart rate.
        systolic_mmHg: Largest aortic pressure.
        diastolic_mmHg: Least aortic pressure.
    """
    told = _shape(60.0 / rate_per_min)
    low, high = float(told.aorta.min()), float(told.aorta.max())
    stretch = (systolic_mmHg - diastolic_mmHg) / (high - low)
    aorta = diastolic_mmHg + stretch * (told.aorta - low)
    ventricle = told.ventricle * systolic_mmHg / high
    return Beat(told.period, aorta, ventricle, told.closing)


def beat_of_mean(rate_per_min: float, mean_mmHg: float, pulse_mmHg: float) -> Beat:
    """A beat of a mean aortic pressure and a pulse pressure."""
    flat = beat(rate_per_min, 1.0, 0.0)  # of pulse pressure one
    diastolic = mean_mmHg - pulse_mmHg * flat.mean
    return beat(rate_per_min, diastolic + pulse_mmHg, diastolic)


def elastance(t: Array | float, period: float) -> Array:
    """Elastance of the left ventricle [mmHg/mL] at times from the beginning of contraction [s]."""
    x = np.asarray(t) / (0.2 + 0.1555 * period)
    rise, fall = (x / 0.7) ** 1.9, (x / 1.17) ** 21.9
    shape = 1.55 * rise / (1.0 + rise) / (1.0 + fall)
    return np.asarray(E_MIN + (E_MAX - E_MIN) * shape)


@lru_cache(maxsize=16)
def _shape(period: float) -> Beat:
    """The model's own periodic beat."""
    from scipy.integrate import solve_ivp

    def flows(t: float, V: float, pc: float) -> tuple[float, float, float]:
        P = float(elastance(t % period, period)) * (V - V_DEAD)
        into = max(P_ATRIUM - P, 0.0) / R_MITRAL
        out = max(P - pc, 0.0) / (R_AORTIC + Z_AORTA)
        return P, into, out

    def rate(t: float, x: Array) -> list[float]:
        _, into, out = flows(t, x[0], x[1])
        return [into - out, (out - x[1] / R_BODY) / C_BODY]

    times = period * np.arange(SAMPLES) / SAMPLES
    run = solve_ivp(
        rate,
        (0.0, _BEATS * period),
        [120.0, 80.0],
        t_eval=(_BEATS - 1) * period + times,
        rtol=1e-7,
        atol=1e-7,
        max_step=period / 100,
    )
    told = [flows(t, V, pc) for t, (V, pc) in zip(times, run.y.T, strict=True)]
    ventricle, out = np.array([row[0] for row in told]), np.array([row[2] for row in told])
    closing = float(times[int(np.flatnonzero(out > 0)[-1])] / period)
    return Beat(period, run.y[1] + Z_AORTA * out, ventricle, closing)
