"""Sizes in narrowings, by the centreline alone."""

import numpy as np

from meshing.lumen import LumenSurface
from meshing.options import MeshOptions
from meshing.sizing import Finer, centerline_sizes, find_throats


def line(radius, step):
    """A straight vessel of these radii; only its centreline is there."""
    n = len(radius)
    centerline = np.column_stack([np.zeros((n, 2)), step * np.arange(n)])
    nothing = np.zeros((0, 3))
    return LumenSurface(
        points=nothing,
        triangles=nothing.astype(np.int64),
        patch=np.zeros(0, np.int32),
        caps=(),
        centerline=centerline,
        radius=radius,
        upstream=np.arange(n) - 1,
    )


def test_a_long_narrowing_is_one_throat_from_end_to_end():
    z = np.arange(0, 40, 0.1)
    radius = np.where(abs(z - 20) < 8, 0.6, 1.5) + 0.01 * np.sin(
        5 * z
    )  # the least of several minima
    elsewhere = np.where(z > 34, 0.65, np.inf)  # as narrow, but another stretch
    vessel = line(np.minimum(radius, elsewhere), 0.1)
    throats = find_throats(vessel.centerline, vessel.radius, vessel.upstream)
    assert len(throats) == 1
    options = MeshOptions(elements_per_diameter=5, elements_across_throat=7)
    size = centerline_sizes(vessel, throats, options, Finer())
    inside = abs(z - 20) < 7.9
    assert np.ptp(size[inside]) == 0
    assert size[inside][0] < 2 * 0.62 / 7
    away = ~(abs(z - 20) < 8.1)
    np.testing.assert_allclose(size[away], 2 * vessel.radius[away] / 5)
