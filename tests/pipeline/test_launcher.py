"""What starts the solver's ranks: this machine's mpiexec, or what a cluster's job says."""

import pytest

from meshing.errors import InputError
from pipeline.stage import launcher, mpi_environment


def test_on_this_machine(monkeypatch):
    monkeypatch.delenv("FFR3D_LAUNCHER", raising=False)
    monkeypatch.delenv("HYDRA_LAUNCHER", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    program, *rest = launcher(3)
    assert program.endswith("mpiexec")
    assert rest == ["-n", "3"]
    told = mpi_environment()
    assert told["HYDRA_LAUNCHER"] == "fork"
    assert "SLURM_JOB_ID" not in told  # a step within a step is refused


def test_by_a_clusters_job(monkeypatch):
    monkeypatch.setenv("FFR3D_LAUNCHER", "srun --mpi=pmi2 --ntasks={n} -c 'a b'")
    monkeypatch.setenv("SLURM_NTASKS", "96")
    for name in ("UCX_TLS", "HYDRA_LAUNCHER"):
        monkeypatch.delenv(name, raising=False)
    assert launcher(4) == ["srun", "--mpi=pmi2", "--ntasks=4", "-c", "a b"]
    assert launcher(None)[2] == "--ntasks=96"
    told = mpi_environment()
    assert told["SLURM_NTASKS"] == "96"
    assert told["OMP_NUM_THREADS"] == "1"
    assert "HYDRA_LAUNCHER" not in told
    assert "UCX_TLS" not in told  # the cluster's network is its own


def test_a_launcher_without_a_place_for_the_ranks(monkeypatch):
    monkeypatch.setenv("FFR3D_LAUNCHER", "srun")
    with pytest.raises(InputError, match=r"\{n\}"):
        launcher(2)
