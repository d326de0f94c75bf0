"""Patches from synthetic CT, and a training that goes on where it was killed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.phantom.scan import WIDE, draw_scene
from pipeline.segmentation.losses import segmentation_loss, width_error
from pipeline.segmentation.network import Design, carried, load
from pipeline.segmentation.optimise import Training
from pipeline.segmentation.patches import Patches, Stream, _place, moved, stepped
from pipeline.segmentation.sample import Turn
from pipeline.segmentation.training import Data, train

DESIGN = Design(filters=(4, 8, 8), wide_mm=4.0, wide_edge=40, wide_filters=(4, 8, 8))
STREAM = Stream(edge=16, patches=2, again=2, store=3)


def test_samples_are_inputs_and_shares():
    assert Design().wide_outputs == WIDE
    samples = iter(Patches(DESIGN, STREAM))
    drawn = [next(samples) for _ in range(5)]
    for image, shares, wide, wide_shares, place in drawn:
        assert wide.shape == (1, 40, 40, 40)
        assert wide_shares.shape == (3, 40, 40, 40)
        assert place.shape == (3, 4)
        assert image.shape == (1, 16, 16, 16)
        assert shares.shape == (5, 16, 16, 16)
        assert image.abs().max() <= 2.0
        assert shares.min() >= 0
        assert shares.sum(dim=0).max() <= 1 + 1e-5  # no voxel holds more than itself
    assert any(one.shares[0].max() > 0.9 for one in drawn)
    again = next(iter(Patches(DESIGN, STREAM)))
    assert torch.equal(drawn[0].image, again.image)


def test_the_wide_image_has_the_aorta_where_the_patch_has_it():
    """However the patch is turned and mirrored, and the wide image leans; what it does not show is not asked."""
    seen, samples = 0, iter(Patches(DESIGN, replace(STREAM, edge=48, patches=4)))
    while seen < 2:
        one = next(samples)
        asked = torch.isfinite(one.wide_shares)
        assert asked.all() or (one.wide[0][~asked[0]] == -2.0).all()
        there = torch.nan_to_num(one.wide_shares)[None]
        told, exact = carried(there, one.place[None], (48, 48, 48))[0, 0], one.shares[1]
        if 0.1 < exact.mean() < 0.9:
            seen += 1
            assert torch.corrcoef(torch.stack([told.flatten(), exact.flatten()]))[0, 1] > 0.85


def test_turns():
    """A turned patch holds at every voxel what the matrix says."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 4, 5, 6))
    for _ in range(10):
        turn = Turn.draw(rng)
        turned, matrix = turn.of(values), turn.matrix((4, 5, 6))
        new = np.argwhere(np.ones(turned.shape[1:], bool))
        old = np.rint(new @ matrix[:3, :3].T + matrix[:3, 3]).astype(int)
        assert np.array_equal(turned[:, *new.T], values[:, *old.T])


def test_blood_is_bright_where_the_shares_say():
    samples = iter(Patches(DESIGN, replace(STREAM, edge=32)))
    inside, outside = [], []
    for _ in range(14):
        one = next(samples)
        inside.append(one.image[0][one.shares[0] > 0.99])
        outside.append(one.image[0][one.shares.sum(dim=0) < 0.01])
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


def test_a_throat_counts_as_much_as_a_trunk():
    """A vessel twice as wide in two voxels' length of its throat, or of its wide part."""
    share = torch.zeros(1, 1, 40, 24, 24)
    share[:, :, :, 8:16, 8:16] = 1.0
    share[:, :, 20:, 8:16, 8:16] = 0.0
    share[:, :, 20:, 11:13, 11:13] = 1.0
    assert width_error(share, share) == 0
    throat, trunk = share.clone(), share.clone()
    throat[:, :, 28:30, 11:13, 11:15] = 1.0  # area times two
    trunk[:, :, 8:10, 8:16, 8:24] = 1.0
    in_throat, in_trunk = width_error(throat, share), width_error(trunk, share)
    assert in_throat > 0.2 * in_trunk
    added = [float((one - share).sum()) for one in (throat, trunk)]
    assert added[0] < 0.1 * added[1]
    assert width_error(0.5 * share, share) > 0.3


def test_many_patches_lie_at_a_throat():
    scene = draw_scene(11)
    throats = np.array([f.centre_mm for v in scene.vessels for f in v.lumen.stenoses])
    assert len(throats) > 0
    rng = np.random.default_rng(3)
    places = np.array([_place(scene, rng) for _ in range(300)])
    away = np.linalg.norm(places[:, None] - throats, axis=2).min(axis=1)
    assert (away < 9).mean() > 0.2


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


def test_the_wide_network_can_be_kept(tmp_path):
    how = Training(steps=2, batch=1, workers=0)
    first = train(tmp_path / "first", DESIGN, Data(STREAM), how)
    on = train(tmp_path / "on", DESIGN, Data(STREAM), how, first, keep_wide=True)
    before, after = first.network.state_dict(), on.network.state_dict()
    same = {name.split(".")[0] for name in before if torch.equal(before[name], after[name])}
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert same >= {"wide"}
    assert changed == {"fine"}
