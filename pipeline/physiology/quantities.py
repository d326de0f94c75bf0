"""The numbers of the model and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.anatomy.types import Anatomy
from pipeline.case import Blood, Case, Physiology
from pipeline.physiology.formulas import (
    DEFAULT_MEAN_AORTIC_PRESSURE_MMHG,
    PULSE_PRESSURE_FRACTION,
    REFERENCE_MASS_G,
    REFERENCE_RESTING_FLOW_ML_PER_MIN,
    VOLUME_TO_MASS_MM3_PER_G,
    calibre_kept,
    flow_of_truncated_tree,
    mean_aortic_pressure,
    myocardial_mass_from_volume,
    resting_flow_from_mass,
    viscosity_of,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of the model with its origin.

    Attributes:
        name: What it is.
        symbol: As in `formula`.
        value: In `unit`.
        unit: Unit; ``"1"`` if none.
        formula: How it came about; ``"given"`` or ``"default"`` if it was not computed.
        source: Reference of the formula or of the value.
        checked: What was checked of the source.
    """

    name: str
    symbol: str
    value: float
    unit: str
    formula: str
    source: str = ""
    checked: str = ""


def aortic_pressure(physiology: Physiology, in_time_mmHg: float | None = None) -> Quantity:
    """Mean aortic pressure: that of a beat given in time, given, from systole and diastole, or the default."""
    name, symbol = "mean aortic pressure", "MAP"
    if in_time_mmHg is not None:
        return Quantity(name, symbol, in_time_mmHg, "mmHg", "mean of the beat given")
    if physiology.mean_aortic_pressure_mmHg is not None:
        return Quantity(name, symbol, physiology.mean_aortic_pressure_mmHg, "mmHg", "given")
    if physiology.systolic_mmHg is not None and physiology.diastolic_mmHg is not None:
        value = mean_aortic_pressure(physiology.systolic_mmHg, physiology.diastolic_mmHg)
        formula = (
            f"Pd + {PULSE_PRESSURE_FRACTION:g} (Ps - Pd), "
            f"Ps = {physiology.systolic_mmHg:g}, Pd = {physiology.diastolic_mmHg:g} mmHg"
        )
        source = "Grillo et al. 2020, doi:10.1097/HJH.0000000000002564"
        return Quantity(name, symbol, value, "mmHg", formula, source, "abstract")
    return Quantity(
        name,
        symbol,
        DEFAULT_MEAN_AORTIC_PRESSURE_MMHG,
        "mmHg",
        "default",
        "120/80 mmHg by the one-third rule; nothing was given",
    )


def resting_flow(physiology: Physiology, anatomy: Anatomy) -> tuple[Quantity, ...]:
    """What led to the resting flow of the tree; the flow comes last."""
    name, symbol, unit = "resting flow of the tree", "Q_rest", "mL/min"
    if physiology.resting.flow_mL_per_min is not None:
        return (Quantity(name, symbol, physiology.resting.flow_mL_per_min, unit, "given"),)
    mass = _mass(physiology, anatomy)
    flow = Quantity(
        name,
        symbol,
        resting_flow_from_mass(mass[-1].value),
        unit,
        f"{REFERENCE_RESTING_FLOW_ML_PER_MIN:g} (M / {REFERENCE_MASS_G:g} g)^(3/4)",
        "exponent: Choy and Kassab 2008, doi:10.1152/japplphysiol.01261.2007; coefficient fitted here to "
        "Fournier et al. 2021, doi:10.4244/EIJ-D-20-00684, times 0.24",
        "Fournier: abstract; Choy and Kassab and the territory masses: at second hand",
    )
    if physiology.resting.myocardial_mass_g is not None:
        return (*mass, flow)
    kept = calibre(physiology, anatomy)
    modelled = Quantity(
        "resting flow of the branches modelled",
        "Q_mod",
        flow_of_truncated_tree(flow.value, kept.value),
        unit,
        "Q_rest sqrt(min(1, c)): between the flow the lumen volume stands for and the one the outlets stand for",
        "ours (geometric mean of two bounds); decision 0054",
    )
    return (*mass, flow, kept, modelled)


def _mass(physiology: Physiology, anatomy: Anatomy) -> tuple[Quantity, ...]:
    name = "myocardial mass supplied"
    if physiology.resting.myocardial_mass_g is not None:
        return (Quantity(name, "M", physiology.resting.myocardial_mass_g, "g", "given"),)
    volume = anatomy.lumen_volume_mm3
    return (
        Quantity(
            "lumen volume without flow extensions", "V", volume, "mm3", "measured on the surface"
        ),
        Quantity(
            name,
            "M",
            myocardial_mass_from_volume(volume),
            "g",
            f"V / ({VOLUME_TO_MASS_MM3_PER_G:g} mm3/g)",
            "Taylor et al. 2017, doi:10.1016/j.jcct.2017.08.001 (median of 238 patients)",
            "abstract",
        ),
    )


def choices(physiology: Physiology) -> tuple[Quantity, ...]:
    """Flow split, hyperaemia and distal pressure."""
    default = Physiology()
    exponent, factor = physiology.flow_split_exponent, physiology.hyperaemic_resistance_factor
    return (
        Quantity(
            "flow split exponent",
            "m",
            exponent,
            "1",
            _origin(exponent, default.flow_split_exponent) + "; Q_i = Q_rest d_i^m / sum d^m",
            "Huo and Kassab 2009, doi:10.1016/j.bpj.2008.09.039",
            "abstract (7/3); DOI not checked",
        ),
        Quantity(
            "hyperaemic over resting resistance",
            "f",
            factor,
            "1",
            _origin(factor, default.hyperaemic_resistance_factor) + "; R = f R_rest",
            "Wilson et al. 1990, doi:10.1161/01.CIR.82.5.1595",
            "abstract (flow 4.4 times); 0.24 at second hand",
        ),
        Quantity(
            "distal (venous) pressure",
            "pd",
            physiology.distal_pressure_mmHg,
            "mmHg",
            _origin(physiology.distal_pressure_mmHg, default.distal_pressure_mmHg),
            "normal right atrial pressure, textbook value",
        ),
    )


def calibre(physiology: Physiology, anatomy: Anatomy) -> Quantity:
    """How complete the tree is, by its calibres."""
    diameters = [end.diameter_mm for end in anatomy.outlets]
    return Quantity(
        "calibre of the outlets over that of the inlet",
        "c",
        calibre_kept(anatomy.inlet.diameter_mm, diameters, physiology.flow_split_exponent),
        "1",
        "measured: sum d_i^m / D^m; near 1 in a complete healthy tree",
    )


def blood(case: Case) -> tuple[Quantity, ...]:
    """Density and viscosity."""
    fluid, default = case.blood, type(case.blood)()
    return (
        Quantity(
            "density of blood",
            "rho",
            fluid.density_kg_per_m3,
            "kg/m3",
            _origin(fluid.density_kg_per_m3, default.density_kg_per_m3),
            "textbook value",
        ),
        viscosity(fluid),
    )


def viscosity(fluid: Blood) -> Quantity:
    """Viscosity of blood: given, from the haematocrit, or the default."""
    name, symbol, unit = "viscosity of blood (Newtonian)", "mu", "mPa s"
    if fluid.haematocrit is None:
        origin = _origin(fluid.viscosity_mPa_s, Blood().viscosity_mPa_s)
        return Quantity(name, symbol, fluid.viscosity_mPa_s, unit, origin, "textbook value")
    formula = f"mu_p (1 + 2.2 ((1 - H)^-0.8 - 1) / (0.55^-0.8 - 1)), H = {fluid.haematocrit:g}"
    source = "Pries et al. 1992, doi:10.1152/ajpheart.1992.263.6.H1770"
    value = viscosity_of(fluid.haematocrit)
    return Quantity(name, symbol, value, unit, formula, source, "at second hand")


def _origin(value: float, default: float) -> str:
    return "default" if value == default else "given"
