"""Mesh, fields and states in slabs over the ranks: the same files and the same faults on any number of ranks."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from meshing.errors import InputError
from meshing.vessel import VesselMesh, write_arrays


def _faulty(fork):
    """Meshes with one fault each, and a part of what is said of it."""
    arrays = VesselMesh.load(fork).arrays()
    points, cells, facets, tags = (
        np.array(getattr(arrays, n.name)) for n in dataclasses.fields(arrays)
    )
    infinite, far, turned = points.copy(), cells.copy(), cells.copy()
    infinite[-1, 2] = np.nan
    far[-1, 3] = len(points)
    turned[7, [0, 1]] = turned[7, [1, 0]]
    yield {"points": infinite}, "not finite"
    yield {"points": points[:, :2]}, "points of shape"
    yield {"cells": far}, "cells that name nodes that are not there"
    yield {"cells": cells[:, :5]}, "cells of shape"
    yield {"cells": cells[:0]}, "no cells"
    yield {"cells": turned}, "1 cells turned inside out"
    yield {"facets": facets[1:], "facet_tags": tags[1:]}, "free faces"
    yield {"facets": facets[:, :3]}, "facets of shape"
    yield {"facet_tags": tags[1:]}, "tags for"
    yield {"facet_tags": np.where(np.arange(len(tags)) == 5, 77, tags)}, "tags [77]"
    yield {"cells": np.concatenate([cells, cells[:1]])}, "free faces"


@pytest.fixture(scope="module")
def meshes(fork, tmp_path_factory):
    """Paths of the faulty meshes and what each should be told."""
    whole = VesselMesh.load(fork).arrays()
    paths, told = [], []
    for change, wanted in _faulty(fork):
        folder = tmp_path_factory.mktemp("faulty")
        write_arrays(folder / "mesh.h5", dataclasses.replace(whole, **change))
        (folder / "mesh.json").write_text(fork.read_text())
        paths.append(folder / "mesh.json")
        told.append(wanted)
    return paths, told


@pytest.fixture(scope="module", params=[1, 3])
def found(request, fork, meshes, tmp_path_factory):
    """What the ranks found, and the folder they wrote into."""
    folder = tmp_path_factory.mktemp("slabs")
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(request.param)]
    command += [sys.executable, "-m", "tests.solver.slabs_on_ranks"]
    command += map(str, (fork, folder, *meshes[0]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "UCX_TLS": "self,sm,tcp"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_tables_come_back(found):
    told, _ = found
    assert told["same"]
    assert told["least"] > 300  # of a thousand rows on three ranks


def test_states_and_fields_come_back(found):
    told, _ = found
    assert max(told["carried"]) < 1e-12


def test_faults_are_told(found, meshes):
    for got, wanted in zip(found[0]["faults"], meshes[1], strict=True):
        assert wanted in got


def test_fields_are_at_the_nodes_of_the_mesh_file(found, fork):
    points = VesselMesh.load(fork).arrays().points
    with h5py.File(found[1] / "fields.h5") as f:
        velocity, pressure = f["velocity"][:], f["pressure"][:]
    held = np.column_stack([points, np.ones(len(points))])
    for values in (velocity, pressure[:, None]):
        fit, *_ = np.linalg.lstsq(held, values, rcond=None)
        off = np.abs(values - held @ fit) > 1e-9 * np.abs(values).max()
        assert off.any(axis=1).mean() < 0.1  # linear in space, but at the inlet


def test_states_are_in_the_order_of_their_keys(found):
    with h5py.File(found[1] / "state.h5") as f:
        keys = f["velocity_keys"][:]
    assert (np.diff(keys) > 0).all()


def test_a_mesh_elsewhere_is_refused(fork, tmp_path):
    told = json.loads(fork.read_text())
    told["mesh"] = f"../{fork.parent.name}/mesh.h5"
    (tmp_path / "mesh.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="elsewhere"):
        VesselMesh.load(tmp_path / "mesh.json")
