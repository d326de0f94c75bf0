r"""A fitted model as a fast model: the network of `pipeline.fast` with losses as an ensemble corrects them.

Each member tells factors of the viscous and turbulent losses and a local loss along every line; the flows are those at
which every outlet meets its resistance, found again until they agree with those the member saw. FFR is the members'
mean. The spread $\sigma^2 = b^2 + (a\,(1 - FFR))^2$ is fitted to trees the members had not seen, and is never less than
what the members differ by.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from pipeline.fast.hydraulics import branch_flows, flows_of, pressures, told
from pipeline.fast.network import formula
from pipeline.fast.protocol import Prediction
from pipeline.fast.vessel import Vessel
from pipeline.learning.features import corrected, sampled
from pipeline.learning.network import Corrections, changes, load

Array = npt.NDArray[np.float64]
_ROUNDS, _SAME = 6, 1e-4  # of the largest flow


class Learned:
    """The fast model.

    Attributes:
        name: For reports.
        members: The ensemble.
        card: What it was fitted to, and how well.
        seen: Groups (trees, patients) that it was fitted to.
    """

    name = "learned"

    def __init__(self, members: Sequence[Corrections], card: Mapping[str, Any]) -> None:
        self.members, self.card = members, card
        self.seen: frozenset[str] = frozenset(card["data"]["groups"])

    @classmethod
    def load(cls, path: Path) -> Self:
        """From a file of `ffr3d fit`.

        Raises:
            InputError: It is none.
        """
        members, card = load(path)
        return cls(members, card)

    def predict(self, vessel: Vessel) -> Prediction:
        """Pressures, FFR and their spread.

        Raises:
            ComputationError: No flow meets all outlets, or flows through outlets are given.
        """
        began = time.perf_counter()
        found = [told(vessel, curves_of(member, vessel), 0.0) for member in self.members]
        curves = {
            name: np.mean([one.pressure_mmHg[name] for one in found], axis=0)
            for name in vessel.lines
        }
        mean = told(vessel, curves, 0.0)
        std = {
            name: max(spread(ffr, self.card["spread"]), float(np.std(values)))
            for kind in ("ffr", "lesions")
            for name, ffr in getattr(mean, kind).items()
            for values in [[getattr(one, kind)[name] for one in found]]
        }
        return replace(mean, std=std, seconds=time.perf_counter() - began)


def spread(ffr: float, told: Mapping[str, float]) -> float:
    """Standard deviation of an FFR."""
    return float(np.hypot(told["b"], told["a"] * (1.0 - ffr)))


def curves_of(member: Corrections, vessel: Vessel) -> dict[str, Array]:
    """Pressures along the lines [mmHg] as one member says.

    Args:
        member: A network.
        vessel: The case.

    Raises:
        ComputationError: No flow meets all outlets, or flows through outlets are given.
    """
    by_formula = {name: formula(vessel, line) for name, line in vessel.lines.items()}
    flows, losses = flows_of(vessel, by_formula), by_formula
    for _ in range(_ROUNDS):
        seen, through = sampled(vessel, flows), branch_flows(vessel, flows)
        losses = {
            name: corrected(
                line,
                by_formula[name],
                seen[name],
                _changes(member, seen[name].features),
                np.array([through[int(b)] for b in line.branch]),
            )
            for name, line in vessel.lines.items()
        }
        before, flows = flows, flows_of(vessel, losses)
        off = max(abs(flows[name] - before[name]) for name in flows)
        if off <= _SAME * max(abs(q) for q in flows.values()):
            break
    return pressures(vessel, losses, flows)


def _changes(member: Corrections, features: Array) -> Array:
    with torch.no_grad():
        raw = member(torch.from_numpy(features.astype(np.float32))[None])
        return np.asarray(changes(raw)[0].numpy(), np.float64)
