"""Test scans: an `anatomy.Anatomy` in a chest, through projections and filtered back projection.

`pipeline.phantom.scan` blurs an image and adds filtered noise. Here every slice is projected, its rays hardened and
counted, and reconstructed: the noise has the grain and the streaks of that, and calcium blooms and casts shadows.
Voxels of 0.33 to 0.45 mm in slices 0.4 to 0.6 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from anatomy import STEP, Anatomy, Array, Noise, Scanned, Walk, draw_anatomy, swept
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from pipeline.imaging import Volume

Field = npt.NDArray[np.float32]
WATER = 0.02  # attenuation of water [1/mm]
FIELD_MM = 128.0  # diameter of what is reconstructed
BATCH = 8


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a scan is made.

    Attributes:
        pixel_mm: In the slice.
        gap_mm: From slice to slice.
        slice_mm: Width of a slice's profile.
        angles: Projections of half a turn.
        cut: Where the kernel's window ends, over the Nyquist frequency; small is soft.
        photons: Of a ray through nothing.
        hardening: Loss of a line integral, over its square, in dense matter.
        blood_hu: Contrast in the aorta.
    """

    pixel_mm: float
    gap_mm: float
    slice_mm: float
    angles: int
    cut: float
    photons: float
    hardening: float
    blood_hu: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Protocol:
        """From soft and quiet to sharp and grainy."""
        gap = float(rng.uniform(0.4, 0.6))
        return cls(
            float(rng.uniform(0.33, 0.45)),
            gap,
            float(rng.uniform(0.5, 0.8)),
            int(rng.integers(360, 480)),
            float(rng.uniform(0.55, 1.1)),
            float(10 ** rng.uniform(5.2, 5.9)),
            float(rng.uniform(0.01, 0.05)),
            float(rng.uniform(300, 550)),
        )


@dataclass(frozen=True, slots=True)
class TestScan:
    """A scan and what is in it.

    Attributes:
        seed: It was drawn from.
        ct: Hounsfield units, int16.
        anatomy: What was scanned.
        distance: Signed distance to the lumen of both trees on the scan's voxels; cut at 3 mm or nearer.
    """

    seed: int
    ct: Volume
    anatomy: Scanned
    distance: Field


def anatomy_of(seed: int) -> Anatomy:
    """What a seed's scan shows."""
    return draw_anatomy(seed)


def make(seed: int) -> TestScan:
    """The scan of a seed: both trees, all of the heart but its apex' last centimetre at times."""
    rng = np.random.default_rng([seed, 7])
    anatomy, protocol = draw_anatomy(seed), Protocol.draw(rng)
    volume = _grid(anatomy, protocol)
    hu, distance = _fill(anatomy, protocol, volume, rng)
    hu = gaussian_filter1d(hu, protocol.slice_mm / protocol.gap_mm / 2.355, axis=2, mode="nearest")
    seen = scan_slices(hu, protocol, rng)
    ct = np.clip(np.rint(seen), -1024, 3071).astype(np.int16)
    return TestScan(seed, Volume(ct, volume.affine), anatomy, distance)


def _grid(anatomy: Anatomy, protocol: Protocol) -> Volume:
    points = np.concatenate([w.points for walks in anatomy.arteries.values() for w in walks])
    low, high = points.min(axis=0) - 8, points.max(axis=0) + 8
    middle = 0.5 * (low + high)
    n = 2 * int(FIELD_MM / 2 / protocol.pixel_mm)
    slices = int((high[2] - low[2]) / protocol.gap_mm)
    affine = np.diag([protocol.pixel_mm, protocol.pixel_mm, protocol.gap_mm, 1.0])
    affine[:3, 3] = [middle[0] - FIELD_MM / 2, middle[1] - FIELD_MM / 2, low[2]]
    return Volume(np.empty((n, n, slices), np.bool_), affine)


def _fill(
    anatomy: Anatomy, protocol: Protocol, volume: Volume, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Attenuation of a tissue after another, what comes later lies in front."""
    shape = volume.array.shape
    index = np.indices(shape, dtype=np.float32).reshape(3, -1).T
    points = np.asarray(index @ volume.affine[:3, :3].T + volume.affine[:3, 3], dtype=np.float32)
    del index
    width = float(volume.spacing_mm.mean())
    hu = _chest(points, anatomy, protocol, rng)
    near = _within(points, anatomy, 4.0)
    close = points[near].astype(np.float64)
    room = np.full(len(points), 4.0, np.float32)
    room[near] = _outer(close, anatomy) - rng.uniform(0.8, 2.0)
    _paint_heart(hu, points, anatomy, protocol, (room, width), rng)
    value = hu[near]
    for vein in anatomy.veins:
        inside = _share(swept(close, vein.points, vein.radius), width)
        value += inside * (rng.uniform(60, 220) - value)
    distance = np.full(len(points), 3.0, np.float32)
    nearest = np.full(len(close), 3.0)
    for side in anatomy.arteries:
        value, lumen = _arteries(value, close, anatomy, side, protocol, rng)
        nearest = np.minimum(nearest, lumen)
    hu[near], distance[near] = value, nearest
    return hu.reshape(shape), distance.reshape(shape)


def _share(distance: npt.NDArray[np.floating], width: float) -> npt.NDArray[np.float32]:
    return np.clip(0.5 - distance / width, 0, 1).astype(np.float32)


def _within(points: Field, anatomy: Anatomy, reach: float) -> npt.NDArray[np.int64]:
    walks = [*anatomy.veins, *(w for walks in anatomy.arteries.values() for w in walks)]
    tree = cKDTree(np.concatenate([w.points[:: int(1 / STEP)] for w in walks]))
    gap, _ = tree.query(points, distance_upper_bound=reach + 1.0)
    return np.flatnonzero(np.isfinite(gap))


def _chest(points: Field, anatomy: Anatomy, protocol: Protocol, rng: np.random.Generator) -> Field:
    """Lung with its vessels; fat and muscle in front and behind; a spine; the descending aorta."""
    x, y = points[:, 0], points[:, 1]
    texture = Noise(rng, 6.0)(points).astype(np.float32)
    hu = -840 + 35 * texture
    vessel = np.abs(Noise(rng, 16.0)(points)) + np.abs(Noise(rng, 16.0)(points))
    hu[vessel < 0.12] = rng.uniform(20, 250)
    front = y + 0.15 * np.abs(x) + 58 + 4 * texture
    hu[front < 0] = -100
    hu[front < -6] = 55
    spine = np.hypot(x + rng.uniform(-5, 5), y - rng.uniform(62, 72)) - 17
    hu[spine < 0] = (180 + 60 * texture)[spine < 0]
    hu[np.abs(spine) < 1.2] = 600
    down = np.hypot(x - rng.uniform(20, 28), y - rng.uniform(50, 56)) - rng.uniform(10, 13)
    hu[down < 0] = 0.97 * protocol.blood_hu
    return np.asarray(hu, dtype=np.float32)


def _paint_heart(
    hu: Field,
    points: Field,
    anatomy: Anatomy,
    protocol: Protocol,
    about: tuple[Field, float],
    rng: np.random.Generator,
) -> None:
    """Fat, muscle, four cavities, the aorta and the pulmonary trunk, none of them smooth.

    Cavities and trunk leave room about the arteries, which run in fat and muscle; ``about`` has the distance to where
    that ends, and the width of a voxel.
    """
    room, width = about
    heart, blood = anatomy.heart, protocol.blood_hu
    local = points @ heart.turn.astype(np.float32)
    wavy = (1.2 * Noise(rng, 22.0)(points)).astype(np.float32)
    grain = Noise(rng, 3.0)(points).astype(np.float32)

    def ellipsoid(middle: Array, axes: Array) -> Field:
        away = (local - middle.astype(np.float32)) / axes.astype(np.float32)
        r = np.sqrt((away**2).sum(axis=1))
        return np.asarray((r - 1) * axes.min() + wavy, dtype=np.float32)

    def paint(distance: Field, value: float, rough: float = 0.0) -> None:
        share = _share(distance, width)
        hu[:] += share * (value + rough * grain - hu)

    fat = ellipsoid(np.zeros(3), heart.axes + rng.uniform(6, 10))
    paint(fat, rng.uniform(-105, -80), 8)
    a = heart.axes
    paint(ellipsoid(np.array([0, 0, -0.1]) * a, a * 0.97), rng.uniform(80, 140), 8)
    cavities = (
        ((0.3, 0.1, -0.15), (0.40, 0.42, 0.62), 0.95),  # left ventricle
        ((-0.42, -0.2, -0.1), (0.36, 0.42, 0.55), rng.uniform(0.2, 0.9)),  # right ventricle
        ((0.15, 0.5, 0.62), (0.55, 0.40, 0.28), 0.97),  # left atrium
        ((-0.6, 0.2, 0.5), (0.30, 0.38, 0.36), rng.uniform(0.2, 0.8)),  # right atrium
    )
    for middle, axes, part in cavities:
        shape = ellipsoid(np.array(middle) * a, np.array(axes) * a)
        shape += 2.0 * np.maximum(grain, 0) * (part > 0.9)  # trabeculae
        paint(np.maximum(shape, -room), part * blood, 6)
    everywhere = np.full(len(points), 4.0, np.float32)
    trunk = np.array([20.0, -14.0, 4.0]), np.array([0.25, 0.3, 0.0]), 12.5
    for offset, tilt, radius, part, left in (  # the aorta last: nothing runs through it
        (*trunk, rng.uniform(0.3, 1.0), room),
        (np.zeros(3), np.zeros(3), heart.aorta, 1.0, everywhere),
    ):
        axis = heart.up + tilt
        axis /= np.linalg.norm(axis)
        away = points - (heart.root + offset)
        along = away @ axis
        bulge = 1.5 * np.exp(-(((along - 7) / 6) ** 2))
        gap = np.linalg.norm(away - along[:, None] * axis, axis=1) - radius - bulge
        tube = np.maximum(gap, -along - 8).astype(np.float32)
        paint(np.maximum(tube - 1.6, -left), 60, 8)
        paint(np.maximum(tube, -left), part * blood, 4)


def _outer(points: Array, anatomy: Anatomy) -> Array:
    """Signed distance to the outer walls of both trees."""
    bent = anatomy.bent(points)
    gaps = [
        swept(
            bent,
            np.concatenate([w.middle for w in walks]),
            np.concatenate([w.outer for w in walks]),
        )
        for walks in anatomy.arteries.values()
    ]
    return np.asarray(np.min(gaps, axis=0))


def _arteries(
    value: Field,
    points: Array,
    anatomy: Anatomy,
    side: str,
    protocol: Protocol,
    rng: np.random.Generator,
) -> tuple[Field, Array]:
    """A tree's walls, plaque, calcium and blood in the values at points; distance to its lumen."""
    width = (2 * protocol.pixel_mm + protocol.gap_mm) / 3
    walks = anatomy.arteries[side]
    bent = anatomy.bent(points)
    middles = np.concatenate([w.middle for w in walks])
    outer = swept(bent, middles, np.concatenate([w.outer for w in walks]))
    nearest = cKDTree(middles).query(bent)[1]
    diseased = np.concatenate([w.calcified for w in walks])[nearest]
    soft = np.where(diseased < 9, rng.uniform(20, 110), rng.uniform(30, 70)).astype(np.float32)
    outside = 1 - _share(
        anatomy.aorta_distance(points), width
    )  # a vessel's wall ends at the aorta's blood
    value = value + outside * _share(outer, width) * (soft - value)
    lumen = anatomy.lumen_distance(points, side)
    hard = (outer < -0.1) & (lumen > 0.1) & (outside > 0.5) & (anatomy.grain(points) > diseased)
    value[hard] = rng.uniform(600, 1500)
    fade = _fade(walks, anatomy)[nearest] * rng.uniform(0.0015, 0.004)
    blood = (protocol.blood_hu * (1 - np.clip(fade, 0, 0.5))).astype(np.float32)
    return value + _share(lumen, width) * (blood - value), lumen


def _fade(walks: list[Walk], anatomy: Anatomy) -> Array:
    """Distance from the aorta's root [mm], roughly the way contrast has come."""
    return np.concatenate([np.linalg.norm(w.middle - anatomy.heart.root, axis=1) for w in walks])


def scan_slices(hu: Field, protocol: Protocol, rng: np.random.Generator) -> Field:
    """Reconstructed slices of ``(n, n, slices)``.

    Reconstruction is linear: of exact rays it gives the image through the kernel's window; what hardening and counting
    add to the rays is reconstructed by itself (hardening from rays of pixels twice as wide).
    """
    n = hu.shape[0]
    base = torch.linspace(-1 + 1 / n, 1 - 1 / n, n)
    yy, xx = torch.meshgrid(base, base, indexing="ij")
    disk = ((xx**2 + yy**2) < 0.97).float()
    kernel, window = _kernel(n, protocol.cut), _window(n, protocol.cut)
    seen = np.empty_like(hu)
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for first in range(0, hu.shape[2], BATCH):
        part = np.ascontiguousarray(hu[:, :, first : first + BATCH].transpose(2, 0, 1))
        there = torch.where(disk > 0, torch.from_numpy(part), torch.tensor(-1000.0))
        smooth = torch.fft.irfft2(torch.fft.rfft2(there) * window, s=(n, n))
        wrong = torch.zeros(n * n, len(there))
        mu = WATER * (1 + there / 1000).clamp(min=0)
        dense = WATER * ((there - 130) / 1000).clamp(min=0)
        wide = torch.nn.functional.avg_pool2d(torch.stack([mu, dense], dim=1), 2)
        for k in range(protocol.angles):
            angle = torch.tensor(k * np.pi / protocol.angles)
            line, hard = _rays(wide, angle, n, protocol.pixel_mm)
            error = -protocol.hardening * hard * (line + hard)
            error += (
                torch.randn(line.shape, generator=draw) * (line / 2).exp() / protocol.photons**0.5
            )
            filtered = torch.fft.irfft(torch.fft.rfft(error, 2 * len(kernel) - 2) * kernel)[:, :n]
            wrong += _on_rays(filtered, torch.cos(angle) * xx + torch.sin(angle) * yy)
        wrong *= np.pi / protocol.angles / protocol.pixel_mm * 1000 / WATER
        made = torch.where(disk > 0, smooth + wrong.T.reshape(there.shape), torch.tensor(-1024.0))
        seen[:, :, first : first + BATCH] = made.numpy().transpose(1, 2, 0)
    return seen


def _rays(wide: torch.Tensor, angle: torch.Tensor, n: int, pixel_mm: float) -> torch.Tensor:
    """Line integrals of images ``(b, 2, n/2, n/2)`` along one direction, ``(2, b, n)``."""
    half = wide.shape[-1]
    base = torch.linspace(-1 + 1 / half, 1 - 1 / half, half)
    yy, xx = torch.meshgrid(base, base, indexing="ij")
    c, s = torch.cos(angle), torch.sin(angle)
    grid = torch.stack([c * xx - s * yy, s * xx + c * yy], dim=-1)[None].expand(
        len(wide), -1, -1, -1
    )
    turned = torch.nn.functional.grid_sample(wide, grid, align_corners=False)
    lines = turned.sum(dim=2) * (2 * pixel_mm)
    return torch.nn.functional.interpolate(lines, n, mode="linear").transpose(0, 1)


def _window(n: int, cut: float) -> torch.Tensor:
    """The kernel's window over the frequencies of an image, as `torch.fft.rfft2` has them."""
    fx = np.fft.fftfreq(n)[:, None] * 2
    fy = np.fft.rfftfreq(n)[None, :] * 2
    part = np.clip(np.hypot(fx, fy) / cut, 0, 1)
    return torch.from_numpy((0.5 * (1 + np.cos(np.pi * part))).astype(np.float32))


def _kernel(n: int, cut: float) -> torch.Tensor:
    """The ramp with a raised cosine that ends at ``cut`` times the Nyquist frequency."""
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    k = np.concatenate([np.arange(size // 2 + 1), np.arange(-size // 2 + 1, 0)])
    ramp = np.where(
        k == 0, 0.25, np.where(k % 2 == 1, -1.0 / (np.pi * np.where(k == 0, 1, k)) ** 2, 0.0)
    )
    response = np.abs(np.fft.rfft(ramp))
    frequency = np.linspace(0, 1, len(response))
    window = 0.5 * (1 + np.cos(np.pi * np.clip(frequency / cut, 0, 1)))
    return torch.from_numpy((response * window).astype(np.float32))


def _on_rays(rows: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Linear values of rows ``(b, n)`` at places ``(n, n)`` from -1 to 1, ``(n n, b)``."""
    n = rows.shape[1]
    at = ((place.reshape(-1) + 1) * n - 1) / 2
    low = at.floor().long().clamp(0, n - 2)
    part = (at - low).clamp(0, 1)
    return torch.nn.functional.embedding_bag(
        torch.stack([low, low + 1], dim=1),
        rows.T.contiguous(),
        per_sample_weights=torch.stack([1 - part, part], dim=1),
        mode="sum",
    )
