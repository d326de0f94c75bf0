"""The network's file, its input's scale, and windows over a whole CT."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from meshing.errors import InputError
from pipeline.imaging import Volume
from pipeline.segmentation import BUNDLED
from pipeline.segmentation.network import Cascade, Design, Model, build, carried, load, save
from pipeline.segmentation.predict import on_cubes, predict, wide_view

SMALL = Design(filters=(4, 8, 8), wide_edge=16, wide_filters=(4, 8, 8))
HERE = torch.eye(4)[None, :3]


def test_what_is_saved_is_read(tmp_path):
    torch.manual_seed(0)
    model = Model(build(SMALL).eval(), SMALL, {"data": "none"})
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert (again.design, again.card) == (SMALL, {"data": "none"})
    x, wide = torch.randn(1, 1, 16, 16, 16), torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        both = zip(model.network(x, wide, HERE), again.network(x, wide, HERE), strict=True)
        assert all(torch.allclose(a, b, atol=0.02) for a, b in both)  # half precision


def test_carried_to_other_voxels():
    """A linear field stays itself under any placement; beyond the edge its last value holds."""
    i, j, k = torch.meshgrid(
        *[torch.arange(n, dtype=torch.float32) for n in (9, 11, 7)], indexing="ij"
    )
    values = torch.stack([i + 2 * j - k, k])[None]
    place = torch.tensor([[[0.4, 0.1, 0.0, 1.0], [-0.2, 0.5, 0.1, 2.0], [0.0, 0.2, 0.6, 0.5]]])
    got = carried(values, place, (5, 6, 4))
    index = torch.stack(
        torch.meshgrid(*map(torch.arange, (5, 6, 4)), indexing="ij"), dim=-1
    ).float()
    x, y, z = (index @ place[0, :, :3].T + place[0, :, 3]).unbind(-1)
    assert torch.allclose(got[0], torch.stack([x + 2 * y - z, z]), atol=1e-4)
    assert (
        carried(values, place + 100.0, (2, 2, 2))[0, 1].tolist()
        == torch.full((2, 2, 2), 6.0).tolist()
    )


def test_bundled_weights():
    """Small enough to ship, readable, and told what they were trained on."""
    assert BUNDLED.stat().st_size <= 15e6
    model = load(BUNDLED)
    assert model.design == Design()
    assert model.card["data"] == ["synthetic CT of ffr3d (pipeline.phantom.scan)"]
    card, steps = model.card, 0
    while card:
        steps += card["done"]["steps"]
        card = card["begun_with"]
    assert steps > 3000
    assert all(torch.isfinite(weight).all() for weight in model.network.parameters())


def test_input_scale():
    hu = torch.tensor([-1024.0, -200, 300, 800, 3000])
    assert SMALL.scaled(hu).tolist() == [-2, -1, 0, 1, 2]


def test_files_that_are_no_model(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load(path)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="wanted a model in safetensors"):
        load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="format None"):
        load(path)
    save(Model(build(SMALL), SMALL), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="wanted a model in safetensors"):
        load(path)


def test_cubes_keep_places_and_values():
    """A linear field is itself again on other voxels, whatever the axes were."""
    c, s = np.cos(0.3), np.sin(0.3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0.1], [s, c, 0], [0, 0, -1]]) * [0.3, 0.4, 0.8]
    affine[:3, 3] = [5, -7, 30]
    index = np.indices((40, 30, 20)).reshape(3, -1).T.astype(float)
    volume = Volume(np.empty((40, 30, 20)), affine)
    slope = np.array([2.0, -3.0, 5.0])
    field = Volume((volume.to_world(index) @ slope).reshape(40, 30, 20), affine)
    cubes = on_cubes(field, 0.5, outside=np.nan)
    assert cubes.spacing_mm == pytest.approx([0.5] * 3)
    at = np.argwhere(np.isfinite(cubes.array)).astype(float)
    inside = volume.to_index(cubes.to_world(at))
    deep = ((inside > 4) & (inside < np.array([35, 25, 15]))).all(axis=1)
    assert deep.sum() > 500
    values = cubes.array[tuple(at[deep].astype(int).T)]
    assert values == pytest.approx(cubes.to_world(at[deep]) @ slope, abs=0.02)


class BrightHere(torch.nn.Module):
    def forward(self, x):
        hu = x[:, :1]
        return torch.cat([20 * hu, -20 * hu, 0 * hu - 5], dim=1)


class HowBright(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x, -x, 2 * x], dim=1)


class Bright(Cascade):
    """Finds what is brighter than 300 HU; the wide part tells how bright it is."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.wide, self.fine = HowBright(), BrightHere()


def test_windows_cover_the_scan():
    rng = np.random.default_rng(0)
    hu = np.where(rng.uniform(size=(130, 110, 100)) > 0.5, 400, 100).astype(np.int16)
    hu[:30, :30, :30] = -900
    found = predict(Model(Bright(), Design()), Volume(hu, np.diag([0.4, 0.4, 0.4, 1])), "cpu")
    lumen = found.of("lumen")
    assert lumen.array.shape == hu.shape
    assert ((lumen.array > 0.5) == (hu > 300)).all()
    assert found.of("calcium").array.max() < 0.01
    shifted = predict(
        Model(Bright(), Design(wall=0.7)), Volume(hu, np.diag([0.4, 0.4, 0.4, 1])), "cpu"
    )
    odds = [
        x.astype(float) / (1 - x)
        for x in (found.values[0, 0, 0, 40:], shifted.values[0, 0, 0, 40:])
    ]
    ok = (odds[0] > 1e-2) & (odds[0] < 1e2)
    assert odds[0][ok] / odds[1][ok] == pytest.approx(0.7 / 0.3, rel=0.05)


def test_the_wide_view_lies_where_the_scan_does():
    """Brightness that grows linearly across a scan with axes of its own, told on the fine cubes."""
    affine = np.array([[0, 0.5, 0, 7], [-0.6, 0, 0, 3], [0, 0, 0.8, -40], [0, 0, 0, 1.0]])
    index = np.indices((90, 80, 60)).reshape(3, -1).T.astype(float)
    where = Volume(np.empty((90, 80, 60)), affine).to_world(index)
    hu = 300 + 8.0 * (where - where.mean(axis=0)) @ np.array([1.0, -0.5, 0.7])
    scan, design = Volume(hu.reshape(90, 80, 60), affine), Design(wide_edge=16)
    cubes = on_cubes(scan, 0.4)
    told = wide_view(Model(Bright(), design), scan, cubes, torch.device("cpu"))[0]
    assert told.shape == (3, *cubes.array.shape)
    inner = (slice(15, -15),) * 3
    x = design.scaled(torch.from_numpy(cubes.array[inner]))
    for one, factor in zip(told, (1, -1, 2), strict=True):
        assert torch.allclose(one[inner], torch.sigmoid(factor * x), atol=0.02)


def test_the_mean_of_two_networks(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "hpc" / "segmentation")
    mean_of = importlib.import_module("mean_weights").mean_of
    one, other = (Model(build(SMALL), SMALL, {"done": {"steps": n}}) for n in (1, 2))
    names = [name for name, _ in one.network.named_parameters()]
    a, b = ({n: w.clone() for n, w in m.network.named_parameters()} for m in (one, other))
    mean = mean_of(one, other)
    for name, weight in mean.network.named_parameters():
        assert torch.allclose(weight, 0.5 * (a[name] + b[name]))
    assert names
    assert mean.card == {"done": {"steps": 2}, "mean_with": {"done": {"steps": 1}}}
    with pytest.raises(ValueError, match="two designs"):
        mean_of(one, Model(build(Design()), Design()))
