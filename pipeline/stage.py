"""One stage in a process of its own: ``python -m pipeline.stage NAME RUN``; see `pipeline.run`.

Heavy imports stay inside the stage that needs them.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from meshing.errors import BranchEndError, ComputationError, InputError
from pipeline.attempts import Attempt, TooLargeError, free_memory
from pipeline.case import Case, CtInput
from pipeline.case_file import load
from pipeline.manifest import Manifest

log = logging.getLogger("ffr3d")
LAUNCHER = "FFR3D_LAUNCHER"
"""Environment variable: what starts the solver's ranks where they run on several nodes, e.g. ``srun -n {n}``."""


def image(folder: Path, case: Case) -> None:
    """The CT in Hounsfield units, without identifiers."""
    from pipeline.imaging import run

    assert isinstance(case.input, CtInput)
    run(case.input, folder / "image")


def segment(folder: Path, case: Case) -> None:
    """The coronaries' lumen."""
    from pipeline.segmentation.stage import run

    assert isinstance(case.input, CtInput)
    run(case.input, folder / "image" / "ct.nii.gz", folder / "segment")


def surface(folder: Path, case: Case) -> None:
    """The closed lumen surface."""
    from pipeline.surface import run

    run(case.input, case.surface, folder / "surface", folder / "segment")


def anatomy(folder: Path, case: Case) -> None:
    """Ends, centrelines, flow extensions, lesions."""
    from pipeline.anatomy import run

    source = folder / "surface"
    run(source / "lumen.vtp", source / "surface.json", case.anatomy, folder / "anatomy")


def mesh(folder: Path, case: Case) -> None:
    """The tetrahedra."""
    from meshing.faults import NoMeshError
    from meshing.generate import generate
    from pipeline.anatomy import to_lumen
    from pipeline.refine import sizes_of

    picture = folder / "mesh" / "fault.png"
    picture.unlink(missing_ok=True)
    lumen = to_lumen(folder / "anatomy")
    try:
        tried = Manifest.open(folder).refinement
        sizes = sizes_of(folder, tried)
        vessel = generate(lumen, case.mesh, folder / "mesh", _progress("mesh"), sizes)
        tried.check_memory(vessel.quality["cells"], free_memory())
    except NoMeshError as error:
        from pipeline.report.faults import draw

        draw(error, lumen.points, picture)
        raise ComputationError(f"{error}\n  picture: {picture}") from error


def solve(folder: Path, case: Case) -> None:
    """The flow, under ``mpiexec``."""
    from pipeline.anatomy.types import Anatomy
    from pipeline.physiology import flow_problem
    from pipeline.physiology.tuned import tune
    from solver.problem import FlowResult

    target = folder / "solve"
    anatomy = Anatomy.load(folder / "anatomy" / "anatomy.json")
    for old in ("branch_end.json", "earlier.h5"):
        (target / old).unlink(missing_ok=True)
    tried = Manifest.open(folder).refinement
    more = {"stop_at_branch_end": tried.goes_on(case.adapt), "guess": _guess(folder, tried.last)}

    def run(one: Case, restart: bool) -> FlowResult:
        problem, record = flow_problem(one, anatomy, Path("../mesh/mesh.json"))
        problem.model_copy(update=more).save(target / "problem.json")
        (target / "physiology.json").write_text(json.dumps(record, indent=2))
        run_solver(target, case, restart=restart)
        return FlowResult.load(target / "flow.json")

    if case.physiology.target_flow_mL_per_min is None:
        run(case, False)
    else:
        tune(case, anatomy, run, target / "physiology.json")


def run_solver(target: Path, case: Case, *, restart: bool) -> None:
    """Solve a folder's ``problem.json``; from the state that is there, if asked.

    Raises:
        BranchEndError: The branch of steady states ends on this mesh, and the problem says to stop there.
        ComputationError: The solver ended without a result.
        InputError: It does not accept the problem.
    """
    from pipeline.run import die_with_parent

    command = [*launcher(case.solver.ranks), sys.executable, "-P", "-m", "solver"]
    command += [str(target / "problem.json")]
    command += ["--restart", str(target / "state.h5")] if restart else []
    status = subprocess.run(
        command, env=mpi_environment(), preexec_fn=die_with_parent, check=False
    ).returncode
    if status == 3:
        raise BranchEndError("the branch of steady states ends on this mesh")
    if status == 2:
        raise InputError(
            file=target / "problem.json",
            wanted="a flow problem that the solver accepts",
            got="the fault printed above",
            remedy="mend the case as the message says",
        )
    if status != 0:
        raise ComputationError(
            f"the flow solver ended with exit status {status}; its messages are above, the last good state "
            f"and the history (if it came so far) in {target}"
        )


def _guess(folder: Path, before: Attempt | None) -> Path | None:
    """The fields on the mesh before, carried to the present one; relative to the stage's folder."""
    from meshing.vessel import VesselMesh
    from pipeline.carry import carry

    if before is None or before.state is None or not (folder / before.state).is_file():
        return None
    guess = carry(folder / before.state, VesselMesh.load(folder / "mesh" / "mesh.json").arrays())
    guess.save(folder / "solve" / "guess.h5")
    return Path("guess.h5")


def ffr(folder: Path, case: Case) -> None:
    """The FFR field and its numbers."""
    from pipeline.ffr import run

    run(folder, case)


def certify(folder: Path, case: Case) -> None:
    """Checks, and the discretisation error."""
    from pipeline.certificate import run

    run(folder, case)


def report(folder: Path, case: Case) -> None:
    """Figures and the HTML page."""
    from pipeline.report import run

    run(folder, case)


RUNNERS: dict[str, Callable[[Path, Case], None]] = {
    "image": image,
    "segment": segment,
    "surface": surface,
    "anatomy": anatomy,
    "mesh": mesh,
    "solve": solve,
    "ffr": ffr,
    "certify": certify,
    "report": report,
}


def physical_cores() -> int:
    """Physical cores this process may use (hyper-threads do not speed up a memory-bound solver)."""
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings.add(path.read_text().strip() if path.exists() else str(cpu))
    return max(1, len(siblings))


def mpiexec() -> str:
    """The ``mpiexec`` that belongs to this environment's MPI, else the one on PATH.

    Raises:
        InputError: There is none.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise InputError(
            wanted="mpiexec",
            got="none beside this Python and none on PATH",
            remedy="run ./setup.sh, or install the MPI that your mpi4py was built with",
        )
    return found


def launcher(ranks: int | None) -> list[str]:
    """What starts the ranks: ``mpiexec`` on this machine, or what ``FFR3D_LAUNCHER`` says, on nodes of a cluster.

    Args:
        ranks: How many; None: one a core of this machine, or, with a launcher, one a task of the job.

    Raises:
        InputError: There is no ``mpiexec``; or the launcher does not say where the number of ranks goes.
    """
    told = os.environ.get(LAUNCHER)
    if not told:
        return [mpiexec(), "-n", str(ranks or physical_cores())]
    if "{n}" not in told:
        raise InputError(
            field=LAUNCHER,
            wanted="a command with {n} for the number of ranks",
            got=told,
            remedy=f"export {LAUNCHER}='mpiexec -n {{n}}'; without it the ranks start on this machine",
        )
    count = ranks or int(os.environ.get("SLURM_NTASKS", physical_cores()))
    return [word.replace("{n}", str(count)) for word in shlex.split(told)]


def mpi_environment() -> dict[str, str]:
    """Environment of the MPI job: one thread a rank; shared memory transport on one machine; large pages.

    Inside a job of a queue its ranks are started here, on the node the job was given, not by the queue again: a step
    within a step is refused. With ``FFR3D_LAUNCHER`` they are started by that, and its network is its own.
    """
    if os.environ.get(LAUNCHER):
        return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    outer = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_", "PMI_", "PMIX_"))
    }
    return {
        "UCX_TLS": "self,sm,tcp",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # where the system leaves large pages to who asks for them
        "HYDRA_LAUNCHER": "fork",
        **outer,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _progress(name: str) -> Callable[[str], None]:
    return lambda text: log.info("%-8s %s", name, text)


def main(name: str, folder: Path) -> int:
    """Run one stage; leave the error, if any, in ``RUN/error.json`` for the parent."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        RUNNERS[name](folder, load(folder / "case.yaml"))
    except InputError as error:
        fields = {k: getattr(error, k) for k in ("file", "field", "wanted", "got", "remedy")}
        (folder / "error.json").write_text(json.dumps({"kind": "input", "fields": fields}))
        return 2
    except BranchEndError as error:
        (folder / "error.json").write_text(
            json.dumps({"kind": "branch end", "message": str(error)})
        )
        return 3
    except ComputationError as error:
        kind = "too large" if isinstance(error, TooLargeError) else "computation"
        (folder / "error.json").write_text(json.dumps({"kind": kind, "message": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
