"""What `make eval-segmentation` measures, on trees drawn by hand and on a drawn heart."""

import dataclasses
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from pipeline.imaging import Volume, read_volume

pytestmark = pytest.mark.slow
HPC = Path(__file__).parents[3] / "hpc" / "segmentation"


@pytest.fixture(scope="module")
def flows():
    """The module, as its script sees it."""
    sys.path.insert(0, str(HPC))
    yield importlib.import_module("flows")
    sys.path.remove(str(HPC))


@pytest.fixture(scope="module")
def heart(flows):
    return importlib.import_module("anatomy").draw_anatomy(900_000)


@pytest.fixture(scope="module")
def kept(flows, heart):
    return flows.Kept.of(heart, "left")


def test_thin_vessels_are_cut_off(flows, kept):
    assert kept.walks[0].name == "LM"
    assert {"LAD", "LCx"} <= kept.ends.keys()
    assert "LM" not in kept.ends
    assert sum(len(walk.points) for walk in kept.walks) <= kept.counts.sum() < len(kept.middles)
    thin = kept.middles[
        ~kept.counts
    ]  # a thin branch must not take its parent's lumen where it begins
    assert all((flows._gaps(thin, walk) >= 0).all() for walk in kept.walks)


def test_shares_have_the_exact_width(flows, heart, kept):
    shares, body = flows.exact_shares(heart, kept)
    assert 0 < body.sum() < shares.array.size
    lad = next(walk for walk in kept.walks if walk.name == "LAD")
    k = len(lad.points) // 3
    volume = float(shares.array.sum()) * flows.FINE_MM**3
    tubes = sum(float((np.pi * walk.radius**2).sum() * 0.25) for walk in kept.walks)
    assert (
        0.75 * tubes < volume < 1.1 * tubes
    )  # spheres overlap at forks, the trunk begins in the aorta
    index = np.rint(shares.to_index(lad.points[k][None])[0]).astype(int)
    assert shares.array[tuple(index)] == 1.0


def test_a_found_lumen_is_cut_where_the_exact_one_is(flows, heart, kept):
    exact, body = flows.exact_shares(heart, kept)
    cut, lumen = flows.found_shares(heart, kept, exact, body)
    assert np.array_equal(cut.array, exact.array)
    assert np.array_equal(lumen, body)
    everything = Volume(np.ones_like(exact.array), exact.affine)
    cut, _ = flows.found_shares(heart, kept, everything, body)
    assert 0 < cut.array.sum() < everything.array.sum()


def test_a_throat_beside_a_thin_branch_is_the_vessels(flows, heart, kept):
    """Nearer to the branch's middle, but where the vessel was before its lesion."""
    along = np.linspace(0.0, 10.0, 34)
    vessel = np.column_stack([along, 0 * along, 0 * along])
    branch = vessel + np.array([0.0, 1.6, 0.0])
    told = {"middles": np.concatenate([vessel, branch]), "radii": np.repeat([1.5, 0.6], 34)}
    two = dataclasses.replace(kept, **told, counts=np.repeat([True, False], 34))
    straight = types.SimpleNamespace(bent=lambda points: points)
    at = np.array([[5.0, 0.9, 0.0], [5.0, 1.4, 0.0], [5.0, 2.0, 0.0]])
    assert two.holds(straight, at).tolist() == [True, False, False]
    alone = dataclasses.replace(two, counts=np.ones(68, dtype=bool))
    assert alone.holds(straight, at).all()


def test_ends_go_to_the_vessel_they_lie_on(flows, heart, kept):
    lad, lcx = (next(w for w in kept.walks if w.name == name) for name in ("LAD", "LCx"))
    ends = {
        "outlet_1": lad.points[-1],
        "outlet_2": lad.points[len(lad.points) // 2],  # a stump on the way
        "outlet_3": lcx.points[-30],  # cut short
        "outlet_4": lcx.points[-1] + 30.0,  # nowhere
    }
    assert flows.match_ends(heart, kept, ends) == {"outlet_1": "LAD", "outlet_3": "LCx"}


def lesion(first, second, stenosis, diameter=3.0, drawn=True):
    difference = None if second is None else second - first
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "first_stenosis": stenosis,
        "reference_diameter_mm": diameter,
        "drawn": drawn,
    }


def test_lesions_that_were_drawn(flows, heart):
    for side, lesions in heart.lesions.items():
        for one in lesions:
            assert flows.narrowed(heart, side, np.array(one.middle))
    ostium = heart.arteries["left"][0].points[0]
    assert not flows.narrowed(heart, "left", ostium)


def test_summary(flows):
    lesions = [
        lesion(0.90, 0.91, 0.4),
        lesion(0.78, 0.82, 0.6),
        lesion(0.60, 0.50, 0.8),
        lesion(0.70, None, 0.75),
        lesion(0.50, 0.90, 0.8, diameter=1.8),
        lesion(0.50, 0.90, 0.8, drawn=False),
    ]
    told = flows.summary(
        [
            {"side": "left", "lesions": lesions, "missed_ends": ["D1"], "false_ends": 2},
            {"side": "right", "fault": "no right tree found", "exact": False},
        ]
    )
    assert told["trees"] == 2
    assert (told["trees_failed"], told["trees_exact_failed"]) == (1, 0)
    assert (told["lesions"], told["lesions_lost"]) == (4, 1)
    assert (told["ends_missed"], told["ends_false"]) == (1, 2)
    assert told["ffr_median"] == pytest.approx(0.04)
    assert told["ffr_bias"] == pytest.approx((0.01 + 0.04 - 0.10) / 3)
    assert told["flips_at_0.80"] == 1
    assert told["flips_in_0.75_to_0.80"] == [1, 1]
    assert told["ffr_by_stenosis"]["70% to 100%"][0] == 1
    assert "ffr_median" not in flows.summary([])


def test_phantoms_are_judged_alike(flows):
    held_out = importlib.import_module("held_out")
    scene = held_out.draw_scene(800_000)
    phantoms = held_out.Phantoms(scene)
    for number, side in enumerate(held_out.SIDES):
        kept = flows.Kept.of(phantoms, side)
        named = {end.name for end in scene.vessels[number].lumen.ends if end.role == "outlet"}
        assert kept.ends.keys() <= named
        assert len(kept.ends) >= 1
        shares, _ = flows.exact_shares(phantoms, kept)
        wide = kept.walks[0].points[40:-8]
        index = np.rint(shares.to_index(wide)).astype(int)
        assert (shares.array[tuple(index.T)] > 0.5).mean() > 0.95


def test_no_artery_runs_in_a_chambers_blood(heart):
    """Just outside the vessels' walls is fat or muscle; without the room they are given, a chamber in places."""
    scans = importlib.import_module("scans")
    rng = np.random.default_rng(0)
    walks = [walk for walks in heart.arteries.values() for walk in walks]
    middles = np.concatenate([walk.middle for walk in walks])
    points = middles.repeat(6, axis=0) + rng.normal(0, 2.0, (6 * len(middles), 3))
    off = scans._outer(points, heart)
    points = points[(off > 0.2) & (off < 0.7) & (heart.aorta_distance(points) > 3)]
    assert len(points) > 1000
    parts: dict[str, list[float]] = {"left": [], "none": []}
    for seed in range(4):
        protocol = scans.Protocol.draw(np.random.default_rng(seed))
        off = scans._outer(points, heart)
        for name, room in (("left", off - 1.0), ("none", np.full(len(points), 4.0))):
            hu = np.full(len(points), -80, np.float32)
            about, draw = (room.astype(np.float32), 0.4), np.random.default_rng(seed)
            scans._paint_heart(hu, points.astype(np.float32), heart, protocol, about, draw)
            parts[name].append(float((hu > 0.5 * protocol.blood_hu).mean()))
    assert max(parts["left"]) < 0.005 < 0.015 < max(parts["none"]), parts


def test_the_bundled_ct_is_what_its_script_makes(flows):
    """To half a step of its bytes, in the right place."""
    demo = importlib.import_module("demo_ct")
    bundled, made = read_volume(demo.OUT), demo.scan()
    assert demo.OUT.stat().st_size < 5e6
    assert np.allclose(bundled.affine, made.affine, atol=1e-4)
    assert np.abs(bundled.array - made.array).max() <= demo.STEP_HU / 2 + 0.5


@pytest.mark.parametrize("seed", [900_000, 900_003, 900_006])
def test_side_branches_come_near_no_vessel_that_was_there_before(flows, seed):
    for walks in importlib.import_module("anatomy").draw_anatomy(seed).arteries.values():
        for number, walk in enumerate(walks):
            if walk.name not in {"LM", "LAD", "LCx", "RCA"}:
                rest = walk.points[48:]  # 12 mm on; lesions move middles a little
                before = [float(flows._gaps(rest, other).min()) for other in walks[:number]]
                assert min(before) > 0.5


def test_what_hangs_on_a_thin_branch_is_lost(flows, heart, kept):
    """Found lumen that is joined to the tree through a vessel that does not count; the tree itself stays."""
    exact, body = flows.exact_shares(heart, kept)
    voxels = np.argwhere(body)
    away = np.linalg.norm(exact.to_world(voxels.astype(float)) - kept.ostium, axis=1)
    ring = voxels[(away > 40.0) & (away < 42.0)]  # as if only a thin branch led on from there
    cut = body.copy()
    cut[tuple(ring.T)] = False
    shares = np.where(cut, exact.array, 0)
    found, lumen = flows.found_shares(heart, kept, Volume(shares, exact.affine), cut)
    left = np.linalg.norm(exact.to_world(np.argwhere(lumen).astype(float)) - kept.ostium, axis=1)
    assert left.max() <= 40.5
    assert lumen.sum() > 0.95 * (away <= 40.0).sum()
    assert not (found.array > 0.5)[~lumen].any()
