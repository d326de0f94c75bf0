"""Rheology models: one file per model, listed once in `Rheology`."""

from typing import Annotated

from pydantic import Field

from solver.rheology.base import RheologyModel
from solver.rheology.carreau_yasuda import CarreauYasuda
from solver.rheology.newtonian import Newtonian

Rheology = Annotated[Newtonian | CarreauYasuda, Field(discriminator="kind")]

__all__ = ["CarreauYasuda", "Newtonian", "Rheology", "RheologyModel"]
