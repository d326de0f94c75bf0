"""Scans of the generator that training draws from, of seeds that training never sees.

What `scans` is for scans built another way: the error that is left where test and training are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from anatomy import STEP, Array, Walk
from scans import TestScan

from pipeline.imaging import Volume
from pipeline.phantom.scan import Scanner, Scene, draw_scene, render
from pipeline.phantom.scan.plaque import Diseased

VOXEL_MM = 0.4
MARGIN_MM = 8.0
SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class Phantoms:
    """Both trees of a scene, as `anatomy.Scanned`."""

    scene: Scene

    @property
    def arteries(self) -> dict[str, list[Walk]]:
        """A walk a path; the left main is part of the LAD's."""
        return {
            side: walks_of(vessel) for side, vessel in zip(SIDES, self.scene.vessels, strict=True)
        }

    def bent(self, points: Array) -> Array:
        """Points where space has been displaced."""
        return self.scene.among_vessels(points)

    def lumen_distance(self, points: Array, side: str) -> Array:
        """Signed distance to a side's lumen, negative inside, ``(n,)``; vessels go on behind their ends."""
        tree = self.scene.vessels[SIDES.index(side)].lumen
        return tree.signed_distance(self.bent(points), cut=False)

    def aorta_distance(self, points: Array) -> Array:
        """Signed distance to the aortic blood, negative inside, ``(n,)``; cut at some millimetres."""
        return np.asarray(self.scene.aorta(self.scene.to_heart(points)))


def walks_of(vessel: Diseased) -> list[Walk]:
    """The paths of a tree as walks."""
    walks = []
    bodies = np.array([body.centre for body in vessel.calcium]).reshape(-1, 3)
    for number, path in enumerate(vessel.lumen.paths):
        names = [part.name for part in vessel.lumen.segments if part.path == number]
        s = np.arange(path.start, path.end, STEP)
        value = path.spline(s)
        points, radius = value[:, :3] + value[:, 3:6], value[:, 6]
        gaps = np.linalg.norm(points[:, None] - bodies, axis=2)
        near = gaps.min(axis=1, initial=np.inf) < radius + 2.0
        outer = 1.1 * path.healthy_radius(s) + 0.35  # what `anatomy.reference_radius` takes off
        walks.append(Walk(names[-1], points, radius, outer, points, np.where(near, 0.0, 9.0)))
    return walks


def anatomy_of(seed: int) -> Phantoms:
    """What a seed's scan shows."""
    return Phantoms(draw_scene(seed))


def make(seed: int) -> TestScan:
    """The scan of a seed."""
    anatomy = anatomy_of(seed)
    scene = anatomy.scene
    points = np.concatenate([path.centre for v in scene.vessels for path in v.lumen.paths])
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = low
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / VOXEL_MM))
    rng = np.random.default_rng([seed, 3])
    scan = render(scene, Volume(np.empty((nx, ny, nz), np.bool_), affine), Scanner.draw(rng), rng)
    return TestScan(seed, scan.ct, anatomy, scan.exact.distance)
