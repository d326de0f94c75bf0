"""A tiny cohort with the real solver, and a Slurm to put it through."""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FFR3D = Path(sys.executable).parent / "ffr3d"
DESIGN = """
name: six
count: 6
seed: 5
vessel:
  {kind: phantom, inlet_diameter_mm: [3.0, 3.4], side_branches: [0, 0], lesions: [0, 0], min_diameter_mm: [1.9, 2.0]}
case:
  mesh: {elements_per_diameter: 3, elements_across_throat: 4, order: 1}
  solver: {element: P1-P1}
  certificate: {levels: 1}
"""


def ffr3d(*arguments):
    done = subprocess.run(
        [FFR3D, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def engine():
    """Skip where Snakemake is not installed."""
    if not (ROOT / ".venv-hpc" / "bin" / "snakemake").is_file() and not shutil.which("snakemake"):
        pytest.skip("no Snakemake: make hpc")


@pytest.fixture(scope="session")
def command():
    """Run ``ffr3d`` with these arguments; it must succeed."""
    return ffr3d


@pytest.fixture(scope="session")
def design(tmp_path_factory):
    path = tmp_path_factory.mktemp("design") / "six.yaml"
    path.write_text(DESIGN)
    return path


@pytest.fixture(scope="session")
def hashes():
    """SHA-256 of every label of a cohort, by case."""

    def of(folder):
        from pipeline.labels.write import read_index

        ffr3d("labels", "export", folder)
        return {row["case"]: row["file_sha256"] for row in read_index(folder / "labels")}

    return of


@pytest.fixture(scope="session")
def local(engine, design, tmp_path_factory, hashes):
    """Labels of the cohort by the local profile, undisturbed: folder and hashes."""
    folder = tmp_path_factory.mktemp("local") / "six"
    ffr3d("cohort", design, "-o", folder, "--profile", "local")
    return folder, hashes(folder)


@pytest.fixture(scope="session")
def slurm(engine):
    """A running cluster of two nodes; skip where there can be none."""
    if not os.environ.get("FFR3D_SLURM"):
        pytest.skip("only by make test-slurm: it starts Slurm's daemons")
    module = runpy.run_path(str(ROOT / "hpc" / "slurm" / "cluster.py"))
    lacking = module["missing"]()
    if lacking:
        pytest.skip(f"no Slurm: {lacking}")
    folder = tempfile.mkdtemp(prefix="ffr3d-slurm-")  # short, for its sockets
    with module["cluster"](Path(folder)) as cluster:
        yield cluster
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def quick_slurm(tmp_path_factory):
    """The Slurm profile, but it looks after its jobs more often than on a shared cluster."""
    text = (ROOT / "hpc" / "workflow" / "profiles" / "slurm" / "config.yaml").read_text()
    folder = tmp_path_factory.mktemp("profile")
    quick = ["slurm-init-seconds-before-status-checks: 3", "seconds-between-status-checks: 3"]
    quick += ["slurm-status-command: squeue", "slurm-no-account: true"]  # it has no accounting
    (folder / "config.yaml").write_text("\n".join([text, *quick, ""]))
    return folder
