"""Fitted models: they learn what the formulas lack, know how far off they are, and are themselves after reading."""

import json
import sys

import numpy as np
import pytest
import torch

from meshing.errors import InputError
from pipeline.fast import Line, Vessel, find
from pipeline.fast.network import Network
from pipeline.fast.vessel import Calibre
from pipeline.labels.conditions import Conditions
from pipeline.learning.features import NAMES, sampled
from pipeline.learning.fit import Fitting, fit, fitted_spread
from pipeline.learning.model import Learned
from pipeline.learning.network import Corrections, Shape, changes

fitting = sys.modules["pipeline.learning.fit"]
TRUE_EXPANSION = 2.6
POINTS = 301


def vessel(name, rng, scale=1.0, viscosity=3.5e-3):
    """A vessel of one line with one lesion."""
    s = np.linspace(0, 60, POINTS) * scale
    depth, width, at = rng.uniform(0.35, 0.6), rng.uniform(4, 8), rng.uniform(20, 35)
    away = np.abs(s / scale - at)
    weight = np.where(away < width, 0.5 * (1 + np.cos(np.pi * away / width)), 0.0)
    radius = scale * rng.uniform(1.2, 1.7) * (1 - depth * weight)
    lesion = {
        "name": "LAD-1",
        "outlet": "LAD",
        "outlets": ["LAD"],
        "diameter_stenosis": depth,
        "distal_window": {"start_mm": scale * (at + 12), "stop_mm": scale * (at + 14)},
    }
    line = Line(
        np.column_stack([0 * s, 0 * s, s]),
        s,
        radius,
        np.pi * radius**2,
        np.zeros(POINTS, np.int64),
        np.where(weight > 0, 0, -1),
    )
    conditions = Conditions(93.0, None, {"LAD": 40.0}, {"LAD": 5.0}, {}, 1060.0, viscosity)
    calibre = Calibre(3.0, {"LAD": 2.0}, 400.0)
    return Vessel(name, {"LAD": line}, (lesion,), {"LAD": 60.0 * scale}, calibre, conditions)


def answers(one):
    """By a network that loses more in jets than the formulas say."""
    told = Network(expansion=TRUE_EXPANSION).predict(one)
    flow = (told.pressure_mmHg["LAD"][-1] - 5.0) / 40.0
    return {
        "vessels": {"LAD": (told.ffr["LAD"], None)},
        "lesions": {"LAD-1": (told.lesions["LAD-1"], None)},
        "pressure_mmHg": told.pressure_mmHg,
        "flows_mL_per_s": {"LAD": flow},
        "throat_reynolds": {"LAD-1": 500.0},
        "calcium": {},
        "Pa_mmHg": 93.0,
        "group": one.case,
    }


@pytest.fixture
def trees(monkeypatch, tmp_path):
    """A data set of 12 trees, three of them of the split test, read without files."""
    rng = np.random.default_rng(0)
    every = {f"t{k}": vessel(f"t{k}", rng) for k in range(12)}
    rows = [{"case": name, "split": "test" if k > 8 else "train"} for k, name in enumerate(every)]
    told = {name: answers(one) for name, one in every.items()}
    read = []

    def case(path):
        read.append(path.stem)
        return every[path.stem], told[path.stem]

    monkeypatch.setattr(fitting, "read_index", lambda folder: rows)
    monkeypatch.setattr(fitting, "read", case)
    (tmp_path / "index.parquet").write_text("an index")
    return tmp_path, every, told, read


def test_it_learns_what_the_formulas_lack(trees):
    folder, every, told, read = trees
    card = fit(folder, folder / "m.safetensors", Fitting(epochs=60, folds=3, batch=4))
    scores = card["held_out"]
    assert scores["model"]["vessels"]["n"] == 9
    assert scores["model"]["vessels"]["rmse"] < 0.4 * scores["formulas"]["vessels"]["rmse"]
    assert set(read) == {f"t{k}" for k in range(9)}  # the split test is not looked at
    model = find(str(folder / "m.safetensors"))
    assert isinstance(model, Learned)
    for name in ("t9", "t10", "t11"):
        truth = told[name]["vessels"]["LAD"][0]
        one, plain = model.predict(every[name]), Network().predict(every[name])
        assert abs(one.ffr["LAD"] - truth) < 0.6 * abs(plain.ffr["LAD"] - truth)
        assert abs(one.ffr["LAD"] - truth) < 5 * one.std["LAD"]
        flow = (one.pressure_mmHg["LAD"][-1] - 5.0) / 40.0
        assert 0 < flow < (93.0 - 5.0) / 40.0
    assert model.seen == {f"t{k}" for k in range(9)}


def test_the_same_seed_gives_the_same_model_and_a_file_gives_it_back(trees):
    folder, every, _, _ = trees
    how = Fitting(epochs=2, folds=2)
    for name in ("a", "b"):
        fit(folder, folder / f"{name}.safetensors", how)
    a, b = (Learned.load(folder / f"{name}.safetensors") for name in ("a", "b"))
    told = [one.predict(every["t9"]) for one in (a, b, a)]
    assert told[0].ffr == told[1].ffr == told[2].ffr
    assert told[0].std == told[1].std
    assert a.card["fitting"]["epochs"] == 2


def test_untrained_it_is_the_formulas():
    one = vessel("c", np.random.default_rng(3))
    card = {"spread": {"a": 0.0, "b": 0.01}, "data": {"groups": []}}
    told = Learned([Corrections(Shape()).eval()], card).predict(one)
    plain = Network().predict(one)
    assert told.ffr["LAD"] == pytest.approx(plain.ffr["LAD"], abs=1e-6)
    assert told.lesions["LAD-1"] == pytest.approx(plain.lesions["LAD-1"], abs=1e-6)
    assert told.std["LAD"] == pytest.approx(0.01)


def test_a_vessel_twice_as_large_with_the_same_reynolds_number_looks_the_same():
    seen = []
    for scale in (1.0, 2.0):
        one = vessel("c", np.random.default_rng(1), scale=scale)
        seen.append(sampled(one, {"LAD": 1e-6 * scale})["LAD"])
    np.testing.assert_allclose(seen[0].features, seen[1].features, atol=1e-6)
    assert seen[0].features.shape[1] == len(NAMES)
    np.testing.assert_allclose(seen[1].viscous[1:] * 4, seen[0].viscous[1:], rtol=1e-6)  # 1 / D^2
    np.testing.assert_allclose(seen[1].turbulent * 4, seen[0].turbulent, rtol=1e-6)


def test_losses_add_up_to_the_formulas():
    """What is resampled loses what the lines lose."""
    one, flow = vessel("c", np.random.default_rng(2)), 1.5e-6
    seen = sampled(one, {"LAD": flow})["LAD"]
    lost = seen.viscous.sum() + seen.turbulent.sum() + seen.head.sum()
    from pipeline.fast.hydraulics import drops_of
    from pipeline.fast.network import formula

    whole = drops_of(one, {"LAD": formula(one, one.lines["LAD"])}, {"LAD": flow})["LAD"][-1]
    assert lost == pytest.approx(whole, rel=1e-9)


def test_changes_are_bounded():
    told = changes(torch.full((1, 1, 3), 100.0))[0, 0]
    assert told[0] == pytest.approx(np.exp(1.5), rel=1e-6)
    assert told[1] == pytest.approx(np.exp(2.0), rel=1e-6)
    assert (changes(torch.zeros(1, 1, 3))[0, 0] == torch.tensor([1.0, 1.0, 0.0])).all()


def test_the_spread_is_found_again():
    rng = np.random.default_rng(0)
    ffr = rng.uniform(0.5, 1.0, 4000)
    told = fitted_spread(ffr, rng.normal(0, np.hypot(0.004, 0.06 * (1 - ffr))))
    assert told["a"] == pytest.approx(0.06, rel=0.1)
    assert told["b"] == pytest.approx(0.004, rel=0.2)


def test_too_few_trees_and_files_that_are_no_models(trees, monkeypatch, tmp_path):
    folder = trees[0]
    monkeypatch.setattr(
        fitting, "read_index", lambda f: [{"case": f"t{k}", "split": "train"} for k in range(2)]
    )
    with pytest.raises(InputError, match="3 trees or more"):
        fit(folder, folder / "m.safetensors", Fitting(epochs=1))
    bad = tmp_path / "bad.safetensors"
    with pytest.raises(InputError, match="ffr3d fit"):
        find(str(bad))
    bad.write_bytes(b"no model at all")
    with pytest.raises(InputError, match="ffr3d fit"):
        find(str(bad))
    from safetensors.torch import save_file

    save_file(
        {"x": torch.zeros(1)}, bad, {"ffr3d_fast": json.dumps({"version": 99, "features": []})}
    )
    with pytest.raises(InputError, match="version 99"):
        find(str(bad))
