"""Periodic flows: the beds' mean lines, an exact ODE, ranks, periodicity, the wall's shear over a period."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from solver.engine import MPI
from solver.periodicity import missing
from solver.problem import FlowResult
from solver.run import solve
from solver.waveform import Waveform
from tests.solver import problems
from tests.solver.problems import outlets_of

T = 0.8
PHASE = 2 * np.pi * np.arange(32) / 32
FLOW: dict[str, Any] = {"period": T, "values": list(2.0e-6 * (1 + 0.5 * np.sin(PHASE)))}
AORTA: dict[str, Any] = {
    "period": T,
    "values": list(12e3 + 2.5e3 * np.sin(PHASE) + 800 * np.cos(2 * PHASE)),
}
PIM: dict[str, Any] = {"period": T, "values": list(7e3 * (1.05 + np.sin(PHASE)))}
RCR: dict[str, Any] = {"kind": "windkessel", "Rp": 8e8, "C": 2.0e-10, "Rd": 5e9, "pd": 500.0}

CORONARY: dict[str, Any] = {
    "kind": "coronary",
    "Ra": 2.4e9,
    "Ca": 4e-12,
    "Ram": 3.9e9,
    "Cim": 2.5e-11,
    "Rv": 1.2e9,
    "Pv": 600.0,
}


def pulse_of(result):
    """What the result says of its march."""
    assert result.pulse is not None
    return result.pulse


def problem(mesh, inlet, outlets, **pulse):
    return problems.problem(mesh, inlet, outlets, pulse={"period": T, "steps": 40, **pulse})


@pytest.fixture(scope="module")
def windkessel(tube):
    """A tube into a Windkessel under a given flow."""
    inlet = {"kind": "flow", "Q": FLOW}
    return solve(problem(tube, inlet, {"out": RCR}, steps=80, cycles=8), MPI.COMM_SELF)


def test_the_bed_follows_its_own_equation(windkessel):
    """The outlet's pressure against the Windkessel's orbit under the given flow."""
    assert windkessel.status == "periodic"
    assert pulse_of(windkessel).periodic
    out = pulse_of(windkessel).waves["out"]
    times, flow = np.array(pulse_of(windkessel).times), Waveform(**FLOW)
    Rp, C, Rd, pd = (RCR[k] for k in ("Rp", "C", "Rd", "pd"))
    run = solve_ivp(
        lambda t, pc: (flow(t) - (pc - pd) / Rd) / C, (0, 20 * T), [1e4], "DOP853",
        19 * T + times, rtol=1e-10, max_step=T / 100,
    )  # fmt: skip
    exact = run.y[0] + Rp * flow.at(times)
    assert np.array(out.p) == pytest.approx(exact, rel=2e-3)
    assert np.array(out.Q) == pytest.approx(flow.at(times), rel=1e-6)


def test_means_lie_on_the_steady_line(windkessel):
    out = windkessel.patches["out"]
    assert out.p == pytest.approx(RCR["pd"] + (RCR["Rp"] + RCR["Rd"]) * out.Q, rel=1e-3)
    assert out.p == pytest.approx(np.mean(pulse_of(windkessel).waves["out"].p), rel=1e-9)
    assert windkessel.mass_balance < 1e-6


def test_periodic_from_the_second_period_on(windkessel):
    """The bed's time constant is 1.25 periods: from rest it would take more than five."""
    assert RCR["C"] * RCR["Rd"] > T
    assert pulse_of(windkessel).cycles <= 3


@pytest.fixture(scope="module")
def squeezed(fork, tmp_path_factory):
    """A bifurcation into two coronary beds, one of them squeezed, under an aortic pressure."""
    folder = tmp_path_factory.mktemp("squeezed")
    names, beds = outlets_of(fork), (CORONARY | {"Pim": PIM}, CORONARY | {"Pim": 0.0})
    asked = problem(
        fork,
        {"kind": "pressure", "p": AORTA},
        dict(zip(names, beds, strict=True)),
        windows={"late": (0.6, 0.9)},
    )
    return solve(asked, MPI.COMM_SELF, folder), folder, names


def test_squeezing_moves_flow_to_diastole(squeezed):
    result, _, (left, right) = squeezed
    assert pulse_of(result).periodic
    assert pulse_of(result).cycles <= 3
    rising = np.array([Waveform(**PIM).rate(t) for t in pulse_of(result).times])
    flows = [np.array(pulse_of(result).waves[name].Q) for name in (left, right)]
    parts = [flow[rising < 0].mean() / flow[rising > 0].mean() for flow in flows]
    assert parts[0] > 1.1 * parts[1]


def test_mass_is_conserved_at_every_step(squeezed):
    result, _, _ = squeezed
    total = np.sum([wave.Q for wave in pulse_of(result).waves.values()], axis=0)
    assert np.abs(total).max() < 1e-6 * max(pulse_of(result).waves[result.inlet].Q, key=abs) * -1


def test_fields_of_a_period(squeezed):
    import h5py

    result, folder, _ = squeezed
    with h5py.File(folder / "fields.h5") as f:
        told = {name: f[name][:] for name in f}
    mean = np.linalg.norm(told["wall_shear_stress"], axis=1)
    assert (told["tawss"] >= mean - 1e-9).all()
    assert told["osi"].min() >= 0
    assert told["osi"].max() <= 0.5
    wall = told["tawss"] > 0
    assert told["rrt"][wall] == pytest.approx(
        1 / ((1 - 2 * told["osi"][wall]) * told["tawss"][wall]), rel=1e-6
    )
    times = np.array(pulse_of(result).times) / T
    late = (times > 0.6) & (times <= 0.9)
    inlet = np.array(pulse_of(result).waves[result.inlet].p)
    assert told["pressure_late"].max() == pytest.approx(inlet[late].mean(), rel=0.02)
    assert told["pressure"].max() == pytest.approx(inlet.mean(), rel=0.02)


def test_what_is_missing():
    assert missing([1e-3], decay=0.0) == pytest.approx(
        1e-3
    )  # the flow's own memory is not known yet
    assert missing([1e-3], decay=0.9) == pytest.approx(9e-3)
    assert missing([1e-2, 1e-3], decay=0.0) == pytest.approx(1e-3 / 9)
    assert missing([1e-2, 2e-2], decay=0.0) > 0.5  # it grows


def test_bad_pulses(tube):
    inlet = {"kind": "flow", "Q": FLOW}
    with pytest.raises(ValueError, match="has a period of"):
        problem(tube, inlet, {"out": RCR}, period=1.0)
    with pytest.raises(ValueError, match="start < end"):
        problem(tube, inlet, {"out": RCR}, windows={"w": (0.5, 0.2)})
    with pytest.raises(ValueError, match="holds none of the 40 steps"):
        problem(tube, inlet, {"out": RCR}, windows={"w": (0.501, 0.52)})
    with pytest.raises(ValueError, match="greater than 0"):
        problem(tube, {"kind": "flow", "Q": FLOW | {"values": [-1e-6] * 4}}, {"out": RCR})


@pytest.fixture
def asked(fork):
    """A short march of two different beds."""
    beds = dict(zip(outlets_of(fork), (CORONARY | {"Pim": PIM}, RCR | {"C": 2e-11}), strict=True))
    return problem(
        fork, {"kind": "pressure", "p": AORTA}, beds, steps=20, cycles=2, windows={"w": (0.1, 0.6)}
    )


def test_a_march_goes_on_where_it_was_stopped(asked, tmp_path, monkeypatch):
    import h5py

    from solver import run

    whole = solve(asked, MPI.COMM_SELF, tmp_path / "whole")
    monkeypatch.setattr(run, "SAVE_SECONDS", -1.0)  # save at every step
    steps = []

    class StopError(Exception):
        pass

    keep = run.Run.keep_pulse

    def stop(self, march):
        keep(self, march)
        steps.append(march.marched)
        if march.marched == 27:
            raise StopError

    monkeypatch.setattr(run.Run, "keep_pulse", stop)
    with pytest.raises(StopError):
        solve(asked, MPI.COMM_SELF, tmp_path / "parts")
    again = solve(asked, MPI.COMM_SELF, tmp_path / "parts")
    assert steps.count(27) == 1
    assert steps[steps.index(27) + 1] == 28
    assert any("went on from a saved state" in note for note in again.notes)
    for name, wave in pulse_of(whole).waves.items():
        flow = pulse_of(again).waves[name].Q
        assert flow == pytest.approx(wave.Q, rel=1e-4, abs=1e-11), name
        assert pulse_of(again).waves[name].p == pytest.approx(wave.p, rel=1e-5), name
    with h5py.File(tmp_path / "whole/fields.h5") as f, h5py.File(tmp_path / "parts/fields.h5") as g:
        assert f.keys() == g.keys()
        for name in ("pressure", "pressure_w", "tawss"):
            assert g[name][:] == pytest.approx(f[name][:], rel=1e-3, abs=1e-3), name


def test_a_step_that_breaks_down_is_taken_again_with_half_the_step(asked, monkeypatch):
    from solver.stepper import Stepper

    real, calls = Stepper.step, []

    def step(self, inflow=None):
        iterations = real(self, inflow)
        calls.append(1)
        if len(calls) == 13:
            self.good = False
        return iterations

    monkeypatch.setattr(Stepper, "step", step)
    told = pulse_of(solve(asked, MPI.COMM_SELF))
    assert told.steps == 2 * asked.pulse.steps
    assert len(told.times) == told.steps
    monkeypatch.undo()
    pulse = asked.pulse.model_copy(update={"steps": 40})
    fine = pulse_of(solve(asked.model_copy(update={"pulse": pulse}), MPI.COMM_SELF))
    for name, wave in fine.waves.items():
        assert told.waves[name].p == pytest.approx(wave.p, rel=0.02), name


@pytest.mark.slow
def test_ranks_march_the_same(asked, tmp_path):
    """1, 2 and 4 ranks; and a march that one rank began goes on on two."""
    told = []
    for ranks in (1, 2, 4):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        told.append(run_on(ranks, asked, folder))
    one, *others = told
    for other in others:
        for name, wave in pulse_of(one).waves.items():
            scale = np.abs(wave.Q).max()
            assert np.array(pulse_of(other).waves[name].Q) / scale == pytest.approx(
                np.array(wave.Q) / scale, abs=1e-4
            )
            assert pulse_of(other).waves[name].p == pytest.approx(wave.p, rel=1e-5)


def run_on(ranks, problem, folder):
    problem.save(folder / "problem.json")
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), sys.executable]
    command += ["-m", "solver", str(folder / "problem.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return FlowResult.load(folder / "flow.json")


@pytest.mark.slow
def test_a_march_goes_on_on_more_ranks(asked, tmp_path, monkeypatch):
    from solver import run

    monkeypatch.setattr(run, "SAVE_SECONDS", -1.0)
    whole = solve(asked, MPI.COMM_SELF, tmp_path)
    assert (tmp_path / "pulse.h5").exists()  # of the last step but for the mean
    again = run_on(2, asked, tmp_path)
    assert any("went on from a saved state" in note for note in again.notes)
    for name, wave in pulse_of(whole).waves.items():
        assert pulse_of(again).waves[name].p == pytest.approx(wave.p, rel=1e-5), name


@pytest.mark.slow
def test_shear_of_a_slow_flow_that_turns_around(tube, tmp_path):
    r"""So slow that the profile is developed at every time: $\tau = 4 \mu Q / (\pi R^3)$."""
    import h5py

    R, Q0, swing, period = 1.5e-3, 0.4e-6, 1.6, 60.0
    signal = Waveform(period=period, values=tuple(Q0 * (1 + swing * np.sin(PHASE))))
    asked = problem(
        tube,
        {"kind": "flow", "Q": signal.model_dump()},
        {"out": {"kind": "resistance", "R": 6e8}},
        period=period,
        cycles=2,
    ).model_copy(update={"element": "P2-P2"})
    result = solve(asked, MPI.COMM_SELF, tmp_path)
    flow = signal.at(np.array(pulse_of(result).times))
    wanted = 4 * 3.5e-3 * np.abs(flow).mean() / (np.pi * R**3)
    osi = 0.5 * (1 - np.abs(flow.mean()) / np.abs(flow).mean())
    with h5py.File(tube.with_suffix(".h5")) as f, h5py.File(tmp_path / "fields.h5") as g:
        points = f["points"][:]
        told = {name: g[name][:] for name in ("tawss", "osi", "rrt")}
    along = points - points.mean(axis=0)
    length = int(np.argmax(np.ptp(along, axis=0)))
    middle = (np.abs(along[:, length]) < R) & (told["tawss"] > 0)
    assert middle.sum() > 20
    assert np.median(told["tawss"][middle]) == pytest.approx(wanted, rel=0.02)
    assert told["osi"][middle] == pytest.approx(osi, abs=0.01)
    assert np.median(told["rrt"][middle]) == pytest.approx(1 / ((1 - 2 * osi) * wanted), rel=0.02)
