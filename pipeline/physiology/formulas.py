"""The formulas and constants, each once, each with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

MMHG = 133.322387415  # Pa, conventional millimetre of mercury
ML_PER_MIN = 1e-6 / 60.0  # m^3 s^-1
MMHG_S_PER_ML = MMHG * 1e6  # Pa s m^-3

DEFAULT_MEAN_AORTIC_PRESSURE_MMHG = 93.0  # 120/80 mmHg by the one-third rule
PULSE_PRESSURE_FRACTION = 0.40  # Grillo et al. 2020
VOLUME_TO_MASS_MM3_PER_G = 18.57  # Taylor et al. 2017, median of 238 patients
REFERENCE_MASS_G = 135.0  # Fournier et al. 2021: CT territories 50 + 36 + 49 g
REFERENCE_RESTING_FLOW_ML_PER_MIN = 160.0  # 0.24 * 668 mL/min, the same study
PLAUSIBLE_RESTING_FLOW_ML_PER_MIN = (15.0, 300.0)
TURBULENT_INLET_REYNOLDS = 2000.0
PLASMA_VISCOSITY_MPA_S = 1.2
SPARSE_TREE = 0.5  # of the inlet's calibre


def viscosity_of(haematocrit: float) -> float:
    r"""Viscosity of blood in vessels of millimetres [mPa s], from the part of it that is cells.

    The wide-tube limit of a fit to many studies, $\mu = \mu_p (1 + 2.2\,((1-H)^{-0.8} - 1)/(0.55^{-0.8} - 1))$ with
    plasma of $\mu_p = 1.2$ mPa s: 3.8 mPa s at 0.45.

    Reference:
        Pries, Neuhaus & Gaehtgens (1992), Am. J. Physiol. 263, H1770-H1778,
        https://doi.org/10.1152/ajpheart.1992.263.6.H1770 (read at second hand).
    """
    rise = (math.pow(1.0 - haematocrit, -0.8) - 1.0) / (math.pow(0.55, -0.8) - 1.0)
    return PLASMA_VISCOSITY_MPA_S * (1.0 + 2.2 * rise)


def mean_aortic_pressure(systolic_mmHg: float, diastolic_mmHg: float) -> float:
    r"""Mean arterial pressure from a cuff reading, $MAP = P_d + 0.40 (P_s - P_d)$ [mmHg].

    The one-third rule underestimates the mean of the recorded waveform by 5.0 +- 6.7 mmHg in 1526 people, the factor
    0.40 by 1.2 +- 6.1 mmHg.

    Reference:
        Grillo et al. (2020), J. Hypertens. 38, 2161, https://doi.org/10.1097/HJH.0000000000002564 (abstract read).
    """
    return diastolic_mmHg + PULSE_PRESSURE_FRACTION * (systolic_mmHg - diastolic_mmHg)


def myocardial_mass_from_volume(lumen_volume_mm3: float) -> float:
    """Myocardial mass supplied by a tree of this lumen volume [g], with the median volume-to-mass ratio of patients.

    Limits: the ratio holds for CT lumens of whole epicardial trees; the spread between patients is large (medians of
    18.6 to 20.7 mm3/g in two studies, 30 in another method), a diseased or truncated tree gives too small a mass.

    Reference:
        Taylor et al. (2017), J. Cardiovasc. Comput. Tomogr. 11, 429-436,
        https://doi.org/10.1016/j.jcct.2017.08.001 (abstract read: median 18.57 mm3/g of 238 patients).
    """
    return lumen_volume_mm3 / VOLUME_TO_MASS_MM3_PER_G


def resting_flow_from_mass(mass_g: float) -> float:
    r"""Resting flow of the myocardium supplied, $Q = 160 (M / 135\,g)^{3/4}$ [mL/min].

    The exponent is the allometric one. The coefficient is ours, from one study with both numbers: hyperaemic flow of
    the whole heart 668 mL/min in people without atherosclerosis, CT mass of the three territories 135 g, times the
    resistance factor 0.24. It gives 477 mL/min of hyperaemic flow for the 86 g of the two left territories, measured
    497 mL/min. A coefficient of 5.09 mL/min/g^0.75 (here: 4.04) goes round without a source that could be found.

    Reference:
        Choy and Kassab (2008), J. Appl. Physiol. 104, 1281-1286, https://doi.org/10.1152/japplphysiol.01261.2007
        (exponent; read at second hand); Fournier et al. (2021), EuroIntervention 17, e309-e316,
        https://doi.org/10.4244/EIJ-D-20-00684 (flow: abstract read; masses: read at second hand).
    """
    return REFERENCE_RESTING_FLOW_ML_PER_MIN * math.pow(mass_g / REFERENCE_MASS_G, 0.75)


def flow_of_truncated_tree(flow_mL_per_min: float, calibre: float) -> float:
    r"""Resting flow through the outlets of a tree whose side branches are cut off, $Q\sqrt{\min(1, c)}$ [mL/min].

    The lumen volume (of stems that once fed all branches) says $Q$; the calibre of the outlets that are left, by the
    flow-diameter law, says $c\,Q$, $c = \sum d_i^m / D^m$. The first forces the flow of the missing branches through
    the few that are there, the second takes it away from the stems: bounds from above and below, and their geometric
    mean is taken. This mean is ours, not from the literature. A complete tree has $c$ near one and is not changed.
    """
    return flow_mL_per_min * math.sqrt(min(1.0, calibre))


def flow_shares(diameters_mm: Sequence[float], exponent: float) -> list[float]:
    r"""Share of each outlet in the flow of the tree, $d_i^m / \sum_j d_j^m$.

    Reference:
        m = 7/3: Huo and Kassab (2009), Biophys. J. 96, 347-353, https://doi.org/10.1016/j.bpj.2008.09.039 (abstract
        read, DOI not); m = 2.27: van der Giessen et al. (2011), J. Biomech. 44, 1089-1095,
        https://doi.org/10.1016/j.jbiomech.2011.01.036 (read at second hand); m = 2.15 (flow) and 2.38 (resistance)
        in 20 patients: Taylor et al. (2022), Front. Physiol. 13, 871912,
        https://doi.org/10.3389/fphys.2022.871912 (abstract read).
    """
    powers = [diameter**exponent for diameter in diameters_mm]
    return [power / sum(powers) for power in powers]


def calibre_kept(inlet_diameter_mm: float, diameters_mm: Sequence[float], exponent: float) -> float:
    r"""How much of the inlet's flow the outlets' calibres stand for, $\sum_i d_i^m / D^m$.

    A complete healthy tree keeps it near 1 from one generation to the next, by the law of `flow_shares`.
    """
    return sum(math.pow(d / inlet_diameter_mm, exponent) for d in diameters_mm)


def resting_resistance(
    mean_aortic_pressure_mmHg: float, distal_pressure_mmHg: float, flow_mL_per_min: float
) -> float:
    """Resistance of the resting bed, ``(MAP - pd) / Q`` [mmHg s/mL]; see the module's definition."""
    return (mean_aortic_pressure_mmHg - distal_pressure_mmHg) / (flow_mL_per_min / 60.0)


def hyperaemic_resistance(resting_mmHg_s_per_mL: float, factor: float) -> float:
    """Resistance of the dilated bed, ``factor * R_rest`` [mmHg s/mL].

    Intravenous adenosine (140 ug/kg/min) raises coronary flow velocity 4.4 +- 0.9 times; the total coronary
    resistance index falls to about 0.24 (0.23 = 1 / 4.4).

    Reference:
        Wilson et al. (1990), Circulation 82, 1595-1606, https://doi.org/10.1161/01.CIR.82.5.1595 (abstract read;
        0.24 itself is from CT-FFR papers that quote it, not read in it).
    """
    return factor * resting_mmHg_s_per_mL


def reynolds(flow_mL_per_s: float, diameter_mm: float, density: float, viscosity: float) -> float:
    r"""Reynolds number of pipe flow, $Re = 4 \rho Q / (\pi \mu D)$; density [kg/m3], viscosity [Pa s]."""
    return 4.0 * density * flow_mL_per_s * 1e-6 / (math.pi * viscosity * diameter_mm * 1e-3)
