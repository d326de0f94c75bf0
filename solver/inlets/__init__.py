"""Inlet models: one file per model, listed once in `Inlet`."""

from typing import Annotated

from pydantic import Field

from solver.inlets.base import InletModel
from solver.inlets.flow import FlowInlet
from solver.inlets.pressure import PressureInlet
from solver.inlets.profile import ProfileInlet

Inlet = Annotated[FlowInlet | PressureInlet | ProfileInlet, Field(discriminator="kind")]

__all__ = ["FlowInlet", "Inlet", "InletModel", "PressureInlet", "ProfileInlet"]
