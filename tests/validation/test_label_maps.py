"""A phantom through label maps against its exact surface, at the same boundary conditions (`make verify`)."""

import pytest

pytestmark = [pytest.mark.verify, pytest.mark.timeout(7200)]

TREE = {
    "kind": "phantom",
    "tree": "left",
    "seed": 1,
    "inlet_diameter_mm": 4.2,
    "min_diameter_mm": 1.8,
    "side_branches": 1,
    "stenoses": [
        {"branch": "LAD", "position": 0.35, "diameter_reduction": 0.60, "length_mm": 10},
        {"branch": "LCx", "position": 0.4, "diameter_reduction": 0.45, "length_mm": 8},
    ],
}


@pytest.fixture
def compared(ffr3d):
    """FFR errors at every vessel end, by voxel size, and their table."""
    exact = ffr3d({"name": "exact", "input": TREE}, "exact")
    outlets = {
        v["name"]: {"resistance_mmHg_s_per_mL": v["outlet_resistance_mmHg_s_per_mL"]}
        for v in exact.ffr["vessels"]
    }
    errors = {}
    for voxel in (0.3, 0.4, 0.5):
        case = {
            "name": "labels",
            "input": {**TREE, "voxel_mm": voxel},
            "physiology": {"outlets": outlets},
        }
        run = ffr3d(case, f"labels-{voxel}")
        run.check_conservation()
        errors[voxel] = {n: v["ffr"] - exact.vessels[n]["ffr"] for n, v in run.vessels.items()}
    return exact, errors


def test_ffr_through_labels(compared):
    exact, errors = compared
    for voxel, by_name in errors.items():
        print(voxel, {n: round(e, 4) for n, e in by_name.items()})  # noqa: T201 - the table of `make verify`
    assert max(v["ffr"] for v in exact.ffr["vessels"]) < 1.0
    assert max(abs(e) for e in errors[0.4].values()) < 0.02
