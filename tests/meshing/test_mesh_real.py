"""The mesh generator on a real left coronary with an 84 % lesion (a throat of 0.62 mm)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from scipy.spatial import cKDTree

from meshing.generate import generate
from meshing.jacobian import jacobian_bounds
from meshing.lumen import Cap, LumenSurface, join_lines
from meshing.options import MeshOptions

DATA = Path(__file__).parents[2] / "../shared/data/left_coronary"


def left_coronary() -> LumenSurface:
    surface: Any = pyvista.read(DATA / "m1_fluid.stl").clean()
    points = np.asarray(surface.points, dtype=np.float64)
    triangles = surface.faces.reshape(-1, 4)[:, 1:].astype(np.int64)
    patch, caps, tree = np.zeros(len(triangles), dtype=np.int32), [], cKDTree(points)
    for k in range(7):
        cap: Any = pyvista.read(DATA / f"BC{k}.stl")
        _, on_cap = tree.query(cap.clean().points)
        patch[np.isin(triangles, on_cap).all(axis=1)] = k + 1
        caps.append(Cap(f"BC{k}", "outlet" if k else "inlet", k + 1))
    lines: Any = pyvista.read(DATA / "derived_vmtk_centerlines.vtp")
    radius = np.asarray(lines["MaximumInscribedSphereRadius"], dtype=np.float64)
    axes = [np.asarray(lines.get_cell(i).point_ids) for i in range(lines.n_cells)]
    along = np.asarray(lines.points, dtype=np.float64)
    keep, upstream = join_lines([along[axis] for axis in axes])
    chosen = np.concatenate(axes)[keep]
    return LumenSurface(
        points, triangles, patch, tuple(caps), along[chosen], radius[chosen], upstream
    )


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"no {DATA}")
def test_real_left_coronary(tmp_path):
    mesh = generate(left_coronary(), MeshOptions(), tmp_path)
    quality, arrays = mesh.quality, mesh.arrays()
    assert quality["rung"] == "mmgs + hxt"
    assert abs(quality["volume_error"]) < 2e-3
    assert quality["min_dihedral_deg"] > 8
    lowest, mean = jacobian_bounds(arrays.points, arrays.cells)
    assert (lowest > 0).all()
    assert mean.sum() / 6 * 1e9 == pytest.approx(1530.06, rel=0.04)  # facets lose up to 2.6 %
    tightest = min(quality["throats"], key=lambda throat: throat["diameter_mm"])
    assert tightest["diameter_mm"] == pytest.approx(0.67, abs=0.02)
    assert all(throat["across"] >= 6 for throat in quality["throats"])
    assert len(mesh.outlets) == 6
    assert quality["straightened_edges"] < 1e-3 * quality["curved_edges"]
