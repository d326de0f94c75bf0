"""The case: every choice of one run (the file it is read from: `pipeline.case_file`).

Clinical units, each with the unit in its name. Presets and examples: ``configs/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meshing.options import MeshOptions
from solver.problem import Element, SteadyOptions

Point = tuple[float, float, float]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SurfaceInput(Section):
    """A lumen surface (STL, VTP, PLY, OBJ), closed or with open ends."""

    kind: Literal["surface"] = "surface"
    path: Path
    unit: Literal["mm", "cm", "m"] = "mm"
    caps: dict[str, Path] = Field(
        default_factory=dict,
        description="cap patches by vessel-end name; found from the surface if absent",
    )


class LabelInput(Section):
    """A label map (NIfTI, NRRD, MHA)."""

    kind: Literal["labels"] = "labels"
    path: Path
    label: Annotated[int, Field(ge=1)] | str | None = Field(
        default=None,
        description="the lumen's label, or its name where the file has names (TotalSegmentator --ml, Slicer's "
        ".seg.nrrd); if absent those that say coronary or lumen, without names every non-zero voxel",
    )


class CtInput(Section):
    """A contrast-enhanced CT of the heart (DICOM folder, NIfTI, NRRD, MHA); its coronaries are segmented."""

    kind: Literal["ct"] = "ct"
    path: Path
    series: str | None = Field(
        default=None, description="DICOM: series number or UID, where a folder has several volumes"
    )
    model: Path | None = Field(
        default=None, description="weights (safetensors); the bundled network if absent"
    )
    walls: Literal["bundled", "none"] | Path = Field(
        default="bundled",
        description="weights (safetensors) of the wall network, which tells the lumen along the "
        "vessels that were found; none: as the first network sees it",
    )
    tree: Literal["left", "right"] = Field(default="left", description="which coronary tree")


class PhantomStenosis(Section):
    """One stenosis of a phantom tree."""

    branch: str = Field(description="segment, e.g. LAD")
    position: float = Field(ge=0, le=1, description="throat, as a fraction of the segment's length")
    diameter_reduction: float = Field(ge=0, lt=0.95)
    length_mm: float = Field(gt=0, le=60)
    eccentricity: float = Field(
        default=0.0, ge=0, le=1, description="0 concentric; 1 one wall untouched"
    )
    plateau: float = Field(
        default=0.0, ge=0, le=0.9, description="part of the length that is as narrow as the throat"
    )


class PhantomInput(Section):
    """A coronary tree of the phantom generator."""

    kind: Literal["phantom"] = "phantom"
    tree: Literal["left", "right"] = "left"
    seed: int = Field(default=0, ge=0)
    inlet_diameter_mm: float | None = Field(
        default=None, gt=1, le=8, description="drawn from the seed if absent"
    )
    min_diameter_mm: float = Field(
        default=1.5, gt=0.5, le=4, description="branches end at this diameter"
    )
    side_branches: int = Field(default=2, ge=0, le=6, description="diagonals and marginals in all")
    murray_exponent: float = Field(
        default=7 / 3, ge=2, le=3, description="D_parent^k = sum of D_child^k at bifurcations"
    )
    stenoses: tuple[PhantomStenosis, ...] = ()
    voxel_mm: float | None = Field(
        default=None,
        ge=0.1,
        le=2,
        description="go through a label map of this voxel size; exact surface if absent",
    )


Input = Annotated[SurfaceInput | LabelInput | CtInput | PhantomInput, Field(discriminator="kind")]


class SurfaceOptions(Section):
    """Label map to surface, and repair."""

    repair: bool = Field(
        default=True, description="mend small holes, duplicate and degenerate triangles"
    )
    keep: Literal["largest", "error"] = Field(
        default="largest", description="several bodies: keep the largest and report, or refuse"
    )
    smoothing: float = Field(default=1.0, ge=0, le=4, description="sub-voxel smoothing [voxels]")


class AnatomyOptions(Section):
    """Ends, flow extensions, lesions."""

    inlet: str | Point | None = Field(
        default=None,
        description="name of a cap, or a point near it [mm]; the largest end if absent",
    )
    names: dict[str, Point] = Field(
        default_factory=dict,
        description="vessel-end names by a point near each [mm]; outlet_1.. if absent",
    )
    coronary_tree: Literal["left", "right"] | None = Field(
        default=None,
        description="call the ends that have no name LAD, LCx, D1 .. or RCA, AM1 .. by where they lie (the surface in "
        "LPS); a CT's input.tree if absent",
    )
    end_clip_diameters: float = Field(
        default=0.7, ge=0, le=5, description="cut this far from a closed (capless) end [diameters]"
    )
    rounded_ends: Literal["auto", "open", "closed"] = Field(
        default="auto",
        description="closed tips: cut open, or leave closed; auto opens them in label maps, and in "
        "surfaces that have no cap, flat or open end",
    )
    inlet_extension_diameters: float = Field(default=3.0, ge=0, le=20)
    outlet_extension_diameters: float = Field(default=3.0, ge=0, le=20)
    min_diameter_stenosis: float = Field(
        default=0.25, gt=0, lt=1, description="report narrowings from this on"
    )


class RestingFlow(Section):
    """Resting flow of the tree; give one of the sources, or let the lumen volume decide."""

    flow_mL_per_min: float | None = Field(default=None, gt=0, le=600)
    myocardial_mass_g: float | None = Field(
        default=None, gt=20, le=800, description="mass supplied by this tree"
    )

    @model_validator(mode="after")
    def _one_source(self) -> RestingFlow:
        if self.flow_mL_per_min is not None and self.myocardial_mass_g is not None:
            raise ValueError("give flow_mL_per_min or myocardial_mass_g, not both")
        return self


FlowWave = Annotated[tuple[float, ...], Field(min_length=8)]
"""Flow over a beat [mL/min] at even times, the first at the beginning of contraction."""


class OutletOverride(Section):
    """Overrides of one outlet; give at most one."""

    resistance_mmHg_s_per_mL: float | None = Field(default=None, ge=0)
    resting_flow_mL_per_min: float | None = Field(default=None, gt=0)
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="part of the tree's resting flow, say of its territory's mass; outlets without share the rest",
    )
    flow_mL_per_min: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="flow in the state computed, say measured: the pressure follows, and there is no bed",
    )
    flow_waveform_mL_per_min: FlowWave | None = Field(
        default=None,
        description="the same over a beat, as aortic_waveform_mmHg is given; steady: its mean",
    )

    @model_validator(mode="after")
    def _one(self) -> OutletOverride:
        given = list(self.model_dump(exclude_none=True))
        if len(given) > 1:
            raise ValueError(
                f"give {' or '.join(given)}, not {'both' if len(given) == 2 else 'all'}"
            )
        _positive_mean("flow_waveform_mL_per_min", self.flow_waveform_mL_per_min)
        return self

    @property
    def flow(self) -> float | None:
        """Mean flow of the state computed [mL/min]; None where it is not given."""
        wave = self.flow_waveform_mL_per_min
        return self.flow_mL_per_min if wave is None else _mean(wave)


class Physiology(Section):
    """Pressure, flow, flow split and hyperaemia; formulas and sources in `pipeline.physiology`."""

    mean_aortic_pressure_mmHg: float | None = Field(default=None, gt=30, lt=200)
    systolic_mmHg: float | None = Field(default=None, gt=50, lt=280)
    diastolic_mmHg: float | None = Field(default=None, gt=20, lt=180)
    resting: RestingFlow = RestingFlow()
    flow_split_exponent: float = Field(default=7 / 3, ge=1, le=4)
    hyperaemic_resistance_factor: float = Field(
        default=0.24, gt=0, le=1, description="hyperaemic over resting resistance; 1 = rest"
    )
    target_flow_mL_per_min: float | None = Field(
        default=None,
        gt=0,
        le=1500,
        description="flow of the tree in the state computed (hyperaemic, say measured): the outlets' resistances are "
        "found so that it is met within 1 % and split as without, in up to three solves",
    )
    distal_pressure_mmHg: float = Field(default=5.0, ge=0, lt=60)
    outlets: dict[str, OutletOverride] = Field(default_factory=dict)
    heart_rate_per_min: float = Field(
        default=70.0, ge=30, le=220, description="pulsatile only, as all that follows"
    )
    pulse_pressure_mmHg: float | None = Field(
        default=None,
        gt=0,
        le=120,
        description="systolic less diastolic; that of systolic_mmHg and diastolic_mmHg, else 40, if absent",
    )
    aortic_waveform_mmHg: tuple[float, ...] | None = Field(
        default=None,
        min_length=8,
        description="aortic pressure over a beat at even times, the first at the beginning of contraction; the name of "
        "a CSV file (time in s, value) or Fourier coefficients {mean, cos, sin} become such values",
    )
    bed: Literal["coronary", "windkessel", "resistance"] = Field(
        default="coronary", description="what lies behind an outlet, with its resistance in all"
    )
    compliance_mm3_per_mmHg: float | None = Field(
        default=None, gt=0, description="of all beds of the tree; by its side if absent"
    )
    intramyocardial_factor: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="intramyocardial over left ventricular pressure; 1 for a left tree, 0.2 for a right one if absent",
    )

    @model_validator(mode="after")
    def _one_waveform(self) -> Physiology:
        others = self.mean_aortic_pressure_mmHg, self.systolic_mmHg, self.pulse_pressure_mmHg
        if self.aortic_waveform_mmHg is not None and others != (None, None, None):
            raise ValueError("give aortic_waveform_mmHg or other aortic pressures, not both")
        wave = self.aortic_waveform_mmHg
        if wave is not None and not (min(wave) > 10 and max(wave) < 300):
            raise ValueError(
                f"aortic_waveform_mmHg within 10 to 300 mmHg; it goes from {min(wave):.4g} to {max(wave):.4g}"
            )
        return self

    @model_validator(mode="after")
    def _pressures(self) -> Physiology:
        given = (self.systolic_mmHg is not None, self.diastolic_mmHg is not None)
        if given[0] != given[1]:
            raise ValueError("give both systolic_mmHg and diastolic_mmHg, or neither")
        if self.systolic_mmHg is not None and self.diastolic_mmHg is not None:
            if self.mean_aortic_pressure_mmHg is not None:
                raise ValueError(
                    "give mean_aortic_pressure_mmHg or systolic and diastolic, not both"
                )
            if self.systolic_mmHg <= self.diastolic_mmHg:
                raise ValueError("systolic_mmHg must be above diastolic_mmHg")
        return self


class Inlet(Section):
    """Aortic pressure (the default) or a prescribed flow."""

    kind: Literal["pressure", "flow"] = "pressure"
    flow_mL_per_min: float | None = Field(
        default=None, gt=0, le=1000, description="with kind: flow"
    )
    flow_waveform_mL_per_min: FlowWave | None = Field(
        default=None,
        description="with kind: flow, over a beat, as aortic_waveform_mmHg is given; steady: its mean",
    )

    @model_validator(mode="after")
    def _flow_given(self) -> Inlet:
        given = (self.flow_mL_per_min is not None) + (self.flow_waveform_mL_per_min is not None)
        if given != (1 if self.kind == "flow" else 0):
            raise ValueError(
                "flow_mL_per_min or flow_waveform_mL_per_min goes with kind: flow, and only with it"
            )
        _positive_mean("flow_waveform_mL_per_min", self.flow_waveform_mL_per_min)
        return self

    @property
    def flow(self) -> float | None:
        """Mean flow [mL/min]; None with a pressure."""
        wave = self.flow_waveform_mL_per_min
        return self.flow_mL_per_min if wave is None else _mean(wave)


def _mean(wave: FlowWave) -> float:
    """Mean of a periodic spline through values at even times: theirs."""
    return sum(wave) / len(wave)


def _positive_mean(name: str, wave: FlowWave | None) -> None:
    if wave is not None and not 0.0 < _mean(wave) <= 1000.0:
        raise ValueError(f"{name} with a mean above 0, at most 1000; it is {_mean(wave):.4g}")


class Pulsatile(Section):
    """The flow in time, over a heart beat (`Physiology` has what beats); without this section it is steady."""

    steps: int = Field(default=320, ge=20, le=20000, description="time steps a beat")
    cycles: int = Field(default=6, ge=2, le=100, description="beats at most")
    tolerance: float = Field(
        default=1e-3, gt=0, description="what may be lacking to be periodic, relative"
    )


class Blood(Section):
    """Newtonian blood."""

    density_kg_per_m3: float = Field(default=1060.0, gt=900, lt=1200)
    viscosity_mPa_s: float = Field(default=3.5, gt=0.5, lt=20)
    haematocrit: float | None = Field(
        default=None, ge=0.1, le=0.7, description="the viscosity follows from it, instead"
    )

    @model_validator(mode="after")
    def _one_viscosity(self) -> Blood:
        default = (
            type(self).model_fields["viscosity_mPa_s"].default
        )  # a resolved case has it written out
        if self.haematocrit is not None and self.viscosity_mPa_s != default:
            raise ValueError("give viscosity_mPa_s or haematocrit, not both")
        return self


class SolverOptions(Section):
    """Discretisation and machine."""

    element: Element = Field(
        default="P2-P2", description="P2-P2 reference, P1-P1 linear, P2-P1 cross-check"
    )
    ranks: int | None = Field(
        default=None, ge=1, le=1024, description="MPI ranks; all physical cores if absent"
    )
    steady: SteadyOptions = SteadyOptions()


class Adapt(Section):
    """When a mesh is made again from the solution on it, and how much larger."""

    when: Literal["never", "stuck", "always"] = Field(
        default="stuck",
        description="stuck: where no steady state of the real fluid was found on the mesh",
    )
    rounds: int = Field(default=2, ge=1, le=5, description="meshes after the first, at most")
    growth: float = Field(
        default=2.0,
        ge=0.5,
        le=10,
        description="always: tetrahedra of a mesh over those of the one before",
    )


class Certificate(Section):
    """How sure the numbers are: the same on coarser meshes (`pipeline.certificate`)."""

    levels: Literal[1, 2, 3] = Field(
        default=2,
        description="meshes for the discretisation error, the run's own included; 1: none is told",
    )
    ratio: float = Field(
        default=1.5, ge=1.2, le=3, description="sizes of a mesh over those of the next finer one"
    )


class Report(Section):
    """What the report shows."""

    title: str | None = None
    threshold: float = Field(default=0.80, gt=0, lt=1, description="line in the pull-back curves")


class Case(Section):
    """One vessel and one set of modelling choices."""

    name: str = Field(default="case", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    input: Input
    surface: SurfaceOptions = SurfaceOptions()
    anatomy: AnatomyOptions = AnatomyOptions()
    mesh: MeshOptions = MeshOptions()
    physiology: Physiology = Physiology()
    inlet: Inlet = Inlet()
    blood: Blood = Blood()
    pulsatile: Pulsatile | None = None
    solver: SolverOptions = SolverOptions()
    adapt: Adapt = Adapt()
    certificate: Certificate = Certificate()
    report: Report = Report()

    @model_validator(mode="after")
    def _target(self) -> Case:
        if self.physiology.target_flow_mL_per_min is None:
            return self
        if self.inlet.kind != "pressure":
            raise ValueError("physiology.target_flow_mL_per_min goes with inlet.kind: pressure")
        if any(outlet.share is None for outlet in self.physiology.outlets.values()):
            raise ValueError(
                "give physiology.target_flow_mL_per_min or physiology.outlets (but for shares), not both"
            )
        return self

    @model_validator(mode="after")
    def _shares(self) -> Case:
        total = sum(outlet.share or 0.0 for outlet in self.physiology.outlets.values())
        if total > 1.0 + 1e-9:
            raise ValueError(
                f"physiology.outlets: shares of at most 1 in all; they add up to {total:.4g}"
            )
        return self
