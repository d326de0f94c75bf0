r"""What a model does, and what its conditions do: the two told apart.

With the reference's FFR $r$, the model's under the reference's conditions $m$, and under its own $o$,

$$ o - r = (m - r) + (o - m) $$

is the model's error and what its own conditions add to it: a comparison of $o$ with $r$ alone mixes them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compare.pairs import Row
from pipeline.compare.statistics import agreement

PARTS = ("model", "conditions", "both")


def separated(same: Sequence[Row], own: Sequence[Row]) -> dict[str, Any]:
    """Agreement of each step, for vessel ends and lesions.

    Args:
        same: Pairs under the reference's conditions.
        own: Under the model's own.

    Returns:
        ``vessels`` and ``lesions``: for ``model`` (m against r), ``conditions`` (o against m) and ``both`` (o against
        r) what `pipeline.compare.statistics.agreement` tells, and ``conditions_share``: that of the mean square of
        o - r which is left when the model's own error is taken from it; negative where the two cancel.
    """
    told: dict[str, Any] = {}
    others = {(row.case, row.kind, row.name): row for row in own}
    for kind in ("vessel", "lesion"):
        joined = [
            (row, others[row.case, kind, row.name])
            for row in same
            if row.kind == kind and (row.case, kind, row.name) in others
        ]
        told[f"{kind}s"] = _parts(joined)
    return told


def _parts(joined: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    groups = [row.group for row, _ in joined]
    r, m, o = (
        np.array(values)
        for values in (
            [row.reference for row, _ in joined],
            [row.other for row, _ in joined],
            [row.other for _, row in joined],
        )
    )
    told: dict[str, Any] = {
        name: agreement(a, b, groups)
        for name, a, b in zip(PARTS, (r, m, r), (m, o, o), strict=True)
    }
    whole = float(((o - r) ** 2).mean()) if len(joined) else 0.0
    told["conditions_share"] = 1.0 - float(((m - r) ** 2).mean()) / whole if whole > 0 else None
    return told
