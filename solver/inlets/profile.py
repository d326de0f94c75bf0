"""Prescribed velocity, point by point.

The file holds velocities at the inlet's nodes (`solver.io.profile`); between them they are interpolated with the degree
of the mesh's geometry. Where the inlet meets the wall they are zero, whatever the file says.

Configuration::

    inlet: {kind: profile, file: profile.h5}
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from solver.inlets.base import InletModel


class ProfileInlet(InletModel):
    """Velocity over the inlet."""

    kind: Literal["profile"] = "profile"
    file: Path = Field(description="profile.h5; relative to the problem file")
