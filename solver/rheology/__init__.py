"""Rheology models: one file per model, listed once in `Rheology`."""

from solver.rheology.newtonian import Newtonian

Rheology = Newtonian  # a union, discriminated by kind, from two on

__all__ = ["Newtonian", "Rheology"]
