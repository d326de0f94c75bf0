"""Training samples for the wall network: straightened synthetic CT with the exact lumen in every pixel.

As in `patches`, composing a scene costs most; every composed cube is scanned several times, each time by another
scanner and along a middle that is off in another way, as found middles are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pipeline.imaging import Volume
from pipeline.phantom.path import Array, Path
from pipeline.phantom.scan import Exact, Scanner, Scene, compose, draw_scene, scanned
from pipeline.segmentation.patches import moved
from pipeline.segmentation.strips import PIXEL_MM, STEP_MM, Strip, offsets

SECTIONS = 56
_CUBE_MM = 30.0
_THROATS, _OSTIA = 0.65, 0.1  # parts of the samples; the rest: any coronary
_MOVED = 0.15
_OFF, _OFF_MM = 0.45, 0.35  # a found middle is off by this part of the radius; by so much at most
_AORTA_MM = 0.8  # nearer to the aorta nothing is asked
_AROUND, _AROUND_MM = 1.2, 0.45  # so far, in healthy radii and more, blood is a vessel's own


@dataclass(frozen=True, slots=True)
class WallSample:
    """One strip.

    Attributes:
        hu: Attenuations, ``(SECTIONS, ACROSS, ACROSS)``.
        share: Part of each pixel inside a lumen.
        known: Where that is asked.
        own: Where the blood is the vessel's own.
        blood_hu: Of the aorta.
    """

    hu: npt.NDArray[np.int16]
    share: npt.NDArray[np.uint8]
    known: npt.NDArray[np.bool_]
    own: npt.NDArray[np.bool_]
    blood_hu: float


@dataclass(frozen=True, slots=True)
class WallSource:
    """Where samples come from.

    Attributes:
        first_seed: Scenes have this seed and the following ones; test scenes must have others.
        scenes: How many before the first comes again.
        cubes: Composed from one scene before the next is drawn.
        scans: Samples of one cube.
    """

    first_seed: int = 100_000
    scenes: int = 5000
    cubes: int = 10
    scans: int = 4


def wall_samples(source: WallSource, rng: np.random.Generator) -> Iterator[WallSample]:
    """Samples without end."""
    while True:
        scene = draw_scene(source.first_seed + int(rng.integers(source.scenes)))
        for _ in range(source.cubes):
            line = _Line.of(scene, *_place(scene, rng))
            cube = _cube(line.middles.mean(axis=0), rng)
            exact = compose(scene, cube)
            for _ in range(source.scans):
                yield _sample(scene, line, exact, cube.spacing_mm, rng)


@dataclass(frozen=True, slots=True)
class _Line:
    """A stretch of a vessel: its true middles, LPS ``(SECTIONS, 3)``, lumen and healthy radius, ``(SECTIONS,)``."""

    middles: Array
    radius: Array
    healthy: Array

    @classmethod
    def of(cls, scene: Scene, path: Path, s: float) -> _Line:
        half = 0.5 * (SECTIONS - 1) * STEP_MM
        lowest, highest = path.knots[0], path.knots[-1]
        s = float(np.clip(s, min(lowest + half, highest), max(highest - half, lowest)))
        at = s + (np.arange(SECTIONS) - 0.5 * (SECTIONS - 1)) * STEP_MM
        value = path.spline(np.clip(at, lowest, highest))
        middles = value[:, :3] + value[:, 3:6]
        for end, inner in ((lowest, at < lowest), (highest, at > highest)):
            _, tangent, _ = path.at(float(end))
            middles[inner] += (at[inner] - end)[:, None] * tangent
        if scene.bend is not None:
            middles = scene.bend.back(middles)
        return cls(middles, value[:, 6], path.healthy_radius(np.clip(at, lowest, highest)))


def _place(scene: Scene, rng: np.random.Generator) -> tuple[Path, float]:
    kind = rng.uniform()
    vessel = scene.vessels[int(rng.integers(len(scene.vessels)))].lumen
    throats = [(one.lumen, fact) for one in scene.vessels for fact in one.lumen.stenoses]
    if throats and kind < _THROATS:
        vessel, fact = throats[int(rng.integers(len(throats)))]
        segment = next(part for part in vessel.segments if part.name == fact.branch)
        return vessel.paths[segment.path], segment.start + fact.throat_mm + float(rng.normal(0, 4))
    if kind > 1.0 - _OSTIA:
        return vessel.paths[0], vessel.paths[0].start + float(rng.uniform(0, 15))
    lengths = np.array([path.end - path.start for path in vessel.paths])
    path = vessel.paths[int(rng.choice(len(lengths), p=lengths / lengths.sum()))]
    return path, float(rng.uniform(path.start, path.end))


def _cube(middle: Array, rng: np.random.Generator) -> Volume:
    across, along = rng.uniform(0.33, 0.5), rng.uniform(0.35, 0.55)
    spacing = np.array([across, across, along])
    shape = np.ceil(_CUBE_MM / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=rng).as_matrix() * spacing
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return Volume(np.empty(tuple(int(n) for n in shape), np.bool_), affine)


def _sample(
    scene: Scene, line: _Line, exact: Exact, spacing: Array, rng: np.random.Generator
) -> WallSample:
    hu = exact.hu
    if rng.uniform() < _MOVED:
        hu = moved(hu, rng.normal(size=3) * rng.uniform(0.5, 1.5) / spacing, rng)
    image = Volume(scanned(hu, spacing, Scanner.draw(rng), rng), exact.affine)
    strip = Strip.along(_found(line, rng), float(rng.uniform(0, 2 * np.pi)))
    points = strip.points
    flat = points.reshape(-1, 3)
    drawn = scene.among_vessels(flat)
    lumen = np.min([one.lumen.signed_distance(drawn, cut=False) for one in scene.vessels], axis=0)
    aorta = scene.aorta(scene.to_heart(flat))
    index = image.to_index(flat)
    inside = ((index >= 0) & (index <= np.array(image.array.shape) - 1)).all(axis=1)
    share = np.clip(0.5 - lumen / PIXEL_MM, 0, 1)
    shape = points.shape[:-1]
    known = (inside & (aorta > _AORTA_MM)).reshape(shape)
    off = np.einsum("nij,nj->ni", strip.frames, line.middles - strip.middles)
    at = offsets()
    u, v = at[:, None] - off[:, 0, None, None], at - off[:, 1, None, None]
    reach = _AROUND * np.maximum(line.healthy, line.radius) + _AROUND_MM
    own = np.hypot(u, v) < reach[:, None, None]
    return WallSample(
        np.rint(np.clip(strip.image(image), -1024, 3071)).astype(np.int16),
        np.rint(255 * share.reshape(shape)).astype(np.uint8),
        known,
        own & known,
        scene.contrast.artery,
    )


def _found(line: _Line, rng: np.random.Generator) -> Array:
    """The middles as a segmentation finds them: off by a part of the radius, smoothly along the vessel."""
    noise = gaussian_filter1d(rng.standard_normal((SECTIONS + 40, 3)), rng.uniform(3, 10), axis=0)
    noise = noise[20:-20] / noise.std()
    size = rng.uniform(0, 1) * np.minimum(_OFF * np.maximum(line.radius, 0.5), _OFF_MM)
    middles = gaussian_filter1d(line.middles + noise * size[:, None], 2.0, axis=0, mode="nearest")
    return np.asarray(middles)
