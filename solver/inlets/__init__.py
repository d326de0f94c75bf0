"""Inlet models: one file per model, listed once in `Inlet`."""

from typing import Annotated

from pydantic import Field

from solver.inlets.flow import FlowInlet
from solver.inlets.pressure import PressureInlet

Inlet = Annotated[FlowInlet | PressureInlet, Field(discriminator="kind")]

__all__ = ["FlowInlet", "Inlet", "PressureInlet"]
