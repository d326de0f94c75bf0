"""The network's file, its input's scale, and windows over a whole CT."""

import numpy as np
import pytest
import torch

from meshing.errors import InputError
from pipeline.imaging import Volume
from pipeline.segmentation.network import Design, Model, build, load, save
from pipeline.segmentation.predict import on_cubes, predict
from pipeline.segmentation.stage import BUNDLED

SMALL = Design(filters=(4, 8, 8))


def test_what_is_saved_is_read(tmp_path):
    torch.manual_seed(0)
    model = Model(build(SMALL).eval(), SMALL, {"data": "none"})
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert (again.design, again.card) == (SMALL, {"data": "none"})
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(model.network(x), again.network(x), atol=0.02)  # half precision


def test_bundled_weights():
    """Small enough to ship, readable, and told what they were trained on."""
    assert BUNDLED.stat().st_size <= 15e6
    model = load(BUNDLED)
    assert model.design == Design()
    assert model.card["data"] == ["synthetic CT of ffr3d (pipeline.phantom.scan)"]
    assert model.card["done"]["steps"] > 1000
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


class Bright(torch.nn.Module):
    """Finds what is brighter than 300 HU."""

    def forward(self, x):
        return torch.cat([20 * x, -20 * x, 0 * x - 5], dim=1)


def test_windows_cover_the_scan():
    rng = np.random.default_rng(0)
    hu = np.where(rng.uniform(size=(130, 110, 100)) > 0.5, 400, 100).astype(np.int16)
    hu[:30, :30, :30] = -900
    found = predict(Model(Bright(), Design()), Volume(hu, np.diag([0.4, 0.4, 0.4, 1])), "cpu")
    lumen = found.of("lumen")
    assert lumen.array.shape == hu.shape
    assert ((lumen.array > 0.5) == (hu > 300)).all()
    assert found.of("calcium").array.max() < 0.01
