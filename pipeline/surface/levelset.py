"""Label map -> smooth closed surface that keeps the volume, vessel by vessel.

1. The labels are blurred a little (less than a voxel), held to their side of 1/2 at every voxel centre so that the
   topology is that of the labels, and contoured by marching cubes on a refined grid.
2. The staircase is removed by a windowed-sinc low-pass filter on the mesh (Taubin, Zhang & Golub, ECCV 1996,
   LNCS 1064:283-292), whose pass band starts at about eight voxels.
3. Both steps displace a thin vessel's wall. The labels say by how much: with the partial volumes P of the mesh and
   the labels L, both blurred by the same kernel, the wall is moved along its normal by
   ``G * (L - P) / (G * dP/dn)`` until the blurred volumes agree on the wall. As like is compared with like, the
   blur leaves no bias, whatever the curvature; the lumen volume is that of the voxels to first order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_matrix, diags_array
from scipy.spatial import cKDTree

from meshing.errors import ComputationError
from pipeline.case import SurfaceOptions
from pipeline.imaging import Volume
from pipeline.surface.crossing import crossing_triangles
from pipeline.surface.mesh import Floats, TriangleMesh
from pipeline.surface.voxels import Mask, one_lumen, thin_places

Singles = npt.NDArray[np.float32]

CUTOFF_VOXELS = 8.0  # shortest wave of the wall that is kept, at smoothing 1
SHARES_REACH = (
    0.5  # voxels: shares tell the wall so well that it goes no farther from their contour
)
_BLUR_VOXELS = 0.7
_MATCH_VOXELS = 1.5  # kernel of the volume comparison
_ROUNDS = 14
_LOW_PASSES = 10  # the last rounds only settle the volume
_AVERAGINGS = 10  # of the displacement over neighbouring vertices, a round
# Where the local radius [voxels] is below THIN_FULL by a voxel or more, only this part of a low-pass step is
# taken (linear between): whole steps would close the vessel before the volumes can open it again.
THIN_FULL = 1.5
THIN_STEP = 0.2
# Where a wall crosses itself: what a step leaves of the way from its contour, how many there are (the last ones leave
# nothing), and the rings of triangles around that go with it in the second half of them.
_RETREAT, _RETREATS, _RINGS = 0.8, 14, 3
_AROUND_MM = 3.0  # of a crossing: what can cross after a step
_MAX_TRIANGLES = 400_000


def lumen_of_labels(
    volume: Volume, options: SurfaceOptions, source: object = None
) -> tuple[TriangleMesh, dict[str, Any]]:
    """The lumen surface of a boolean label map.

    Args:
        volume: True inside.
        options: ``smoothing`` scales the cut-off wave length; ``keep`` decides about several bodies.
        source: File named in errors.

    Returns:
        Closed surface [mm, LPS], normals outward; report (bodies dropped, notes, voxel volume).

    Raises:
        InputError: Not one lumen; see `one_lumen`.
    """
    lumen = one_lumen(volume, options.keep, source)
    mesh = smooth_surface(lumen.volume, lumen.connected, options.smoothing)
    voxels = int(lumen.volume.array.sum())
    cell = abs(float(np.linalg.det(volume.affine[:3, :3])))
    report = {
        "voxel_mm": [float(x) for x in volume.spacing_mm],
        "label_volume_mm3": voxels * cell,
        "bodies_dropped": list(lumen.dropped),
        "notes": [*lumen.notes, *thin_places(lumen.volume)],
    }
    return mesh, report


def lumen_of_shares(
    volume: Volume, body: Mask, options: SurfaceOptions, source: object = None
) -> tuple[TriangleMesh, dict[str, Any]]:
    """The lumen surface of shares (or probabilities trained on them): between voxels, the wall is where they say.

    Args:
        volume: Part of each voxel inside the lumen, 0 to 1.
        body: The voxels that belong to it, connected even where a vessel is thinner than a voxel; same shape.
        options: As in `lumen_of_labels`.
        source: File named in errors.

    Returns:
        Closed surface [mm, LPS], normals outward; report.

    Raises:
        InputError: Not one lumen; see `one_lumen`.
    """
    lumen = one_lumen(Volume(body, volume.affine), options.keep, source)
    first = np.rint(volume.to_index(lumen.volume.affine[:3, 3][None])[0]).astype(int)
    near = ndimage.binary_dilation(lumen.volume.array, iterations=3)
    shares = np.where(near, _window(volume.array, first, near.shape), 0.0).astype(np.float32)
    mesh = smooth_surface(lumen.volume, lumen.connected, options.smoothing, shares)
    cell = abs(float(np.linalg.det(volume.affine[:3, :3])))
    report = {
        "voxel_mm": [float(x) for x in volume.spacing_mm],
        "share_volume_mm3": float(shares.sum(dtype=np.float64)) * cell,
        "bodies_dropped": list(lumen.dropped),
        "notes": list(lumen.notes),
    }
    return mesh, report


def _window(array: Singles, first: npt.NDArray[np.int_], shape: tuple[int, ...]) -> Singles:
    """The part of an array that begins at an index and has a shape; zero where it leaves the array."""
    out = np.zeros(shape, np.float32)
    low = np.maximum(first, 0)
    high = np.minimum(first + shape, array.shape)
    here = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    there = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    out[here] = array[there]
    return out


def smooth_surface(
    volume: Volume, connected: Mask, smoothing: float, shares: Singles | None = None
) -> TriangleMesh:
    """Closed, smooth, volume-preserving surface of a padded label map, or of shares on it; see the module."""
    labels = volume.array.astype(np.float32) if shares is None else shares
    mesh = _contour(volume, connected, smoothing if shares is None else 0.0, labels)
    if smoothing == 0.0:
        return mesh
    voxel = float(np.cbrt(abs(np.linalg.det(volume.affine[:3, :3]))))
    comparison = _Comparison.of(volume, labels)
    low_pass = _LowPass.of(mesh, connected, volume, smoothing * voxel)
    first = mesh.points
    mesh = low_pass(mesh)
    for number in range(_ROUNDS):
        way = low_pass.average(comparison.displacement(mesh), _AVERAGINGS)
        mesh = TriangleMesh(
            mesh.points + way[:, None] * vertex_normals(mesh), mesh.triangles, mesh.cap
        )
        if number < _LOW_PASSES:
            mesh = low_pass(mesh)
        if shares is not None:
            mesh = _held(mesh, first, SHARES_REACH * voxel)
    return _uncrossed(mesh, first)


def _uncrossed(mesh: TriangleMesh, first: Floats) -> TriangleMesh:
    """Where the smoothed wall passes through itself it goes back towards its contour, which never does."""
    way, part = mesh.points - first, np.ones(len(first))
    pairs, places = crossing_triangles(mesh)
    for number in range(_RETREATS):
        if len(pairs) == 0:
            break
        near = np.zeros(len(first), np.bool_)
        near[mesh.triangles[np.unique(pairs)]] = True
        for _ in range(1 if number < _RETREATS // 2 else _RINGS):
            near[mesh.triangles[near[mesh.triangles].any(axis=1)]] = True
        part[near] *= _RETREAT if number < _RETREATS - _RINGS else 0.0
        mesh = TriangleMesh(first + part[:, None] * way, mesh.triangles, mesh.cap)
        away = np.asarray(cKDTree(places).query(mesh.corners.mean(axis=1))[0])
        around = np.flatnonzero(away < _AROUND_MM)  # the rest has not moved
        pairs, found = crossing_triangles(mesh.keep(away < _AROUND_MM))
        pairs, places = around[pairs], np.concatenate([places, found])
    return mesh


def _held(mesh: TriangleMesh, first: Floats, reach: float) -> TriangleMesh:
    """The mesh with no point farther than ``reach`` from where it was first (a sharp rim would grow ears)."""
    way = mesh.points - first
    length = np.linalg.norm(way, axis=1, keepdims=True)
    points = first + way * np.minimum(1.0, reach / np.maximum(length, 1e-12))
    return TriangleMesh(points, mesh.triangles, mesh.cap)


def _contour(volume: Volume, connected: Mask, smoothing: float, labels: Singles) -> TriangleMesh:
    from skimage import measure

    marching_cubes: Any = measure.marching_cubes

    blurred = ndimage.gaussian_filter(labels, _BLUR_VOXELS * smoothing)
    field = np.where(connected, np.maximum(blurred, 0.55), np.minimum(blurred, 0.45))
    wall = int((connected ^ ndimage.binary_erosion(connected)).sum())
    zoom = 2 if 10 * wall < _MAX_TRIANGLES else 1
    if zoom == 2:
        field = _doubled(field)
    vertices, triangles, _, _ = marching_cubes(field, 0.5, gradient_direction="descent")
    points = volume.to_world(vertices.astype(np.float64) / zoom)
    mesh = TriangleMesh.of(points, triangles.astype(np.int64))
    if mesh.volume < 0.0:
        mesh = TriangleMesh.of(points, triangles[:, ::-1].astype(np.int64))
    return mesh


def _doubled(field: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Linear interpolation onto a grid of half the spacing, corner voxels kept."""
    for axis in range(3):
        a = np.moveaxis(field, axis, 0)
        out = np.empty((2 * a.shape[0] - 1, *a.shape[1:]), field.dtype)
        out[::2], out[1::2] = a, 0.5 * (a[1:] + a[:-1])
        field = np.moveaxis(out, 0, axis)
    return field


@dataclass(frozen=True, slots=True)
class _LowPass:
    """Removes short waves from a wall without shrinking it; spares vessels hardly wider than a voxel.

    Attributes:
        wave_mm: Shortest wave kept on wide vessels.
        thin: 1 at vertices of vessels about a voxel wide, 0 from three voxels on, ``(n,)``.
        mean: Averages a value over a vertex and its neighbours, sparse ``(n, n)``.
    """

    wave_mm: float
    thin: Floats
    mean: Any

    @classmethod
    def of(cls, mesh: TriangleMesh, connected: Mask, volume: Volume, unit: float) -> _LowPass:
        depth = ndimage.distance_transform_edt(connected).astype(np.float32)
        width = ndimage.gaussian_filter(ndimage.grey_dilation(depth, size=(3, 3, 3)), 1.0) - 0.5
        local = ndimage.map_coordinates(width, volume.to_index(mesh.points).T, order=1)
        t, n = mesh.triangles, len(mesh.points)
        rows = np.concatenate([t, np.roll(t, 1, axis=1), np.roll(t, 2, axis=1)], axis=0)[:, 0]
        cols = np.concatenate([t, np.roll(t, 1, axis=1), np.roll(t, 2, axis=1)], axis=0)[:, 1]
        ends = (
            np.concatenate([rows, cols, np.arange(n)]),
            np.concatenate([cols, rows, np.arange(n)]),
        )
        graph = coo_matrix((np.ones(len(ends[0])), ends), shape=(n, n)).tocsr()
        graph.data[:] = 1.0
        mean = diags_array(1.0 / np.asarray(graph.sum(axis=1)).ravel()) @ graph
        return cls(CUTOFF_VOXELS * unit, np.clip(THIN_FULL - local, 0.0, 1.0), mean)

    def average(self, values: Floats, times: int) -> Floats:
        """Values averaged over neighbours, several times."""
        for _ in range(times):
            values = self.mean @ values
        return values

    def __call__(self, mesh: TriangleMesh) -> TriangleMesh:
        """The mesh with its points moved."""
        step = 1.0 - (1.0 - THIN_STEP) * self.thin[:, None]
        points = mesh.points + step * (_windowed_sinc(mesh, self.wave_mm) - mesh.points)
        return TriangleMesh(points, mesh.triangles, mesh.cap)


def _windowed_sinc(mesh: TriangleMesh, wave_mm: float) -> Floats:
    """Points after removing waves shorter than about ``wave_mm``."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkWindowedSincPolyDataFilter

    from pipeline.surface.mesh import poly_data

    a, b = mesh.points[mesh.triangles[:, 0]], mesh.points[mesh.triangles[:, 1]]
    edge = float(np.linalg.norm(a - b, axis=1).mean())
    smoother = vtkWindowedSincPolyDataFilter()
    smoother.SetInputData(poly_data(mesh))
    smoother.SetNumberOfIterations(40)
    smoother.SetPassBand(float(np.clip((2 * np.pi * edge / wave_mm) ** 2 / 4.0, 1e-3, 1.9)))
    smoother.NormalizeCoordinatesOn()
    smoother.NonManifoldSmoothingOn()
    smoother.FeatureEdgeSmoothingOff()
    smoother.BoundarySmoothingOff()
    smoother.Update()
    moved = vtk_to_numpy(smoother.GetOutput().GetPoints().GetData())
    points = np.asarray(moved, dtype=np.float64)
    if len(points) != len(mesh.points) or not np.isfinite(points).all():
        raise ComputationError(
            "the low-pass filter of the label surface failed; try surface.smoothing: 0.5"
        )
    return points


def vertex_normals(mesh: TriangleMesh) -> Floats:
    """Area-weighted unit normals at the vertices, ``(n, 3)``."""
    vectors = mesh.area_vectors
    normals = np.zeros_like(mesh.points)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(
                mesh.triangles[:, k], vectors[:, axis], minlength=len(mesh.points)
            )
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-30)[:, None])


def _curvature(mesh: TriangleMesh) -> Floats:
    """Sum of the principal curvatures at the vertices [1/mm], positive where convex, ``(n,)``.

    The rate at which the area about a vertex grows as the wall moves outward.
    """
    normals = vertex_normals(mesh)
    step = 0.05 * float(np.sqrt(mesh.areas.mean()))
    grown, shrunk = (
        _vertex_areas(TriangleMesh(mesh.points + s * step * normals, mesh.triangles, mesh.cap))
        for s in (1.0, -1.0)
    )
    return np.asarray((grown - shrunk) / (step * np.maximum(grown + shrunk, 1e-30)))


def _vertex_areas(mesh: TriangleMesh) -> Floats:
    """A third of the area of the triangles about each vertex and its neighbours [mm^2], ``(n,)``."""
    n = len(mesh.points)
    areas = np.bincount(mesh.triangles.ravel(), np.repeat(mesh.areas, 3), minlength=n) / 3.0
    around = areas[mesh.triangles].sum(axis=1)
    return np.asarray(np.bincount(mesh.triangles.ravel(), np.repeat(around, 3), minlength=n))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Blurred volume of the labels against that of a mesh.

    Attributes:
        volume: The labels.
        blurred: The labels, blurred.
        band: Flat indices of the voxels within reach of the wall.
        inside: The labels without the band.
    """

    volume: Volume
    blurred: npt.NDArray[np.float32]
    band: npt.NDArray[np.int64]
    inside: npt.NDArray[np.float32]

    @classmethod
    def of(cls, volume: Volume, labels: npt.NDArray[np.float32]) -> _Comparison:
        full = np.ones((3, 3, 3), np.bool_)
        near = ndimage.binary_dilation(volume.array, full, iterations=2)
        deep = ndimage.binary_erosion(volume.array, full, iterations=2)
        band = np.flatnonzero(near & ~deep)
        return cls(
            volume, ndimage.gaussian_filter(labels, _MATCH_VOXELS), band, deep.astype(np.float32)
        )

    def displacement(self, mesh: TriangleMesh) -> Floats:
        """How far the wall must move outward at each vertex [mm], ``(n,)``."""
        part, growth = self._partial_volumes(mesh)
        index = self.volume.to_index(mesh.points).T
        gap = self.blurred - ndimage.gaussian_filter(part, _MATCH_VOXELS)
        rate = ndimage.gaussian_filter(growth, _MATCH_VOXELS)
        limit = 0.5 * float(self.volume.spacing_mm.min())
        gap_here = ndimage.map_coordinates(gap, index, order=1)
        rate_here = ndimage.map_coordinates(rate, index, order=1)
        way = gap_here / np.maximum(rate_here, 0.01 / limit)
        return np.asarray(np.clip(way, -limit, limit), dtype=np.float64)

    def _partial_volumes(self, mesh: TriangleMesh) -> tuple[Singles, Singles]:
        """Part of each voxel inside the mesh, and how it grows as the wall moves outward [1/mm].

        Within a voxel the wall is taken as plane, shifted by the mean effect of its curvature.
        """
        shape = self.volume.array.shape
        index = np.column_stack(np.unravel_index(self.band, shape)).astype(np.float64)
        centres = self.volume.to_world(index)
        nearest = cKDTree(mesh.points).query(centres)[1]
        n = vertex_normals(mesh)[nearest]
        depth = -((centres - mesh.points[nearest]) * n).sum(1)
        width = np.maximum(np.linalg.norm(n @ self.volume.affine[:3, :3], axis=1), 1e-9)
        bend = np.clip(_curvature(mesh)[nearest], -1.0 / width, 1.0 / width)
        depth -= (
            width**2 * bend / 24.0
        )  # a plane would give a convex wall the volume of r^2 + h^2 / 12
        part, growth = self.inside.copy(), np.zeros(shape, np.float32)
        part.ravel()[self.band] = np.clip(0.5 + depth / width, 0.0, 1.0)
        growth.ravel()[self.band] = np.where(np.abs(depth) < width / 2, 1.0 / width, 0.0)
        return part, growth
