"""Blocks in place: the same matrix as PETSc makes, on one rank and on several; its products in single precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("element", ["P1-P1", "P2-P2"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_same_matrix_as_petsc_makes(fork, ranks, element):
    launcher = str(Path(sys.executable).parent / "mpiexec")
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "tests.solver.blocks_on_ranks"]
    done = subprocess.run(
        [*command, str(fork), element],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    gaps, edge = json.loads(done.stdout)
    rounded = {name: gaps.pop(name) for name in list(gaps) if name.startswith("single")}
    assert max(gaps.values()) < 1e-13, gaps
    assert len(rounded) == 2
    assert max(rounded.values()) < 1e-6, rounded
    assert min(rounded.values()) > 1e-9, rounded  # these are not the matrix' own
    assert (edge > 0.0) == (ranks > 1)
    assert edge < 0.5
