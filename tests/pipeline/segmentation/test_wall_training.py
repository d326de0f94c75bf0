"""Strips of synthetic CT, the wall network's loss, its training and its weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from meshing.errors import InputError
from pipeline.cli import app
from pipeline.segmentation import BUNDLED, BUNDLED_WALLS
from pipeline.segmentation.optimise import Training
from pipeline.segmentation.strips import ACROSS, PIXEL_MM, offsets
from pipeline.segmentation.wall_network import WallDesign, WallModel, build, inputs_of, load, save
from pipeline.segmentation.wall_samples import SECTIONS, WallSource, wall_samples
from pipeline.segmentation.wall_training import (
    Drawn,
    WallPatches,
    WallStream,
    area_error,
    train_walls,
    turned,
    wall_loss,
)

SOURCE = WallSource(cubes=2, scans=2)
STREAM = WallStream(SOURCE, again=2, store=4)
DESIGN = WallDesign(filters=(4, 8, 8))


@pytest.fixture(scope="module")
def drawn():
    samples = wall_samples(SOURCE, np.random.default_rng(5))
    return [next(samples) for _ in range(12)]


def batch_of(*samples):
    return Drawn(*(torch.stack(part) for part in zip(*samples, strict=True)))


def exactly(sample):
    """A sample as it is, not turned and not toned."""
    return Drawn(
        torch.from_numpy(sample.hu.astype(np.float32)),
        torch.tensor(sample.blood_hu, dtype=torch.float32),
        torch.from_numpy(sample.share.astype(np.float32) / 255),
        torch.from_numpy(sample.known),
        torch.from_numpy(sample.own),
    )


def test_blood_is_bright_where_the_lumen_is(drawn):
    inside = np.concatenate([s.hu[(s.share > 250) & s.known] / s.blood_hu for s in drawn])
    outside = np.concatenate([s.hu[(s.share == 0) & s.own] / s.blood_hu for s in drawn])
    assert np.median(inside) > 0.75
    assert np.median(outside) < 0.4
    assert all(s.hu.shape == s.share.shape == (SECTIONS, ACROSS, ACROSS) for s in drawn)


def test_the_vessel_is_in_the_middle_and_its_own(drawn):
    """However far off the middle is, the lumen about it is not, and belongs to the vessel's own blood."""
    at = offsets()
    centre = np.hypot(at[:, None], at) < 2 * PIXEL_MM
    for sample in drawn:
        whole = sample.known.all(axis=(1, 2))
        if whole.sum() > 10:
            near = sample.share[whole][:, centre].max(axis=1)
            assert (near > 0).mean() > 0.9
            mine = sample.share * sample.own
            assert (mine[whole].sum(axis=(1, 2)) > 0).all()


def test_samples_are_the_same_for_the_same_seed(drawn):
    again = next(wall_samples(SOURCE, np.random.default_rng(5)))
    assert (again.hu == drawn[0].hu).all()
    assert (again.share == drawn[0].share).all()


def test_turning_moves_image_and_truth_alike(drawn):
    rng = np.random.default_rng(0)
    for sample in drawn[:4]:
        one = turned(sample, rng)
        assert one.share.sum() == pytest.approx(sample.share.sum() / 255, rel=1e-4)
        tones = np.polyfit(
            np.sort(sample.hu.ravel()).astype(float), np.sort(one.hu.numpy().ravel()), 1
        )
        back = (one.hu.numpy() - tones[1]) / tones[0]
        bright = one.share.numpy() > 0.99
        assert back[bright].mean() == pytest.approx(sample.hu[sample.share > 252].mean(), abs=3)


def test_areas_are_compared_by_their_ratio():
    own = torch.ones(1, 4, ACROSS, ACROSS, dtype=torch.bool)
    share = torch.zeros(1, 4, ACROSS, ACROSS)
    share[:, :, 8:16, 8:16] = 1.0
    known = torch.ones_like(own)
    batch = Drawn(torch.zeros_like(share), torch.tensor([400.0]), share, known, own)
    assert area_error(share, batch) == 0
    spread = torch.full_like(share, 64 / ACROSS**2)  # the same area, nowhere sure
    assert float(area_error(spread, batch)) == pytest.approx(0, abs=1e-6)
    half = float(area_error(0.5 * share, batch))
    area = 64 * PIXEL_MM**2
    assert half == pytest.approx(np.log((area + 0.12) / (area / 2 + 0.12)) - 0.05, rel=1e-3)
    known[0, :2, 0, 0] = False  # a section is told whole or not at all
    wrong = share.clone()
    wrong[:, :2] = 0
    assert area_error(wrong, batch) == 0


def test_the_loss_is_least_at_the_truth(drawn):
    batch = batch_of(*(exactly(s) for s in drawn[:4]))
    sure = torch.logit(batch.share.clamp(1e-3, 1 - 1e-3))
    best = wall_loss(sure, batch)
    for worse in (sure - 1.0, sure + 1.0, 0.3 * sure, sure.roll(2, dims=2)):
        assert wall_loss(worse, batch) > best + 0.01
    unknown = sure.clone()
    unknown[~batch.known] = 7.0
    assert wall_loss(unknown, batch) == pytest.approx(float(best), abs=1e-5)


def test_inputs_are_in_units_of_the_blood():
    hu = torch.full((2, 3, ACROSS, ACROSS), 460.0)
    seen = inputs_of(hu, torch.tensor([460.0, 860.0]))
    assert seen.shape == (2, 3, 3, ACROSS, ACROSS)
    assert seen[0, 0].unique() == pytest.approx(1.0)
    assert seen[1, 0].unique() == pytest.approx(0.5)
    assert seen[0, 2, 0, ACROSS // 2, ACROSS // 2] > 0.95 > 0.1 > seen[0, 2, 0, 0, 0]


def test_a_killed_training_goes_on(tmp_path):
    how = Training(steps=3, batch=2, workers=0, save_every=1, rate=1e-3)
    train_walls(tmp_path / "a", replace(how, steps=2), STREAM, design=DESIGN)
    model = train_walls(tmp_path / "a", how, STREAM, design=DESIGN)
    assert model.card["done"]["steps"] == 3
    assert len((tmp_path / "a" / "training.csv").read_text().splitlines()) == 3
    kept = load(tmp_path / "a" / "walls.safetensors")
    assert kept.design == DESIGN
    for (name, one), (_, other) in zip(
        kept.network.state_dict().items(), model.network.state_dict().items(), strict=True
    ):
        assert torch.allclose(one, other, atol=2e-3), name
    begun = train_walls(tmp_path / "b", replace(how, steps=1, rate=1e-9), STREAM, begin=kept)
    assert begun.design == DESIGN
    assert begun.card["begun_with"]["done"]["steps"] == 3


def test_the_command_line_begins_with_a_model(tmp_path):
    save(WallModel(build(DESIGN), DESIGN, {"data": "none"}), tmp_path / "w.safetensors")
    command = ["train-walls", "-o", tmp_path / "out", "--begin", tmp_path / "w.safetensors"]
    small = ["--steps", 1, "--batch", 1, "--workers", 0]
    done = CliRunner().invoke(app, [str(x) for x in (*command, *small)])
    assert done.exit_code == 0, done.output
    assert load(tmp_path / "out" / "walls.safetensors").design == DESIGN


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"ffr3d train-walls.*format 'ffr3d-segmentation-2'"):
        load(BUNDLED)


def test_a_stream_draws_old_samples_again():
    samples = iter(WallPatches(STREAM, seed=3))
    shares = [next(samples).share.sum().item() for _ in range(8)]
    assert len({round(s, 1) for s in shares}) < 8


@pytest.mark.slow
def test_the_bundled_weights_know_areas_of_scenes_they_never_saw():
    """Sections of 24 strips of other seeds, half of them at throats."""
    assert BUNDLED_WALLS.stat().st_size <= 1e6
    model = load(BUNDLED_WALLS)
    assert model.card["data"]
    assert model.card["done"]["steps"] > 0
    samples = wall_samples(
        WallSource(first_seed=900_000, cubes=3, scans=2), np.random.default_rng(1)
    )
    off = []
    for _ in range(24):
        one = exactly(next(samples))
        with torch.inference_mode():
            seen = inputs_of(one.hu[None], one.blood_hu[None])
            p = torch.sigmoid(model.network(seen)[0, 0])
        there, found = ((v * one.own).sum(dim=(1, 2)) * PIXEL_MM**2 for v in (one.share, p))
        counts = (one.known | ~one.own).flatten(1).all(dim=1) & (there > 0.5)
        off.append(torch.log(found / there)[counts])
    error = torch.cat(off)
    assert len(error) > 500
    assert error.abs().median() < 0.08  # of the area: 4 per cent of the radius
    assert abs(float(error.median())) < 0.04
