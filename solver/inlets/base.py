"""What every inlet model must say."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class InletModel(BaseModel):
    """How the flow enters.

    Attributes:
        prescribes_flow: The flow rate is given; else it is part of the solution.
    """

    prescribes_flow: ClassVar[bool] = True
    model_config = ConfigDict(frozen=True, extra="forbid")
