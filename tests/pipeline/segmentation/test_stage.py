"""A CT through image, segment and surface: files, errors, identifiers; the network is an exact one."""

import gzip
import json

import numpy as np
import pytest
import torch

from meshing.errors import ComputationError, InputError
from pipeline.case import CtInput, SurfaceOptions
from pipeline.case_file import input_files, load
from pipeline.imaging import Volume, read_volume, write_nifti
from pipeline.imaging.stage import run as run_image
from pipeline.phantom.scan import Scanner, draw_scene, render
from pipeline.run import run, stages_of
from pipeline.segmentation import BUNDLED, BUNDLED_WALLS, network, predict, stage
from pipeline.segmentation.network import Design, Model, build, save
from pipeline.segmentation.predict import Probabilities
from pipeline.surface import run as run_surface
from tests.pipeline.imaging.dicom_files import IDENTIFIERS, write_series


@pytest.fixture(scope="module")
def scan():
    """Both coronaries and the aortic root of a scene at 0.6 mm."""
    scene = draw_scene(45)  # trunks of usual width, no throat far below a voxel
    paths = [path for vessel in scene.vessels for path in vessel.lumen.paths]
    low = np.min([path.centre.min(axis=0) for path in paths], axis=0) - 6
    high = np.max([path.centre.max(axis=0) for path in paths], axis=0) + 6
    affine = np.diag([0.6, 0.6, 0.6, 1.0])
    affine[:3, 3] = low
    shape = tuple(np.ceil((high - low) / 0.6).astype(int))
    rng = np.random.default_rng(0)
    return scene, render(scene, Volume(np.empty(shape, bool), affine), Scanner.draw(rng), rng)


@pytest.fixture
def exact(scan, monkeypatch, tmp_path):
    """Weights that need not be any good, and a prediction that is the truth."""
    design = Design(voxel_mm=0.6, filters=(4, 8, 8), wide_filters=(4, 8, 8))
    save(Model(build(design), design, {"data": "none"}), tmp_path / "m.safetensors")
    truth = scan[1].exact

    def told(model, ct, device=None):
        return Probabilities(
            truth.shares.astype(np.float16), model.design.outputs, truth.affine, truth.hu
        )

    monkeypatch.setattr(predict, "predict", told)
    return tmp_path / "m.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_exact_network_gives_the_tree(scan, exact, tmp_path, side):
    scene, image = scan
    write_nifti(image.ct, tmp_path / "ct.nii.gz")
    source = CtInput(path=tmp_path / "ct.nii.gz", model=exact, tree=side)
    run_image(source, tmp_path / "image")
    stage.run(source, tmp_path / "image" / "ct.nii.gz", tmp_path / "segment")
    run_surface(source, SurfaceOptions(), tmp_path / "surface", tmp_path / "segment")
    told = json.loads((tmp_path / "segment" / "segment.json").read_text())
    assert told["tree"]["side"] == side
    vessel = scene.vessels[0 if side == "left" else 1].lumen
    path = vessel.paths[0]
    assert np.linalg.norm(path.at(path.start)[0] - told["tree"]["ostium_mm"]) < 6.0
    surface = json.loads((tmp_path / "surface" / "surface.json").read_text())
    points = (
        np.random.default_rng(0).uniform(-1, 1, (4000, 3)) * 3
        + path.centre[::40].repeat(4000 // len(path.centre[::40]) + 1, axis=0)[:4000]
    )
    index = np.rint(image.ct.to_index(points)).astype(int)
    labels = read_volume(tmp_path / "segment" / "labels.nii.gz")
    ok = ((index >= 0) & (index < labels.array.shape)).all(axis=1)
    here = labels.array[tuple(index[ok].T)] == stage.LABELS[side]
    deep = vessel.signed_distance(labels.to_world(index[ok].astype(float)), cut=False) < -0.7
    outside = scene.aorta(scene.to_heart(labels.to_world(index[ok].astype(float)))) > 1.5
    assert here[deep & outside].mean() > 0.99
    assert surface["volume_mm3"] == pytest.approx(told["tree"]["volume_mm3"], rel=0.03)
    assert surface["end_hints"][0]["role"] == "inlet"


@pytest.mark.slow
def test_no_tree_on_the_wanted_side(scan, exact, tmp_path, monkeypatch):
    write_nifti(scan[1].ct, tmp_path / "ct.nii.gz")
    real = predict.predict

    def left_only(model, ct, device=None):
        found = real(model, ct)
        right = scan[0].vessels[1].lumen
        index = np.argwhere(found.values[0] > 0).astype(float)
        near = right.signed_distance(scan[1].ct.to_world(index), cut=False) < 1.0
        found.values[0][tuple(index[near].astype(int).T)] = 0
        return found

    monkeypatch.setattr(predict, "predict", left_only)
    source = CtInput(path=tmp_path / "ct.nii.gz", model=exact, tree="right")
    with pytest.raises(
        ComputationError, match=r"no right coronary tree in this CT; found: left \("
    ):
        stage.run(source, tmp_path / "ct.nii.gz", tmp_path / "segment")


def test_without_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "BUNDLED", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="weights of a segmentation network"):
        stage.run(CtInput(path=tmp_path / "ct.nii.gz"), tmp_path / "ct.nii.gz", tmp_path / "out")


@pytest.mark.slow
def test_too_coarse_for_coronaries(scan, exact, tmp_path):
    thick = Volume(scan[1].ct.array[::3, ::3], scan[1].ct.affine @ np.diag([3, 3, 1, 1]))
    write_nifti(thick, tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match=r"got 1.8 x 1.8 x 0.6 mm"):
        stage.run(
            CtInput(path=tmp_path / "ct.nii.gz", model=exact), tmp_path / "ct.nii.gz", tmp_path
        )


def test_a_run_from_dicom_keeps_no_identifier(tmp_path):
    """Up to the image stage, as a user runs it: no file of the run folder holds a word of the header."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1024, 600, (24, 20, 16)).astype(np.int16)
    write_series(Volume(hu, np.diag([0.4, 0.4, 0.5, 1.0])), tmp_path / "dicom")
    case = load(tmp_path / "dicom", ["input.tree=right"])
    assert (case.name, case.input.kind) == ("ct", "ct")
    assert [one.name for one in stages_of(case)][:3] == ["image", "segment", "surface"]
    ledger = run(case, tmp_path / "run", stop="image")
    first = ledger.stages["image"].finished
    assert run(case, tmp_path / "run", stop="image").stages["image"].finished == first  # fresh
    assert (read_volume(tmp_path / "run" / "image" / "ct.nii.gz").array == hu).all()
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            for value in IDENTIFIERS.values():
                for word in value.replace("^", " ").split():
                    assert len(word) < 4 or word.encode() not in data
    with pytest.raises(
        ComputationError, match="no aorta in this CT"
    ):  # the bundled network on noise
        run(case, tmp_path / "run", stop="segment")
    next((tmp_path / "dicom").iterdir()).unlink()
    with pytest.raises(InputError, match=r"gap of|slice"):
        run(case, tmp_path / "run", stop="image")  # the folder changed: read again


def test_a_case_with_a_ct(tmp_path):
    (tmp_path / "case.yaml").write_text(
        "input: {kind: ct, path: scan.nii.gz, model: m.safetensors}"
    )
    with pytest.raises(InputError, match=r"scan\.nii\.gz, which is not there"):
        load(tmp_path / "case.yaml")
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    (tmp_path / "m.safetensors").write_bytes(b"x")
    case = load(tmp_path / "case.yaml")
    files = {"input.path": tmp_path / "scan.nii.gz", "input.model": tmp_path / "m.safetensors"}
    assert input_files(case) == {**files, "input.walls": BUNDLED_WALLS}
    assert input_files(load(tmp_path / "case.yaml", ["input.walls=none"])) == files
    with pytest.raises(InputError, match=r"w\.safetensors, which is not there"):
        load(tmp_path / "case.yaml", ["input.walls=w.safetensors"])
    (tmp_path / "w.safetensors").write_bytes(b"x")
    own = load(tmp_path / "case.yaml", ["input.walls=w.safetensors"])
    assert input_files(own)["input.walls"] == tmp_path / "w.safetensors"
    bundled = load(tmp_path / "case.yaml", ["input.model=null"])
    assert input_files(bundled)["input.model"] == BUNDLED  # other weights: segmented again
    phantom = load(tmp_path / "case.yaml", ["input={kind: phantom}"])
    with pytest.raises(InputError, match="does not begin with a CT"):
        run(phantom, tmp_path / "run", stop="segment")


def test_the_network_module_reads_on_the_cpu():
    made = network.build(Design(filters=(4, 8, 8), wide_filters=(4, 8, 8)))
    image = torch.zeros(1, 1, 16, 16, 16)
    fine, wide = made(image, image, torch.eye(4)[None, :3])
    assert (fine.shape[1], wide.shape[1]) == (5, 3)
