#!/usr/bin/env bash
# The workflow engine (Snakemake and its Slurm plugin) in ./.venv-hpc, apart from what computes. Idempotent.
set -euo pipefail
cd "$(dirname "$0")/.."
want=$(cat hpc/setup.sh hpc/constraints.txt | sha256sum | cut -d' ' -f1)
stamp=.venv-hpc/.ffr3d-setup
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0
./setup.sh
.venv/bin/python -m venv --clear .venv-hpc
.venv-hpc/bin/python -m pip install --quiet --disable-pip-version-check --constraint hpc/constraints.txt \
    snakemake snakemake-executor-plugin-slurm
printf '%s' "$want" > "$stamp"
printf '[hpc] snakemake %s\n' "$(.venv-hpc/bin/snakemake --version)"
