#!/usr/bin/env bash
# One large case on several nodes: sbatch hpc/slurm/job.sh CASE [ffr3d run options]. Copy it, and change what is the site's.
#
# All stages but the flow are one process each, on the first node: give them its memory. The flow runs on all tasks.
#SBATCH --job-name=ffr3d
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=48
#SBATCH --cpus-per-task=1
#SBATCH --mem=0
#SBATCH --time=04:00:00
set -euo pipefail

# module load gcc mpich                 # with conda or Spack: the MPI that ffr3d was installed with
# source "$HOME/ffr3d/.venv/bin/activate"
export PYTHONSAFEPATH=1                               # nothing is imported from the folder the job is in
export OMP_NUM_THREADS=1
export FFR3D_KERNELS=${FFR3D_KERNELS:-/tmp/ffr3d-kernels-$(id -u)}   # on the node: one rank compiles, the others wait

# The ranks: by the mpiexec beside ffr3d, MPICH's, which finds the nodes of the job. (By srun --mpi=pmi2 it hung at times.)
# With another MPI, what its site says: export FFR3D_LAUNCHER='srun --mpi=pmix -n {n}'
ffr3d=$(command -v "${FFR3D:-ffr3d}")
beside=$(dirname "$ffr3d")/mpiexec
[ -x "$beside" ] || beside=mpiexec
export FFR3D_LAUNCHER=${FFR3D_LAUNCHER:-"'$beside' -n {n}"}

exec "$ffr3d" run "$@" --set solver.ranks="$SLURM_NTASKS"
