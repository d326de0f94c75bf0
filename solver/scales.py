"""Reference length, velocity and pressure: the solver works on dimensionless numbers of order one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from solver.inlets import FlowInlet, PressureInlet
from solver.outlets import Flow
from solver.problem import FlowProblem
from solver.waveform import value


@dataclass(frozen=True, slots=True)
class Scales:
    """Reference values.

    Attributes:
        length: Inlet diameter [m].
        velocity: Mean inlet velocity, given or estimated [m/s].
        density: [kg m^-3].
        viscosity: [Pa s].
        datum: Pressure subtracted before scaling [Pa].
    """

    length: float
    velocity: float
    density: float
    viscosity: float
    datum: float

    @property
    def pressure(self) -> float:
        """Reference pressure, rho U^2 [Pa]."""
        return self.density * self.velocity**2

    @property
    def flow(self) -> float:
        """Reference flow rate, U L^2 [m^3 s^-1]."""
        return self.velocity * self.length**2

    @property
    def reynolds(self) -> float:
        """Reynolds number of the reference values."""
        return self.density * self.velocity * self.length / self.viscosity

    def as_dict(self) -> dict[str, float]:
        """What `FlowResult.scales` holds."""
        return {
            "length": self.length,
            "velocity": self.velocity,
            "pressure": self.pressure,
            "reynolds": self.reynolds,
        }


def choose(
    problem: FlowProblem, inlet_area: float, tree_length: float, inflow: float = 0.0
) -> Scales:
    """Choose the scales of a problem.

    Args:
        problem: The flow problem.
        inlet_area: [m^2].
        tree_length: Extent of the mesh [m], for the viscous bound where the flow is unknown.
        inflow: What a profile given carries, about [m^3/s].
    """
    length = math.sqrt(4.0 * inlet_area / math.pi)
    models = [
        outlet.steady() for outlet in problem.outlets.values() if not isinstance(outlet, Flow)
    ]
    mean_p0 = sum(p0 for p0, _ in models) / max(len(models), 1)
    given = sum(value(o.Q, None) for o in problem.outlets.values() if isinstance(o, Flow))
    if isinstance(problem.inlet, PressureInlet):
        datum, speed = value(problem.inlet.p, None), given / inlet_area
        if models:
            conductance = sum(1.0 / max(R, 1e-300) for _, R in models)
            speed += _free_velocity(
                problem, datum - mean_p0, conductance, (inlet_area, tree_length)
            )
    else:
        Q = value(problem.inlet.Q, None) if isinstance(problem.inlet, FlowInlet) else inflow
        conductance = sum(1.0 / R for _, R in models if R > 0.0)
        downstream = (Q - given) / conductance if conductance > 0.0 else 0.0
        speed, datum = Q / inlet_area, mean_p0 + downstream
    return Scales(length, speed, problem.density, problem.rheology.viscosity, datum)


def _free_velocity(
    problem: FlowProblem, drop: float, conductance: float, size: tuple[float, float]
) -> float:
    """Velocity that a pressure drop can drive: the least of three bounds."""
    drop, (area, tree_length) = max(abs(drop), 1e-3), size
    resistive = drop * conductance / area
    inertial = math.sqrt(2.0 * drop / problem.density)
    viscous = drop * area / (8.0 * math.pi * problem.rheology.viscosity * tree_length)
    return min(resistive, inertial, viscous)
