"""The numbers of ``ffr.json`` as short tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = tuple[str, ...]


def summary_rows(numbers: Mapping[str, Any]) -> list[tuple[str, Row, list[Row]]]:
    """Tables of the vessel ends and of the lesions: title, column heads, rows.

    Args:
        numbers: What `pipeline.ffr.run` wrote to ``ffr.json``.
    """
    reference = numbers["reference"]
    title = f"FFR = p / Pa, Pa {reference['Pa_mmHg']:.1f} mmHg"
    tables: list[tuple[str, Row, list[Row]]] = [
        (title, VESSEL_HEAD, [_vessel(v) for v in numbers["vessels"]])
    ]
    if numbers["lesions"]:
        tables.append(("Lesions", LESION_HEAD, [_lesion(x) for x in numbers["lesions"]]))
    return tables


VESSEL_HEAD = ("vessel end", "FFR", "lowest FFR", "at [mm]", "p [mmHg]", "Q [mL/min]")
LESION_HEAD = ("lesion", "stenosis", "FFR distal", "FFR drop", "drop [mmHg]", "Q [mL/min]")


def _vessel(v: Mapping[str, Any]) -> Row:
    return (
        v["name"],
        f"{v['ffr']:.3f}",
        f"{v['ffr_min']:.3f}",
        f"{v['ffr_min_abscissa_mm']:.1f}",
        f"{v['pressure_mmHg']:.1f}",
        f"{v['flow_mL_per_min']:.1f}",
    )


def _lesion(x: Mapping[str, Any]) -> Row:
    return (
        x["name"],
        f"{x['diameter_stenosis']:.0%}",
        f"{x['ffr_distal']:.3f}",
        f"{x['ffr_drop']:.3f}",
        f"{x['pressure_drop_mmHg']:.1f}",
        f"{x['flow_mL_per_min']:.1f}",
    )
