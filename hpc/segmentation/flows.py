"""What a segmentation does to FFR: the exact lumen and the found one, cut at the same places, through the same beds.

Both lumina become surfaces in the same way and go through the pipeline from surface to FFR. Vessels thinner than
`LEAST_MM` are cut off both. The beds are those that the pipeline gives the exact tree: an end of the found one has the
resistance of the vessel it lies on; ends on no true vessel are all but closed (`CLOSED`), so that what is measured is
the lumen's error and not the bed's.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from anatomy import STEP, Array, Scanned, Walk, reference_radius
from scipy import ndimage
from scipy.spatial import cKDTree

from meshing.errors import ComputationError
from pipeline.anatomy.types import Anatomy as FoundAnatomy
from pipeline.case import SurfaceOptions
from pipeline.compare import compare
from pipeline.imaging import Volume
from pipeline.surface.levelset import lumen_of_shares
from pipeline.surface.mesh import write_stl

LEAST_MM = 1.5
FINE_MM = 0.25
CLOSED = 1e5  # mmHg s/mL: a thousand times what a coronary's bed has
MESH = {"elements_per_diameter": 3, "elements_across_throat": 4, "jet_growth": 0.06}
FFR_FROM_MM = 2.0  # reference diameter of lesions that errors of FFR are told of
GRADES = (0.25, 0.5, 0.7, 1.0)  # stenoses that they are told by
_SHORT_MM = 8.0  # a branch must be so long where it is wide enough
_FREE_MM = 4.0  # and so long beside no other vessel
_LESION_MM, _LESION = 4.0, 0.2  # so near to a lesion that is one a vessel is narrowed by so much
_END, _END_RADII, _END_MM = (
    5,
    2.0,
    1.5,
)  # points that tell its direction; what is so near lies at an end
_BLOCK_MM = 2.0
_NEAR_MM = 4.0  # what is further than this from every middle is not lumen
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of a tree that counts: vessels of at least `LEAST_MM`, from the aorta on.

    Attributes:
        side: Left or right.
        walks: Its walks, cut.
        ends: Where they end, by name of the walk; not those that others go on from, or that run into others.
        middles: Of all walks of the side, thin ones too, ``(n, 3)``.
        radii: Of the vessels there without their lesions [mm], ``(n,)``.
        counts: Which of these are kept, ``(n,)``.
        ostium: Where the tree leaves the aorta.
    """

    side: str
    walks: tuple[Walk, ...]
    ends: dict[str, Array]
    middles: Array
    radii: Array
    counts: Mask
    ostium: Array

    @classmethod
    def of(cls, anatomy: Scanned, side: str) -> Kept:
        """The wide part of a side's tree; the first walk leaves the aorta."""
        every = anatomy.arteries[side]
        kept, healthy = list[Walk](), list[Walk]()
        counts = []
        for walk in every:
            wide = 2 * reference_radius(walk) >= LEAST_MM
            stop = len(wide) if wide.all() else int(np.argmin(wide))
            gaps = np.array([_gaps(walk.points[:stop], other) for other in kept])
            good = stop * STEP >= _SHORT_MM
            if good and kept:
                free = (gaps > walk.radius[:stop]).all(axis=0).sum() * STEP
                good = gaps[:, 0].min() < STEP and free >= _FREE_MM
            counts.append(np.arange(len(wide)) < (stop if good else 0))
            if good:
                kept.append(Walk(walk.name, walk.points[:stop], walk.radius[:stop]))
                healthy.append(Walk(walk.name, walk.points[:stop], reference_radius(walk)[:stop]))
        middles = np.concatenate([walk.points for walk in every])
        inside = np.any([_gaps(middles, walk) < 0 for walk in healthy], axis=0)
        outside = anatomy.aorta_distance(kept[0].points) > 0
        ends = {
            walk.name: walk.points[-1]
            for walk in kept
            if all(_gaps(walk.points[-1:], other)[0] > 0 for other in kept if other is not walk)
        }
        return cls(
            side,
            tuple(kept),
            ends,
            middles,
            np.concatenate([reference_radius(walk) for walk in every]),
            np.concatenate(counts) | inside,  # a thin branch begins inside its parent
            kept[0].points[int(np.argmax(outside))],
        )

    def holds(self, anatomy: Scanned, points: Array) -> Mask:
        """Which points are nearer to the healthy wall of a kept vessel than to that of a thin one.

        To the wall, for a voxel of a throat may be nearer to the middle of a thin branch; to the healthy one, for a
        throat's own is not where the vessel is.
        """
        place = anatomy.bent(points)
        gaps = []
        for part in (self.counts, ~self.counts):
            if not part.any():
                return np.full(len(points), bool(self.counts.any()))
            away, nearest = cKDTree(self.middles[part]).query(place)
            gaps.append(np.asarray(away) - self.radii[part][nearest])
        return np.asarray((gaps[0] <= gaps[1]) & ~self._beyond(place))

    def _beyond(self, place: Array) -> Mask:
        """Which places among the walks lie ahead of an end: thin branches that begin there would leave slivers."""
        out = np.zeros(len(place), np.bool_)
        for walk in self.walks:
            if walk.name not in self.ends:
                continue
            end, ahead = walk.points[-1], walk.points[-1] - walk.points[-_END]
            arm = place - end
            near = np.linalg.norm(arm, axis=1) < max(_END_RADII * walk.radius[-1], _END_MM)
            past = np.flatnonzero(near & (arm @ ahead > 0))
            for other in self.walks:
                if other is not walk and len(past):
                    past = past[_gaps(place[past], other) > 0]
            out[past] = True
        return out


def _gaps(points: Array, walk: Walk) -> Array:
    """Distances of points to a walk's wall, ``(n,)``."""
    away, nearest = (np.asarray(part) for part in cKDTree(walk.points).query(points))
    return np.asarray(away - walk.radius[nearest])


def exact_shares(anatomy: Scanned, kept: Kept) -> tuple[Volume, Mask]:
    """Shares of the exact lumen on voxels of `FINE_MM`, and the lumen's voxels."""
    middles = np.concatenate([walk.points for walk in kept.walks])
    low, high = middles.min(axis=0) - 6.0, middles.max(axis=0) + 6.0
    many = int(_BLOCK_MM / FINE_MM)
    blocks = np.ceil((high - low) / _BLOCK_MM).astype(int)
    corner = np.indices(blocks).reshape(3, -1).T
    gap = cKDTree(middles).query(low + (corner + 0.5) * _BLOCK_MM, distance_upper_bound=7.0)[0]
    near = corner[gap < _NEAR_MM + _BLOCK_MM]
    within = np.array(list(itertools.product(range(many), repeat=3)))
    index = (near[:, None] * many + within).reshape(-1, 3)
    points = low + index * FINE_MM
    lumen = anatomy.lumen_distance(points, kept.side)
    distance = np.maximum(lumen, -anatomy.aorta_distance(points))
    distance[~kept.holds(anatomy, points)] = 1.0
    shares = np.zeros(blocks * many, np.float32)
    shares[tuple(index.T)] = np.clip(0.5 - distance / FINE_MM, 0, 1)
    affine = np.diag([FINE_MM] * 3 + [1.0])
    affine[:3, 3] = low
    return Volume(shares, affine), np.asarray(shares > 0.5)


def found_shares(anatomy: Scanned, kept: Kept, shares: Volume, body: Mask) -> tuple[Volume, Mask]:
    """Shares that were found, cut where the exact tree is cut; what then hangs on no vessel that counts is lost.

    Args:
        anatomy: What was scanned.
        kept: The part of the side's tree that counts.
        shares: As found.
        body: Voxels of the side's tree.
    """
    index = np.argwhere(shares.array > 0)
    holds = kept.holds(anatomy, shares.to_world(index.astype(np.float64)))
    cut, lumen = shares.array.copy(), body.copy()
    cut[tuple(index[~holds].T)] = 0
    lumen[tuple(index[~holds].T)] = False
    pieces, count = ndimage.label(lumen, np.ones((3, 3, 3)))
    if count > 1:
        voxels = np.argwhere(lumen)
        places = anatomy.bent(shares.to_world(voxels.astype(np.float64)))
        first = voxels[np.linalg.norm(places - kept.ostium, axis=1).argmin()]
        lost = lumen & (pieces != pieces[tuple(first)])
        cut[
            ndimage.binary_dilation(lost, np.ones((3, 3, 3))) & (pieces != pieces[tuple(first)])
        ] = 0
        lumen &= ~lost
    return Volume(cut, shares.affine), lumen


def solve_exact(anatomy: Scanned, kept: Kept, folder: Path) -> dict[str, float]:
    """FFR of the exact lumen in a run folder; resistances [mmHg s/mL] of its ends by name.

    Raises:
        ComputationError: A stage did not end well.
    """
    if not (folder / "ffr" / "ffr.json").exists():
        names = {name: [float(x) for x in at] for name, at in kept.ends.items()}
        _run(folder, exact_shares(anatomy, kept), {"names": names}, kept, {})
    told = json.loads((folder / "ffr" / "ffr.json").read_text())
    return {v["name"]: v["outlet_resistance_mmHg_s_per_mL"] for v in told["vessels"]}


def solve_found(
    anatomy: Scanned,
    kept: Kept,
    shares: tuple[Volume, Mask],
    beds: Mapping[str, float],
    folder: Path,
) -> dict[str, Any]:
    """FFR of a found lumen through the exact one's beds.

    Returns:
        ``missed_ends``, vessels of the exact tree that no end lies on; ``false_ends``, how many lie on none.

    Raises:
        ComputationError: A stage did not end well.
    """
    _run(folder, shares, {}, kept, {}, "anatomy")
    ends = FoundAnatomy.load(folder / "anatomy" / "anatomy.json").outlets
    owner = match_ends(anatomy, kept, {end.name: np.asarray(end.centre_mm) for end in ends})
    outlets = {
        end.name: {"resistance_mmHg_s_per_mL": beds[owner[end.name]] if end.name in owner else CLOSED}
        for end in ends
    }  # fmt: skip
    _run(folder, shares, {}, kept, outlets)
    return {
        "missed_ends": sorted(set(beds) - set(owner.values())),
        "false_ends": len(ends) - len(owner),
    }


def match_ends(anatomy: Scanned, kept: Kept, ends: Mapping[str, Array]) -> dict[str, str]:
    """Which vessel of the exact tree every end lies on; of several on one vessel the furthest along it.

    Args:
        anatomy: What was scanned.
        kept: The part of the tree that counts.
        ends: Middles of the found ends, ``(3,)``, by name.
    """
    best: dict[str, tuple[int, str]] = {}
    for name, at in ends.items():
        place = anatomy.bent(at[None])[0]
        gaps = {
            walk.name: np.linalg.norm(walk.points - place, axis=1) - walk.radius
            for walk in kept.walks
            if walk.name in kept.ends
        }
        nearest = min(gaps, key=lambda vessel: float(gaps[vessel].min()))
        if gaps[nearest].min() > 1.0:
            continue
        along = int(gaps[nearest].argmin())
        if along > best.get(nearest, (-1, ""))[0]:
            best[nearest] = (along, name)
    return {name: vessel for vessel, (_, name) in best.items()}


def ffr_errors(
    anatomy: Scanned, side: str, found: tuple[Volume, Mask], folder: Path, exact: Path
) -> dict[str, Any]:
    """What a found lumen does to the FFR of one side; JSON-able.

    Args:
        anatomy: What was scanned.
        side: Left or right.
        found: Shares as found, and the voxels of the side's tree.
        folder: For the found lumen's run.
        exact: For the exact lumen's run; kept from one method to the next.

    Returns:
        ``vessels`` and ``lesions`` as `pipeline.compare.compare` tells them, missed and false ends; or ``fault``, with
        ``exact`` true where already the exact lumen failed.
    """  # fmt: skip
    kept = Kept.of(anatomy, side)
    try:
        beds = solve_exact(anatomy, kept, exact)
    except (ComputationError, ValueError) as error:
        return {"side": side, "fault": str(error), "exact": True}
    try:
        shares = found_shares(anatomy, kept, *found)
        ends = solve_found(anatomy, kept, shares, beds, folder)
        told = compare(exact, folder)
    except (ComputationError, ValueError) as error:
        return {"side": side, "fault": str(error), "exact": False}
    for lesion in told["lesions"]:
        lesion["drawn"] = narrowed(anatomy, side, np.asarray(lesion["centre_mm"]))
    return {"side": side, "vessels": told["vessels"], "lesions": told["lesions"], **ends}


def narrowed(anatomy: Scanned, side: str, at: Array) -> bool:
    """Whether a vessel was drawn narrower near a point: oblique ostia and forks are found as lesions at times."""
    for walk in anatomy.arteries[side]:
        near = np.linalg.norm(walk.points - at, axis=1) < _LESION_MM
        if near.any() and (walk.radius / reference_radius(walk))[near].min() < 1 - _LESION:
            return True
    return False


def is_diseased(anatomy: Scanned, side: str) -> bool:
    """Whether a lesion was drawn into a side's vessels that errors of FFR are told of."""
    return any(
        bool(((walk.radius < (1 - _LESION) * ref) & (2 * ref >= FFR_FROM_MM)).any())
        for walk in anatomy.arteries[side]
        for ref in (reference_radius(walk),)
    )


def summary(sides: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of FFR distal of drawn lesions, by stenosis, and decisions at 0.80 that change; trees that failed.

    A lesion the found lumen does not reach has no error; it is counted (``lesions_lost``), as are trees that failed.
    """
    lesions = [
        lesion
        for side in sides
        for lesion in side.get("lesions", [])
        if lesion["drawn"] and lesion["reference_diameter_mm"] >= FFR_FROM_MM
    ]
    seen = [lesion for lesion in lesions if lesion["difference"] is not None]
    told: dict[str, Any] = {
        "trees": len(sides),
        "trees_failed": sum("fault" in side and not side["exact"] for side in sides),
        "trees_exact_failed": sum("fault" in side and side["exact"] for side in sides),
        "ends_missed": sum(len(side.get("missed_ends", [])) for side in sides),
        "ends_false": sum(side.get("false_ends", 0) for side in sides),
        "lesions": len(lesions),
        "lesions_lost": len(lesions) - len(seen),
    }
    if not seen:
        return told
    errors = [abs(lesion["difference"]) for lesion in seen]
    told["ffr_median"], told["ffr_95"] = float(np.median(errors)), float(np.percentile(errors, 95))
    told["ffr_bias"] = statistics.mean(lesion["difference"] for lesion in seen)
    told["ffr_by_stenosis"] = {
        f"{low:.0%} to {high:.0%}": [len(part), float(np.median(part)), float(np.max(part))]
        for low, high in itertools.pairwise(GRADES)
        if (
            part := [
                e for e, x in zip(errors, seen, strict=True) if low <= x["first_stenosis"] < high
            ]
        )
    }
    flips = [(x["first"] <= 0.8) != (x["second"] <= 0.8) for x in seen]
    grey = [flip for flip, x in zip(flips, seen, strict=True) if 0.75 <= x["first"] <= 0.80]
    told["flips_at_0.80"], told["flips_in_0.75_to_0.80"] = sum(flips), [sum(grey), len(grey)]
    return told


def _run(
    folder: Path,
    shares: tuple[Volume, Mask],
    anatomy: Mapping[str, Any],
    kept: Kept,
    outlets: Mapping[str, Any],
    to: str = "ffr",
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    surface = folder / "lumen.stl"
    write_stl(lumen_of_shares(*shares, SurfaceOptions())[0], surface)
    case = folder.with_suffix(".yaml")
    case.write_text(
        yaml.safe_dump(
            {
                "name": folder.name,
                "input": {"kind": "surface", "path": str(surface.resolve())},
                "anatomy": {
                    "inlet": [float(x) for x in kept.ostium],
                    "rounded_ends": "open",
                    **anatomy,
                },
                "mesh": MESH,
                "physiology": {"outlets": outlets},
            }
        )
    )
    command = [Path(sys.executable).parent / "ffr3d", "run", case, "-o", folder, "--to", to]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ComputationError(" ".join(lines[-4:])[:400])
