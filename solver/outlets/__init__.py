"""0D outlet models: one file per model, listed once in `Outlet`."""

from solver.outlets.base import OutletModel
from solver.outlets.resistance import Resistance

Outlet = Resistance  # a union, discriminated by kind, from two on

__all__ = ["Outlet", "OutletModel", "Resistance"]
