"""The conditions of a case as a model needs them, from the solver's own models of inlet and outlets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from pipeline.physiology.formulas import MMHG, MMHG_S_PER_ML
from solver.inlets import Inlet, PressureInlet
from solver.outlets import Flow, Outlet
from solver.waveform import value

_INLET: TypeAdapter[Any] = TypeAdapter(Inlet)
_OUTLET: TypeAdapter[Any] = TypeAdapter(Outlet)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Means over a beat, where there is one.

    Attributes:
        Pa_mmHg: Aortic pressure; None where the flow in is prescribed.
        Q_in_mL_per_s: Flow in, where it is.
        resistance: Whole resistance behind each outlet [mmHg s/mL]; none of those with a given flow.
        distal_mmHg: Pressure behind them.
        outflow_mL_per_s: Of the outlets whose flow is given.
        density: [kg m^-3].
        viscosity: [Pa s].
    """

    Pa_mmHg: float | None
    Q_in_mL_per_s: float | None
    resistance: Mapping[str, float]
    distal_mmHg: Mapping[str, float]
    outflow_mL_per_s: Mapping[str, float]
    density: float
    viscosity: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Conditions:
        """Of a case's attribute ``conditions``.

        Args:
            told: A `solver.problem.FlowProblem` without its files, as JSON has it.
        """
        inlet = _INLET.validate_python(told["inlet"])
        outlets = {name: _OUTLET.validate_python(one) for name, one in told["outlets"].items()}
        beds = {name: one.steady() for name, one in outlets.items() if not isinstance(one, Flow)}
        given = isinstance(inlet, PressureInlet)
        return cls(
            Pa_mmHg=value(inlet.p, None) / MMHG if given else None,
            Q_in_mL_per_s=None if given else 1e6 * value(inlet.Q, None),
            resistance={name: R / MMHG_S_PER_ML for name, (_, R) in beds.items()},
            distal_mmHg={name: p / MMHG for name, (p, _) in beds.items()},
            outflow_mL_per_s={
                name: 1e6 * value(one.Q, None)
                for name, one in outlets.items()
                if isinstance(one, Flow)
            },
            density=told["density"],
            viscosity=told["rheology"]["viscosity"],
        )
