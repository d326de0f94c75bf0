"""Verdicts: a good result passes, each fault is found by its own row."""

import copy
import math
from typing import Any

import numpy as np
import pytest

from pipeline.certificate.flow import reversed_share
from pipeline.certificate.rows import at_least, at_most, rows, worst

GOOD: dict[str, Any] = {
    "evidence": {
        "solver": {
            "status": "converged",
            "residual": 1e-9,
            "tolerance": 1e-8,
            "mass_balance": 1e-12,
        },
        "mesh": {
            "quality": {
                "min_dihedral_deg": 12.0,
                "min_scaled_jacobian": 0.2,
                "volume_error": -0.01,
                "rungs": [{"outcome": "used"}],
            }
        },
        "section_flow_mismatch": {"median": 1e-3},
    },
    "vessels": [
        {
            "name": "LAD",
            "ffr": 0.8,
            "outlet_line_error_mmHg": 1e-9,
            "outlet_pressure_mmHg": 70.0,
            "outlet_flow_error": None,
        }
    ],
    "lesions": [{"ffr_distal": 0.82, "throat_reynolds": 600.0, "elements_across_throat": 6.2}],
    "inlet": {"diameter_mm": 4.0},
    "reference": {"Pa_mmHg": 93.0, "ffr_at_anatomical_inlet": 0.999},
}
FLOW = {"peak_m_per_s": 2.0, "reversed_area": 0.0, "reynolds": 300.0, "residual_decades": 8.0}


def changed(path, value):
    told = copy.deepcopy(GOOD)
    *way, last = path
    place: Any = told
    for key in way:
        place = place[key]
    place[last] = value
    return told


def test_a_good_result_passes():
    found = rows(GOOD, FLOW, 0.004)
    assert worst(found) == "PASS"
    assert all(row.value is not None for row in found)


@pytest.mark.parametrize(
    ("path", "value", "verdict", "check"),
    [
        (("evidence", "solver", "status"), "extrapolated", "WARN", "state of the flow"),
        (("evidence", "solver", "status"), "of a new kind", "FAIL", "state of the flow"),
        (("evidence", "solver", "mass_balance"), 1e-3, "FAIL", "mass balance"),
        (("evidence", "solver", "residual"), 1e-7, "WARN", "nonlinear residual"),
        (("evidence", "mesh", "quality", "min_dihedral_deg"), 1.0, "WARN", "dihedral"),
        (("evidence", "mesh", "quality", "min_scaled_jacobian"), -0.1, "FAIL", "Jacobian"),
        (("evidence", "mesh", "quality", "volume_error"), -0.1, "WARN", "volume"),
        (("evidence", "section_flow_mismatch", "median"), 0.3, "FAIL", "cross-sections"),
        (("vessels", 0, "ffr"), 1.2, "FAIL", "largest FFR"),
        (("vessels", 0, "ffr"), -0.2, "FAIL", "least FFR"),
        (("vessels", 0, "outlet_line_error_mmHg"), 1e-3, "WARN", "off its model"),
        (("vessels", 0, "outlet_flow_error"), 0.05, "WARN", "flow given"),
        (("lesions", 0, "throat_reynolds"), 5000.0, "FAIL", "Reynolds"),
        (("lesions", 0, "elements_across_throat"), 3.0, "WARN", "across a throat"),
        (("lesions", 0, "elements_across_throat"), None, "WARN", "across a throat"),
        (("inlet", "diameter_mm"), 0.004, "FAIL", "diameter of the inlet"),  # metres
        (("reference", "Pa_mmHg"), 12_400.0, "FAIL", "aortic pressure"),  # pascal
        (("reference", "ffr_at_anatomical_inlet"), 0.9, "WARN", "anatomical inlet"),
        (("vessels", 0, "ffr"), math.nan, "FAIL", "FFR"),
        (("lesions", 0, "ffr_distal"), math.nan, "FAIL", "FFR"),
    ],
)
def test_each_fault_is_found(path, value, verdict, check):
    found = [row for row in rows(changed(path, value), FLOW, 0.004) if row.verdict != "PASS"]
    assert worst(found) == verdict
    assert any(check in row.check for row in found)
    assert all(row.check in row.reason for row in found)


@pytest.mark.parametrize(
    ("key", "value"), [("peak_m_per_s", 300.0), ("reversed_area", 0.7), ("residual_decades", -1.0)]
)
def test_insane_flows_fail(key, value):
    assert worst(rows(GOOD, FLOW | {key: value}, 0.004)) == "FAIL"


@pytest.mark.parametrize(("error", "verdict"), [(0.03, "WARN"), (0.2, "FAIL"), (None, "WARN")])
def test_discretisation_errors(error, verdict):
    assert worst(rows(GOOD, FLOW, error)) == verdict


def test_limits():
    assert [at_most("x", v, 1.0, 2.0).verdict for v in (1.0, 1.5, 2.5, math.nan, None)] == [
        "PASS",
        "WARN",
        "FAIL",
        "FAIL",
        "WARN",
    ]
    assert [at_least("x", v, 2.0, 1.0).verdict for v in (2.0, 1.5, 0.5)] == ["PASS", "WARN", "FAIL"]


@pytest.mark.parametrize("flip", [False, True])
def test_reversed_area(flip):
    """A square of four triangles, one of which has flow the wrong way; orientations are mixed."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 0]], float)
    facets = np.array([[0, 1, 4], [2, 1, 4], [2, 3, 4], [3, 0, 4]])
    u = np.zeros((5, 3))
    u[:, 2] = [-3.0, -3.0, 2.0, 2.0, 2.0]  # the first triangle's mean is negative
    u[:, 2] += 0.5
    share = reversed_share(points, facets, -u if flip else u)
    assert share == pytest.approx(0.25)
    wide = np.column_stack(
        [facets, facets[:, [0, 1, 0]]]
    )  # straight quadratic: nodes do not matter
    assert reversed_share(points, wide, np.ones((5, 3))) == 0.0
