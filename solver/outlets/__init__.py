"""0D outlet models: one file per model, listed once in `Outlet`."""

from typing import Annotated

from pydantic import Field

from solver.outlets.base import Circuit, OutletModel
from solver.outlets.coronary import Coronary
from solver.outlets.do_nothing import DoNothing
from solver.outlets.flow import Flow
from solver.outlets.pressure import Pressure
from solver.outlets.resistance import Resistance
from solver.outlets.windkessel import Windkessel

Outlet = Annotated[
    Resistance | Windkessel | Coronary | Pressure | Flow | DoNothing, Field(discriminator="kind")
]

__all__ = [
    "Circuit",
    "Coronary",
    "DoNothing",
    "Flow",
    "Outlet",
    "OutletModel",
    "Pressure",
    "Resistance",
    "Windkessel",
]
