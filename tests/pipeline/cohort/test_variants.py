"""Changed copies of a vessel: walls move as told and nowhere else; the anatomy stage finds what was done."""

import json

import numpy as np
import pytest
import yaml

from meshing.errors import InputError
from pipeline.anatomy.types import Centerline
from pipeline.case import SurfaceInput
from pipeline.cohort.design import Design, identifiers, load
from pipeline.cohort.variants import Change, VariantCases, equivalent_radius, moved, projected
from pipeline.run import run

BASE = {
    "name": "base",
    "input": {
        "kind": "phantom",
        "seed": 1,
        "inlet_diameter_mm": 4.2,
        "min_diameter_mm": 1.8,
        "side_branches": 0,
        "stenoses": [
            {"branch": "LAD", "position": 0.45, "diameter_reduction": 0.5, "length_mm": 10}
        ],
    },
}


def line(radius, start=(0.0, 0.0), branch=0, outlet="LAD"):
    """A centreline along z from a place, 60 mm long; ``radius`` of the abscissa."""
    s = np.linspace(0, 60, 241)
    r = np.broadcast_to(radius(s), s.shape).astype(float)
    points = np.column_stack([start[0] + 0 * s, start[1] + 0 * s, s])
    ahead = np.tile([0.0, 0.0, 1.0], (len(s), 1))
    branches = np.broadcast_to(branch, s.shape).astype(np.int32)
    return Centerline(outlet, points, s, r, np.pi * r**2, ahead, branches, np.zeros(len(s), bool))


def wall(one, n=24):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    round_ = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    return (one.points_mm[:, None] + one.radius_mm[:, None, None] * round_).reshape(-1, 3)


def tapered(s):
    return 2.0 - 0.01 * s


@pytest.mark.parametrize(("kind", "sign"), [("narrow", -1), ("widen", 1)])
def test_a_stretch_changes_by_its_cosine(kind, sign):
    one = line(tapered)
    points = wall(one)
    told = moved(points, one, (one,), Change(kind, "LAD", 20.0, 32.0, 0.4))
    radius = np.linalg.norm((told - points[:, [0, 1, 2]] * [0, 0, 1])[:, :2], axis=1)
    z = points[:, 2]
    weight = np.where(np.abs(z - 26) < 6, 0.5 * (1 + np.cos(2 * np.pi * (z - 26) / 12)), 0)
    assert radius == pytest.approx(tapered(z) * (1 + sign * 0.4 * weight), rel=1e-6)
    assert told[:, 2] == pytest.approx(z)


def test_a_stent_opens_to_what_lies_between_the_shoulders():
    def narrowed(s):
        return tapered(s) * (
            1 - 0.5 * np.where(np.abs(s - 30) < 5, np.cos(np.pi * (s - 30) / 10) ** 2, 0)
        )

    one = line(narrowed)
    points = wall(one)
    told = moved(points, one, (one,), Change("stent", "LAD", 24.0, 36.0, lesion="LAD-1"))
    radius = np.linalg.norm(told[:, :2], axis=1)
    assert radius == pytest.approx(tapered(points[:, 2]), rel=1e-3)


def test_other_vessels_stay():
    """A second vessel 5 mm away, whose wall lies within the change's reach along z."""
    one, other = line(tapered), line(tapered, start=(5.0, 0.0), branch=1, outlet="LCx")
    points = np.concatenate([wall(one), wall(other)])
    told = moved(points, one, (one, other), Change("widen", "LAD", 20.0, 32.0, 0.2))
    n = len(points) // 2
    assert (told[n:] == points[n:]).all()
    assert (told[:n] != points[:n]).any()


def test_nearest_places_of_a_bent_line():
    angle = np.linspace(0, np.pi / 2, 60)
    points = 20 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    nothing = np.zeros(60)
    bent = Centerline(
        "LAD", points, s, nothing + 1, nothing + 1, points, nothing.astype(np.int32), nothing > 1
    )
    at = np.radians([10.0, 33.3, 77.0])
    gap, abscissa, centre = projected(22 * np.column_stack([np.cos(at), np.sin(at), 0 * at]), bent)
    assert gap == pytest.approx([2.0] * 3, abs=2e-3)
    assert abscissa == pytest.approx(20 * at, abs=0.02)
    assert np.linalg.norm(centre, axis=1) == pytest.approx([20.0] * 3, abs=2e-3)


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    design = {
        "name": "v",
        "count": 3,
        "seed": 2,
        "vessel": {
            "kind": "variants",
            "case": "base.yaml",
            "diameter_reduction": [0.45, 0.55],
            "length_mm": [8, 12],
        },
    }
    (folder / "design.yaml").write_text(yaml.safe_dump(design))
    told = load(folder / "design.yaml")
    return folder, told, VariantCases(told, folder / "base")


@pytest.mark.slow
def test_pairs_share_conditions_and_resistances(variants):
    _, design, cases = variants
    names = identifiers(design)
    assert names[1::2] == ["v-00000-narrow", "v-00001-widen", "v-00002-stent"]
    for plain, changed in zip(names[::2], names[1::2], strict=True):
        one, other = cases.case(plain), cases.case(changed)
        assert one.input.kind == "phantom"
        assert isinstance(other.input, SurfaceInput)
        assert (
            other.physiology.mean_aortic_pressure_mmHg == one.physiology.mean_aortic_pressure_mmHg
        )
        assert other.blood == one.blood
        given = [o.resistance_mmHg_s_per_mL for o in other.physiology.outlets.values()]
        assert len(given) == 2
        assert all(R is not None and R > 0 for R in given)


@pytest.mark.slow
def test_the_anatomy_finds_what_was_done(variants, tmp_path):
    folder, design, cases = variants
    names = identifiers(design)
    before = json.loads((folder / "base" / "anatomy" / "anatomy.json").read_text())["lesions"]
    assert [round(x["diameter_stenosis"], 1) for x in before] == [0.5]
    found = {}
    for name in (names[1], names[5]):
        run(cases.case(name), tmp_path / name, stop="anatomy")
        told = json.loads((tmp_path / name / "anatomy" / "anatomy.json").read_text())
        found[name] = told["lesions"]
        assert {end["name"] for end in told["ends"]} >= {"LAD", "LCx"}
    change = cases.change(0)
    narrowed = [
        x for x in found[names[1]] if change.start_mm - 3 < x["throat_mm"] < change.end_mm + 3
    ]
    assert any(x["diameter_stenosis"] == pytest.approx(change.amount, abs=0.08) for x in narrowed)
    assert found[names[5]] == []  # the stent's


@pytest.mark.slow
def test_no_lesion_no_stent(tmp_path):
    healthy = {"name": "base", "input": {**BASE["input"], "stenoses": []}}  # type: ignore[dict-item]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(healthy))
    told = Design.model_validate(
        {
            "name": "v",
            "count": 1,
            "vessel": {"kind": "variants", "case": tmp_path / "base.yaml", "changes": ["stent"]},
        }
    )
    with pytest.raises(InputError, match="a lesion to open"):
        VariantCases(told, tmp_path / "base").case("v-00000-stent")


def test_radius_where_there_is_no_section():
    one = line(tapered)
    one.area_mm2[100:110] = np.nan
    assert equivalent_radius(one) == pytest.approx(tapered(one.abscissa_mm))
