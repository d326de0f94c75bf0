"""The flow problem and the flow result: what `python -m solver problem.json` reads and writes. SI units.

A problem folder after a solve holds ``problem.json``, ``flow.json`` (`FlowResult`) and ``fields.h5``:
datasets ``velocity (n, 3)`` [m/s], ``pressure (n,)`` [Pa] and ``wall_shear_stress (n, 3)`` [Pa] (zero off
the wall), one row a node of ``mesh.h5`` in its numbering.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meshing.errors import InputError
from solver.inlets import Inlet, ProfileInlet
from solver.outlets import Outlet
from solver.rheology import Rheology
from solver.waveform import Waveform

Element = Literal["P1-P1", "P2-P2", "P2-P1"]
Point = tuple[float, float, float]
Status = Literal["converged", "extrapolated", "regularised", "time-averaged", "periodic"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SteadyOptions(_Frozen):
    """How a steady state is sought. Defaults need no tuning; see docs/decisions/0011."""

    tolerance: float = Field(
        default=1e-8, gt=0, description="nonlinear residual relative to the first"
    )
    max_steps: int = Field(default=80, ge=1, description="pseudo-time steps before time marching")
    linear_tolerance: float = Field(
        default=1e-4, gt=0, description="relative, of each linear solve"
    )
    max_linear_iterations: int = Field(default=150, ge=1)
    unsteady: Literal["extrapolate", "average"] = Field(
        default="extrapolate",
        description="where the steady branch ends above the real viscosity: extrapolate it, or march in time",
    )
    least_viscosity: float = Field(
        default=1.0,
        ge=1,
        le=1.5,
        description="least factor on the viscosity computed; the real fluid is extrapolated from there (a preview)",
    )
    march_flow_throughs: float = Field(default=1.0, gt=0, description="time-averaging window")
    march_max_steps: int = Field(default=600, ge=8, description="time steps in all")


class Pulse(_Frozen):
    """A periodic flow in time, from the steady one of the means on; see `solver.pulsatile`."""

    period: float = Field(gt=0, description="[s]; that of every waveform")
    steps: int = Field(default=320, ge=20, description="time steps a period")
    cycles: int = Field(default=6, ge=2, description="periods at most")
    tolerance: float = Field(
        default=1e-3,
        gt=0,
        description="what flows and pressures still lack to be periodic, relative",
    )
    windows: dict[str, tuple[float, float]] = Field(
        default={},
        description="parts of the period, as fractions from 0 to 1, over which the result gives mean pressures",
    )


class Line(_Frozen):
    """Points evenly along a straight line, both ends among them."""

    start: Point = Field(description="[m]")
    end: Point = Field(description="[m]")
    count: int = Field(ge=2)

    def points(self) -> list[Point]:
        """The points [m]."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        along = [k / (self.count - 1) for k in range(self.count)]
        return [(ax + s * (bx - ax), ay + s * (by - ay), az + s * (bz - az)) for s in along]


class FlowProblem(_Frozen):
    """One flow computation.

    Attributes:
        mesh: ``mesh.json`` of a `meshing.vessel.VesselMesh`; relative to the problem file.
        guess: ``guess.h5`` (`solver.io.guess`) to begin the search with, if any; relative to the problem file.
        probes: Points or lines at which the result gives velocity and pressure, by a name of your choice.
        forces: Walls whose force the result gives.
    """

    mesh: Path
    element: Element = "P2-P2"
    density: float = Field(default=1060.0, gt=0, description="[kg m^-3]")
    rheology: Rheology
    inlet: Inlet
    outlets: dict[str, Outlet]
    backflow_beta: float = Field(
        default=0.5, ge=0, le=1, description="backflow stabilisation, on open faces"
    )
    steady: SteadyOptions = SteadyOptions()
    pulse: Pulse | None = Field(
        default=None, description="in time; without it waveforms count by their means"
    )
    stop_at_branch_end: bool = Field(
        default=False,
        description="where the steady branch ends above the real viscosity, write `BranchEnd` and stop",
    )
    guess: Path | None = None
    probes: dict[str, Line | tuple[Point, ...]] = {}
    forces: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _pressure_is_known(self) -> Self:
        given = [name for name, model in self.outlets.items() if model.governs == "flow"]
        if self.inlet.prescribes_flow and given and len(given) == len(self.outlets):
            raise ValueError(
                f"the flows through the inlet and {', '.join(given)} are all given: nothing says what the pressure is, "
                "and they may not add up; let one outlet have another kind"
            )
        return self

    @model_validator(mode="after")
    def _one_period(self) -> Self:
        if self.pulse is None:
            return self
        for name, model in {"inlet": self.inlet, **self.outlets}.items():
            for key, signal in model:
                if isinstance(signal, Waveform) and signal.period != self.pulse.period:
                    raise ValueError(
                        f"{name}.{key} has a period of {signal.period:g} s, pulse.period is {self.pulse.period:g} s"
                    )
        for name, (start, end) in self.pulse.windows.items():
            if not 0.0 <= start < end <= 1.0:
                raise ValueError(f"pulse.windows.{name}: 0 <= start < end <= 1 wanted")
            steps = self.pulse.steps
            if not any(start < k / steps <= end for k in range(1, steps + 1)):
                raise ValueError(
                    f"pulse.windows.{name} holds none of the {steps} steps of a period"
                )
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``problem.json``; relative paths are taken from its folder.

        Raises:
            InputError: The file is missing, is not JSON, or a value is out of range.
        """
        try:
            problem = cls.model_validate(json.loads(path.read_text()))
        except (OSError, ValueError, ValidationError) as error:
            raise InputError(
                file=path,
                wanted="a flow problem (see solver.problem.FlowProblem)",
                got=str(error),
                remedy="write it with FlowProblem.save, or run: ffr3d run CASE --from solve",
            ) from error
        found: dict[str, Any] = {"mesh": (path.parent / problem.mesh).resolve()}
        if problem.guess is not None:
            found["guess"] = (path.parent / problem.guess).resolve()
        if isinstance(problem.inlet, ProfileInlet):
            file = (path.parent / problem.inlet.file).resolve()
            found["inlet"] = problem.inlet.model_copy(update={"file": file})
        return problem.model_copy(update=found)

    def save(self, path: Path) -> None:
        """Write ``problem.json``."""
        path.write_text(self.model_dump_json(indent=2))


class PatchFlow(_Frozen):
    """What passes through one open patch."""

    Q: float = Field(description="flow out of the domain [m^3 s^-1]")
    p: float = Field(description="mean pressure over the patch [Pa]")
    area: float = Field(description="[m^2]")
    residual: float = Field(
        default=0.0,
        description="|p - p0 - R Q| of the outlet model [Pa] (given flow: |p0 + R Q|); zero for tractions",
    )


class ProbeValue(_Frozen):
    """The flow at a point; nothing where it lies outside the mesh."""

    point: Point = Field(description="[m]")
    velocity: Point | None = Field(description="[m s^-1]")
    p: float | None = Field(description="[Pa]")


class PatchWaves(_Frozen):
    """Flow and mean pressure of one open patch over the last period, at the ends of the time steps."""

    Q: tuple[float, ...] = Field(description="flow out of the domain [m^3 s^-1]")
    p: tuple[float, ...] = Field(description="mean pressure over the patch [Pa]")


class PulseResult(_Frozen):
    """How a periodic flow came about.

    Attributes:
        times: Ends of the last period's time steps [s]; zero is the beginning of the waveforms.
        errors: After each period but the first, what was still lacking to be periodic (`solver.periodicity`).
    """

    period: float = Field(description="[s]")
    steps: int = Field(description="time steps a period")
    cycles: int = Field(description="periods marched")
    errors: tuple[float, ...]
    periodic: bool = Field(description="whether the last of these meets the tolerance")
    seconds_per_step: float = Field(description="wall time")
    times: tuple[float, ...]
    waves: dict[str, PatchWaves]


class BranchEnd(_Frozen):
    """Where the steady branch from thicker fluids ended on a mesh; ``branch_end.json``."""

    factor: float = Field(description="on the viscosity, of the last state")
    outflow: dict[str, float] = Field(description="of that state, by outlet [m^3 s^-1]")
    cells: int
    steps: int
    seconds: float = Field(description="wall time")
    peak_memory_GiB: float = Field(description="sum over the ranks")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``branch_end.json``."""
        return cls.model_validate_json(path.read_text())

    def save(self, path: Path) -> None:
        """Write ``branch_end.json``."""
        path.write_text(self.model_dump_json(indent=2))


class FlowResult(_Frozen):
    """Numbers of a finished computation (the fields are in ``fields.h5``).

    Attributes:
        status: ``converged``; ``extrapolated``: no steady state was found for the real viscosity on this mesh, the
            result is extrapolated to it from those of two slightly thicker fluids (``thickening``, ``base``; the
            notes tell what that changed); ``regularised``: the steady state with viscosity added where the mesh is
            too coarse (``captured``), or of a thicker fluid; ``time-averaged`` where no steady state exists.
        history: One row a nonlinear step: residual, step size, linear iterations, flows.
    """

    status: Status
    element: Element
    ranks: int
    dofs: int
    cells: int
    steps: int
    linear_iterations: int
    residual: float = Field(description="final nonlinear residual relative to the first")
    thickening: float = Field(
        default=1.0, description="least factor on the viscosity with a steady state; one is real"
    )
    branch_end: float = Field(
        default=1.0,
        description="factor on the viscosity at which the branch from thicker fluids ended, if it did; see the notes",
    )
    base: float = Field(default=1.0, description="factor of an extrapolation's second state")
    captured: float = Field(
        default=0.0,
        description="strength of the viscosity added where the mesh does not resolve the jet",
    )
    mass_balance: float = Field(description="|sum Q| / Q_in")
    inlet: str
    patches: dict[str, PatchFlow]
    forces: dict[str, Point] = Field(default={}, description="of the fluid on walls [N]")
    probes: dict[str, tuple[ProbeValue, ...]] = {}
    scales: dict[str, float] = Field(
        description="reference length [m], velocity [m/s], pressure [Pa]"
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="wall time by phase")
    peak_memory_GiB: float = Field(
        default=0.0, description="sum of the ranks' peak resident memory"
    )
    rank_memory_GiB: tuple[float, ...] = Field(
        default=(), description="peak resident memory of each rank"
    )
    history: list[dict[str, Any]] = Field(default_factory=list)
    fluctuations: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="time-averaged: standard deviation of each patch's Q and p",
    )
    pulse: PulseResult | None = Field(
        default=None,
        description="of a periodic flow, whose patches and fields are means over a period",
    )
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``flow.json``."""
        return cls.model_validate_json(path.read_text())

    def save(self, path: Path) -> None:
        """Write ``flow.json``."""
        path.write_text(self.model_dump_json(indent=2))
