"""Patches from synthetic CT, and a training that goes on where it was killed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.segmentation.losses import segmentation_loss
from pipeline.segmentation.network import Design, load
from pipeline.segmentation.patches import Patches, Stream, moved, stepped
from pipeline.segmentation.training import Data, Training, train

DESIGN = Design(filters=(4, 8, 8))
STREAM = Stream(edge=16, patches=2, again=2, store=3)


def test_samples_are_inputs_and_shares():
    samples = iter(Patches(DESIGN, STREAM))
    drawn = [next(samples) for _ in range(5)]
    for image, shares in drawn:
        assert image.shape == (1, 16, 16, 16)
        assert shares.shape == (5, 16, 16, 16)
        assert image.abs().max() <= 2.0
        assert shares.min() >= 0
        assert shares.sum(dim=0).max() <= 1 + 1e-5  # no voxel holds more than itself
    assert any(shares[0].max() > 0.9 for _, shares in drawn)
    again = next(iter(Patches(DESIGN, STREAM)))
    assert torch.equal(drawn[0][0], again[0])


def test_blood_is_bright_where_the_shares_say():
    samples = iter(Patches(DESIGN, replace(STREAM, edge=32)))
    inside, outside = [], []
    for _ in range(14):
        image, shares = next(samples)
        inside.append(image[0][shares[0] > 0.99])
        outside.append(image[0][shares.sum(dim=0) < 0.01])
    assert torch.cat(inside).median() > 0.5 + torch.cat(outside).median()


def test_motion_blurs_about_where_it_is():
    """A bright ball moved along x: wider that way, no darker in all, its middle where it was."""
    index = np.indices((40, 40, 40)).astype(np.float32)
    ball = (np.linalg.norm(index - 20.0, axis=0) < 5).astype(np.float32)
    seen = moved(ball, np.array([4.0, 0.0, 0.0]), np.random.default_rng(0))
    assert seen.sum() == pytest.approx(ball.sum(), rel=1e-3)
    spread = [float(np.sqrt((seen * (x - 20) ** 2).sum() / seen.sum())) for x in index]
    assert spread[0] > 1.1 * spread[1]
    assert (seen * index[0]).sum() / seen.sum() == pytest.approx(20.0, abs=0.05)


def test_a_step_moves_image_and_truth_alike():
    rng = np.random.default_rng(1)
    share = np.zeros((1, 32, 32, 32), np.float32)
    share[:, 14:18, 14:18] = 1.0
    share = np.maximum(share, np.moveaxis(share, 3, 1))
    hu = 400 * share[0]
    for _ in range(4):
        new, there = stepped(hu, share, np.full(3, 0.4), rng)
        assert new == pytest.approx(400 * there[0], abs=1e-3)
        assert np.abs(new - hu).max() > 0
        changed = np.abs(new - hu) > 0
        sides = [changed.any(axis=(1, 2)), changed.any(axis=(0, 2)), changed.any(axis=(0, 1))]
        assert any(not side[:8].any() for side in sides)  # on one side of a plane all stays


def test_loss_is_least_for_the_truth():
    rng = np.random.default_rng(0)
    share = torch.zeros(1, 5, 12, 12, 12)
    share[0, :, 3:9, 4:8, 4:8] = 1.0
    loss = segmentation_loss()
    right = torch.where(share > 0.5, 8.0, -8.0)
    noisy = right + torch.from_numpy(rng.normal(0, 8, right.shape)).float()
    assert loss(right, share) < 0.1 < loss(noisy, share) < loss(-right, share)


def test_what_is_not_known_counts_for_nothing():
    share = torch.zeros(1, 3, 12, 12, 12)
    share[0, 0, 3:9, 4:8, 4:8] = 1.0
    loss = segmentation_loss()
    logits = torch.where(share > 0.5, 2.0, -2.0).requires_grad_()
    share[:, 1:] = torch.nan
    value = loss(logits, share)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert logits.grad[:, 0].abs().max() > 0
    assert logits.grad[:, 1:].abs().max() == 0


@pytest.mark.parametrize("first", [2, 4])
def test_a_killed_training_goes_on(tmp_path, first):
    """Four steps at once or two and two (then four again: nothing is left to do)."""
    how = Training(steps=4, batch=1, workers=0, save_every=1)
    train(tmp_path, DESIGN, Data(STREAM), replace(how, steps=first))
    model = train(tmp_path, DESIGN, Data(STREAM), how)
    rows = (tmp_path / "training.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]
    read = load(tmp_path / "model.safetensors")
    assert read.design == DESIGN
    assert read.card["data"] == ["synthetic CT of ffr3d (pipeline.phantom.scan)"]
    weights = zip(model.network.parameters(), read.network.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=2e-3) for a, b in weights)
