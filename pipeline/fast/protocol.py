"""What a fast model is, and where models are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.fast.vessel import Vessel
from pipeline.labels.conditions import Conditions

GROUP = "ffr3d.fast_models"
FITTED = ".safetensors"
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of a vessel.

    Attributes:
        pressure_mmHg: Along each line, at its points; empty where a model tells none.
        ffr: At each vessel end.
        lesions: Distal of each lesion.
        seconds: Wall time it took.
        std: Standard deviation of ``ffr``, where a model knows it.
    """

    ffr: Mapping[str, float]
    lesions: Mapping[str, float] = field(default_factory=dict)
    pressure_mmHg: Mapping[str, Array] = field(default_factory=dict)
    seconds: float = 0.0
    std: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class FastModel(Protocol):
    """A fast model."""

    name: str

    def predict(self, vessel: Vessel) -> Prediction:
        """Pressures and FFR of a vessel."""
        ...


@runtime_checkable
class OwnConditions(FastModel, Protocol):
    """A fast model that, used alone, takes conditions of its own (`pipeline.fast.assumed`)."""

    def conditions(self, vessel: Vessel) -> Conditions:
        """What it assumes of a vessel, whatever `Vessel.conditions` says."""
        ...


@runtime_checkable
class Fitted(FastModel, Protocol):
    """A fast model that was fitted to labels and says to which."""

    seen: frozenset[str]
    """Groups (trees, patients) of a data set: what it tells of them is no test."""


def find(name: str) -> FastModel:
    """A model by its name: built in, fitted (a file), or an entry point of another package.

    Raises:
        InputError: There is none of that name.
    """
    from pipeline.fast.network import Network

    if name.endswith(FITTED):
        from pipeline.learning.model import Learned

        return Learned.load(Path(name))

    if name == Network.name:
        return Network()
    others = {one.name: one for one in metadata.entry_points(group=GROUP)}
    if name not in others:
        raise InputError(
            field="model",
            wanted=f"one of {', '.join(sorted([Network.name, *others]))}, or a fitted model (NAME{FITTED})",
            got=name,
            remedy=f"install the package that has it (entry point of the group {GROUP})",
        )
    made = others[name].load()()
    if not isinstance(made, FastModel):
        raise InputError(
            field="model",
            wanted="an object with a name and predict(vessel)",
            got=f"{type(made).__name__} of the entry point {name}",
            remedy="see pipeline.fast",
        )
    return made
