# make demo, make test: all a new user needs. Every target sets up what it needs first (./setup.sh, a second when done).
PY := .venv/bin/python
export OMP_NUM_THREADS := 1

.PHONY: demo test check verify bench stress stress-mesh stress-flow eval-segmentation hpc test-slurm setup clean help
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

setup: ## the environment in .venv
	@./setup.sh

demo: setup ## the main job on a bundled CT: coronaries to the FFR report; then the tree that is in it, and both FFR side by side
	.venv/bin/ffr3d run configs/demo_ct.yaml --preview --output runs/demo
	.venv/bin/ffr3d run configs/demo.yaml --preview --output runs/demo-truth
	.venv/bin/ffr3d compare runs/demo runs/demo-truth
	@echo "Report: runs/demo/report.html"

test: setup ## every test but the long verification
	$(PY) -m pytest -m "not verify"

check: setup ## what every commit must pass: ruff, mypy, import-linter, fast tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q -m "not slow and not verify"

verify: setup ## everything the solver is held against: orders, exact flows, published tables, series (hours; resumable)
	$(PY) -m pytest tests/verification tests/solver tests/validation --table runs/verify/verify.json

bench: setup ## time and memory of each stage; the flow solver against its limits (an hour or two)
	$(PY) hpc/bench/stages.py
	$(PY) hpc/bench/mesh.py
	$(PY) hpc/bench/flow.py

stress: setup ## two hundred narrowings on coarse meshes through the flow solver (hours; resumable)
	$(PY) hpc/stress/flow.py lesions

stress-mesh: setup ## three hundred hard vessels through the mesh generator (hours; resumable)
	$(PY) hpc/stress/mesh.py

stress-flow: setup ## a hundred of those on coarse meshes through the flow solver (hours; resumable)
	$(PY) hpc/stress/flow.py vessels

eval-segmentation: setup ## the segmentation on test scans built another way, beside the classical way (an hour or two; resumable)
	$(PY) hpc/segmentation/evaluate.py

hpc: ## the workflow engine for cohorts on clusters (ffr3d cohort --profile), in .venv-hpc
	@hpc/setup.sh

test-slurm: hpc ## a cohort through a real Slurm of two nodes on this machine, as root: a job killed, a node drained, the controller restarted
	@command -v slurmctld >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; }
	FFR3D_SLURM=1 $(PY) -m pytest -v tests/hpc

clean: ## remove what can be made again (not runs/)
	rm -rf .venv .venv-hpc .mypy_cache .ruff_cache .pytest_cache *.egg-info
