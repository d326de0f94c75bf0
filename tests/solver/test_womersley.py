"""The velocity at an inlet whose flow changes: Bessel functions on a circle, and it stays so along a tube."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import jv

from solver.cycle import Cycle
from solver.engine import MPI
from solver.io import mesh as mesh_file
from solver.problem import FlowProblem
from solver.run import solve
from solver.scales import choose
from solver.system import FlowSystem
from solver.waveform import Waveform
from solver.womersley import Harmonics, Womersley

MU, RHO, D, T = 3.5e-3, 1060.0, 3e-3, 0.8
PHASE = 2 * np.pi * np.arange(32) / 32
WAVE = {"period": T, "values": list(2.0e-6 * (1 + 1.2 * np.sin(PHASE) + 0.6 * np.cos(3 * PHASE)))}


def exact(r, t, wave):
    """Axial velocity [m/s] at radii [m]."""
    R, found = D / 2, Harmonics.of(wave)
    u = 2 * wave.mean() / (math.pi * R**2) * (1 - (r / R) ** 2)
    for q, omega in zip(found.q, found.omega, strict=True):
        z = np.asarray(1j**1.5 * R * math.sqrt(omega * RHO / MU))
        shape = (1 - jv(0, z * r / R) / jv(0, z)) / (1 - 2 * jv(1, z) / (z * jv(0, z)))
        u = u + (q * shape * np.exp(1j * omega * t)).real / (math.pi * R**2)
    return u


def asked(mesh, element, profile="womersley", **pulse):
    return FlowProblem.model_validate(
        {
            "mesh": str(mesh),
            "element": element,
            "density": RHO,
            "rheology": {"kind": "newtonian", "viscosity": MU},
            "inlet": {"kind": "flow", "Q": WAVE, "profile": profile},
            "outlets": {"out": {"kind": "pressure", "p": 8000.0}},
            "pulse": {"period": T, "steps": 80, "cycles": 3, **pulse},
        }
    )


def system_of(problem):
    area = math.pi * D**2 / 4
    scales = choose(problem, area, 4 * D)
    mesh = mesh_file.load(MPI.COMM_SELF, Path(problem.mesh), scales.length)
    return FlowSystem(problem, mesh, scales, problem.element)


def inlet_error(mesh, element):
    """Relative root mean square error of the inlet's velocity over times."""
    wave = Waveform.model_validate(WAVE)
    system = system_of(asked(mesh, element))
    womersley, space = Womersley(system, wave), system.space
    nodes = space.nodes_on(system.mesh.facets("inlet"))
    x = space.V.tabulate_dof_coordinates()[nodes] * system.scales.length
    r = np.hypot(x[:, 1], x[:, 2])
    off, size = 0.0, 0.0
    for t in np.linspace(0, T, 7)[:-1]:
        womersley.put(t, system.pulsation)
        system.Q_in = wave(t) / system.scales.flow
        system.apply_inlet()
        u = system.x.x.array[space.velocity[nodes]] * system.scales.velocity
        Q, _ = system.functionals()
        assert -Q[0] == pytest.approx(system.Q_in, rel=1e-10)
        assert np.abs(u[:, 1:]).max() < 1e-9
        off += float(((u[:, 0] - exact(r, t, wave)) ** 2).mean())
        size += float((exact(r, t, wave) ** 2).mean())
    system.destroy()
    return math.sqrt(off / size)


@pytest.mark.parametrize(("element", "order", "last"), [("P1-P1", 1.7, 0.04), ("P2-P2", 2.7, 2e-3)])
def test_bessel_functions_on_a_circle(flow_meshes, tmp_path, element, order, last):
    errors = []
    for number, h in enumerate((D / 4, D / 8)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        flow_meshes.tube(folder, D=D, L=D, h=h)
        errors.append(inlet_error(folder / "mesh.json", element))
    assert math.log2(errors[0] / errors[1]) > order
    assert errors[-1] < last


def test_what_changes_is_developed_all_along_the_tube(tube, monkeypatch):
    """Halfway along, the marched flow is the inlet's at that time; with the steady shape it is not."""
    last: list[FlowSystem] = []
    add = Cycle.add

    def kept(cycle, Q, p):
        last[:] = [cycle.system]
        values.append(np.array(cycle.system.x.x.array))
        add(cycle, Q, p)

    monkeypatch.setattr(Cycle, "add", kept)
    errors = {}
    wave = Waveform.model_validate(WAVE)
    for profile in ("womersley", "developed"):
        values: list[np.ndarray] = []
        result = solve(asked(tube, "P2-P2", profile), MPI.COMM_SELF)
        assert result.pulse is not None
        system = last[0]
        x = system.space.V.tabulate_dof_coordinates() * system.scales.length
        middle = np.abs(x[:, 0] - x[:, 0].mean()) < D
        r = np.hypot(x[middle, 1], x[middle, 2])
        off = size = 0.0
        for k, t in enumerate(result.pulse.times[::10]):
            state = values[len(values) - result.pulse.steps :][10 * k]
            u = state[system.space.velocity[middle]][:, 0] * system.scales.velocity
            off += float(((u - exact(r, t, wave)) ** 2).mean())
            size += float((exact(r, t, wave) ** 2).mean())
        errors[profile] = math.sqrt(off / size)
    assert errors["womersley"] < 0.02
    assert errors["womersley"] < 0.5 * errors["developed"]


RANKS = """
import sys, numpy as np
sys.path.insert(0, sys.argv[2])
import test_womersley as told
from solver.engine import MPI
from solver.run import solve
result = solve(told.asked(sys.argv[1], "P1-P1", steps=20, cycles=2), MPI.COMM_WORLD)
if MPI.COMM_WORLD.rank == 0:
    print(repr(list(result.pulse.waves["inlet"].p)))
"""


def test_ranks_agree(tube):
    told = []
    for ranks in (1, 2):
        command = [Path(sys.executable).parent / "mpiexec", "-n", str(ranks), sys.executable, "-c",
                   RANKS, tube, Path(__file__).parent]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told.append(np.array(eval(done.stdout.strip().splitlines()[-1])))
    assert told[1] == pytest.approx(told[0], rel=1e-6)
