"""0D outlet models: one file per model, listed once in `Outlet`."""

from typing import Annotated

from pydantic import Field

from solver.outlets.base import OutletModel
from solver.outlets.do_nothing import DoNothing
from solver.outlets.pressure import Pressure
from solver.outlets.resistance import Resistance

Outlet = Annotated[Resistance | Pressure | DoNothing, Field(discriminator="kind")]

__all__ = ["DoNothing", "Outlet", "OutletModel", "Pressure", "Resistance"]
