"""Fitting: networks along centrelines that correct the losses of the formulas, scored on trees they have not seen.

The trees of train and validation are dealt into folds; each member of the ensemble is fitted without one of them and
scored on it, from its own flows as in use. The spread is fitted to those errors. The split test is not looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from meshing.errors import ComputationError, InputError
from pipeline import manifest
from pipeline.compare.pairs import Row, pairs
from pipeline.compare.statistics import agreement
from pipeline.fast.hydraulics import before, told
from pipeline.fast.network import Network
from pipeline.fast.vessel import Vessel, read
from pipeline.labels.write import INDEX, read_index
from pipeline.learning.features import Sampled, sampled
from pipeline.learning.model import curves_of
from pipeline.learning.network import Corrections, Shape, changes, save
from pipeline.physiology.formulas import MMHG

log = logging.getLogger("ffr3d")
USED = ("train", "validation")
LEAST_TREES = 3
_SMOOTH = 0.005  # of FFR: beyond this, differences count by their magnitude
_QUIET = 1e-4  # how much a change of the formulas weighs against a squared FFR of `_SMOOTH`
Array = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How.

    Attributes:
        epochs: Through all lines.
        folds: And members of the ensemble.
        batch: Lines a step.
        rate: Largest learning rate (AdamW, falling as a cosine).
        shape: Of the networks.
        seed: Of folds, weights, order.
    """

    epochs: int = 150
    folds: int = 5
    batch: int = 16
    rate: float = 3e-3
    shape: Shape = Shape()  # noqa: RUF009 - frozen
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A case with its answers; under the reference's flows its lines, FFR at their points, what is lost before them."""

    vessel: Vessel
    answers: dict[str, Any]
    lines: tuple[Sampled, ...]
    ffr: tuple[Array, ...]
    start_Pa: float


def fit(
    dataset: Path, target: Path, how: Fitting, progress: Progress | None = None
) -> dict[str, Any]:
    """Fit an ensemble to a data set.

    Args:
        dataset: Its folder.
        target: The model's file, ``.safetensors``.
        how: How.
        progress: Told the member and how many there are, as each is done.

    Returns:
        The model's card: data, settings, held-out scores of model and formulas, spread.

    Raises:
        InputError: No data set; too few trees in it.
    """
    began = time.monotonic()
    cases = _cases(dataset)
    groups = sorted({case.answers["group"] for case in cases})
    if len(groups) < LEAST_TREES:
        raise InputError(
            file=dataset,
            wanted=f"{LEAST_TREES} trees or more in {' and '.join(USED)}",
            got=str(len(groups)),
            remedy="make a longer cohort, or give these splits a larger share",
        )
    order = np.random.default_rng(how.seed).permutation(len(groups))
    fold_of = {groups[k]: i % min(how.folds, len(groups)) for i, k in enumerate(order)}
    members, held_out = list[Corrections](), list[Row]()
    for fold in range(min(how.folds, len(groups))):
        out = [case for case in cases if fold_of[case.answers["group"]] == fold]
        rest = [case for case in cases if fold_of[case.answers["group"]] != fold]
        members.append(_member(rest, how, how.seed + fold))
        held_out += _scored(out, members[-1])
        if progress is not None:
            progress(fold + 1, min(how.folds, len(groups)))
    card = {
        "data": {
            "index_sha256": manifest.sha256(dataset / INDEX),
            "cases": len(cases),
            "trees": len(groups),
            "splits": USED,
            "groups": groups,
        },
        "fitting": asdict(how),
        "held_out": {"model": _told(held_out), "formulas": _told(_formulas(cases))},
        "spread": fitted_spread(
            np.array([row.other for row in held_out]),
            np.array([row.difference for row in held_out]),
        ),
        "versions": manifest.versions(),
        "seconds": round(time.monotonic() - began, 1),
    }
    save(members, how.shape, card, target)
    return card


def _cases(dataset: Path) -> list[_Case]:
    found = []
    for row in read_index(dataset):
        if row["split"] not in USED:
            continue
        vessel, answers = read(dataset / "cases" / f"{row['case']}.h5")
        if vessel.conditions.outflow_mL_per_s:
            log.info("fit      %s is left out: flows through its outlets are given", vessel.case)
            continue
        flows = {name: 1e-6 * q for name, q in answers["flows_mL_per_s"].items()}
        lines = sampled(vessel, flows)
        ffr = [
            np.interp(
                one.abscissa_mm, vessel.lines[name].abscissa_mm, answers["pressure_mmHg"][name]
            )
            / answers["Pa_mmHg"]
            for name, one in lines.items()
        ]
        lost = before(vessel) * sum(flows.values())
        found.append(_Case(vessel, answers, tuple(lines.values()), tuple(ffr), lost))
    return found


class _Lines:
    """Lines of several cases as padded tensors; losses over the aortic pressure."""

    def __init__(self, cases: Sequence[_Case]) -> None:
        every = [
            (one, ffr, case.answers["Pa_mmHg"] * MMHG, case.start_Pa)
            for case in cases
            for one, ffr in zip(case.lines, case.ffr, strict=True)
        ]
        longest = max(len(ffr) for _, ffr, _, _ in every)

        def padded(values: list[Array]) -> torch.Tensor:
            out = np.zeros((len(values), longest, *values[0].shape[1:]), np.float32)
            for row, value in zip(out, values, strict=True):
                row[: len(value)] = value
            return torch.from_numpy(out)

        self.features = padded([one.features for one, _, _, _ in every])
        self.parts = padded(
            [np.column_stack([x.viscous, x.turbulent, x.local]) / p for x, _, p, _ in every]
        )
        self.fixed = padded([(start + np.cumsum(one.head)) / p for one, _, p, start in every])
        self.ffr = padded([ffr for _, ffr, _, _ in every])
        self.inside = padded([np.ones(len(ffr)) for _, ffr, _, _ in every])
        flat = self.features[self.inside > 0]
        self.mean, self.scale = flat.mean(0), flat.std(0).clamp(min=1e-3)

    def __len__(self) -> int:
        return len(self.ffr)

    def loss(self, member: Corrections, chosen: torch.Tensor) -> torch.Tensor:
        """Differences of FFR along lines, each line the same weight, and what the changes weigh."""
        raw = member(self.features[chosen])
        lost = (self.parts[chosen] * changes(raw)).sum(-1).cumsum(1)
        off = (1.0 - lost - self.fixed[chosen] - self.ffr[chosen]) / _SMOOTH
        inside = self.inside[chosen]
        off = torch.nn.functional.smooth_l1_loss(off, torch.zeros_like(off), reduction="none")
        quiet = _QUIET * (raw**2).sum(-1)
        by_line = ((off + quiet) * inside).sum(1) / inside.sum(1)
        return torch.mean(by_line)


def _member(cases: Sequence[_Case], how: Fitting, seed: int) -> Corrections:
    torch.manual_seed(seed)
    lines, member = _Lines(cases), Corrections(how.shape)
    member.mean.copy_(lines.mean)
    member.scale.copy_(lines.scale)
    optimiser = torch.optim.AdamW(member.parameters(), lr=how.rate, weight_decay=1e-2)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.epochs, 0.01 * how.rate)
    for _ in range(how.epochs):
        for chosen in torch.randperm(len(lines)).split(how.batch):
            optimiser.zero_grad(set_to_none=True)
            lines.loss(member, chosen).backward()
            torch.nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimiser.step()
        course.step()
    return member.eval()


def _scored(cases: Sequence[_Case], member: Corrections) -> list[Row]:
    """Pairs of cases that a member has not seen."""
    found = list[Row]()
    for case in cases:
        try:
            prediction = told(case.vessel, curves_of(member, case.vessel), 0.0)
        except ComputationError as error:
            log.info("fit      %s", error)
            continue
        found += pairs(case.vessel, case.answers, prediction)
    return found


def _formulas(cases: Sequence[_Case]) -> list[Row]:
    network, found = Network(), list[Row]()
    for case in cases:
        found += pairs(case.vessel, case.answers, network.predict(case.vessel))
    return found


def _told(rows: Sequence[Row]) -> dict[str, Any]:
    told_by_kind = {}
    for kind in ("vessel", "lesion"):
        chosen = [row for row in rows if row.kind == kind]
        a, b = (np.array([getattr(row, name) for row in chosen]) for name in ("reference", "other"))
        told_by_kind[f"{kind}s"] = agreement(a, b, [row.group for row in chosen])
    return told_by_kind


def fitted_spread(ffr: Array, difference: Array) -> dict[str, float]:
    r"""The $a$ and $b$ of $\sigma^2 = b^2 + (a (1 - FFR))^2$ under which the differences are likeliest.

    Args:
        ffr: Of the model, ``(n,)``.
        difference: Model less reference.
    """

    def unlikely(x: Array) -> float:
        var = np.exp(2 * x[0]) + np.exp(2 * x[1]) * (1.0 - ffr) ** 2
        return float(np.mean(np.log(var) + difference**2 / var))

    level = max(float(np.sqrt(np.mean(difference**2))), 1e-4)
    found = minimize(
        unlikely,
        np.log([level, 0.1]),
        method="L-BFGS-B",
        bounds=[(np.log(1e-3), 0.0), (np.log(1e-3), 1.0)],
    )
    b, a = np.exp(found.x)
    return {"a": float(a), "b": float(b)}
