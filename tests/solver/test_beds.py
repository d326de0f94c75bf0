"""Beds of outlets by themselves: closed forms, exact orbits, order two, another program."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.integrate import solve_ivp

from solver.bed import Bed, periodic_state, steady_state
from solver.outlets import Coronary, DoNothing, Outlet, Pressure, Resistance, Windkessel
from solver.waveform import Waveform

T = 0.8
PHASE = 2 * np.pi * np.arange(64) / 64
PIM = Waveform(period=T, values=tuple(6e3 * (1.1 + np.sin(PHASE))))
FLOW = Waveform(
    period=T, values=tuple(1.5e-6 * (1 - 0.6 * np.sin(PHASE) + 0.2 * np.sin(3 * PHASE)))
)
RCR = Windkessel(Rp=8e8, C=2.0e-11, Rd=6e9, pd=700.0)
LPN = Coronary(Ra=2.4e9, Ca=3.0e-12, Ram=3.9e9, Cim=2.5e-11, Rv=1.2e9, Pv=700.0, Pim=PIM)
MODELS = (
    Resistance(R=6e9, pd=600.0),
    Pressure(p=9e3),
    Pressure(p=PIM),
    DoNothing(p=100.0),
    RCR,
    LPN,
    LPN.model_copy(update={"microvascular": Waveform(period=T, values=(1.0, 1.6, 1.2, 0.8))}),
    LPN.model_copy(update={"Pim": 4e3}),
)


def marched(model, flow, steps, cycles=1, start=None):
    """Pressures at the ends of the steps of the last cycle."""
    dt = T / steps
    x = periodic_state(model, flow) if start is None else start
    bed = Bed.begin(model, 0.0, dt, x, flow(0.0))
    told = []
    for _ in range(cycles * steps):
        p0, R = bed.line()
        Q = flow(bed.t + dt)
        bed.accept(Q)
        told.append(p0 + R * Q)
        assert told[-1] == pytest.approx(model.circuit(bed.t).pressure(bed.x, Q), rel=1e-9)
    return np.array(told[-steps:])


def exact(model, flow, times):
    """Pressures by an integrator of high order from the orbit's state."""
    x0 = periodic_state(model, flow)
    run = solve_ivp(
        lambda t, x: model.circuit(t).rate(x, flow(t)),
        (0, times[-1]),
        x0,
        "DOP853",
        times,
        rtol=1e-11,
        atol=1e-7,
        max_step=T / 300,  # between its steps it is of lower order
    )
    return np.array(
        [model.circuit(t).pressure(x, flow(t)) for t, x in zip(times, run.y.T, strict=True)]
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.kind)
def test_contract(model):
    """JSON and back; a steady flow through a bed that does not change ends on the steady line."""
    again = TypeAdapter(Outlet).validate_json(json.dumps(model.model_dump(mode="json")))
    assert again == model
    Q = 1.5e-6
    p0, R = model.steady()
    assert R >= 0
    constant = [m for m in (model,) if not any(isinstance(v, Waveform) for _, v in m)]
    for still in constant:
        bed = Bed.begin(still, 0.0, 0.05, steady_state(still, 0.3 * Q), 0.3 * Q)
        for _ in range(400):
            bed.accept(Q)
        assert still.circuit(0.0).pressure(bed.x, Q) == pytest.approx(p0 + R * Q, rel=1e-9)


def test_steady_line_is_that_of_the_resistances_in_a_row():
    assert RCR.steady() == pytest.approx((700.0, 6.8e9))
    p0, R = LPN.steady()
    assert pytest.approx(2.4e9 + 3.9e9 + 1.2e9) == R
    assert p0 == pytest.approx(700.0)


@pytest.mark.parametrize("model", [LPN, RCR], ids=lambda m: m.kind)
def test_the_mean_of_an_orbit_lies_on_the_steady_line(model):
    pressures = marched(model, FLOW, 400)
    p0, R = model.steady()
    assert pressures.mean() == pytest.approx(p0 + R * FLOW.mean(), rel=1e-4)


def test_windkessel_against_its_closed_form():
    """p of Q0 + Q1 cos(wt): p0 + (Rp + Rd) Q0 + Q1 |Z| cos(wt + arg Z)."""
    omega, Q0, Q1 = 2 * np.pi / T, 1.5e-6, 0.8e-6
    flow = Waveform(period=T, values=tuple(Q0 + Q1 * np.cos(2 * np.pi * np.arange(256) / 256)))
    Z = RCR.Rp + RCR.Rd / (1 + 1j * omega * RCR.Rd * RCR.C)
    errors = []
    for steps in (40, 80, 160):
        t = T * np.arange(1, steps + 1) / steps
        wanted = RCR.pd + (RCR.Rp + RCR.Rd) * Q0 + Q1 * (Z * np.exp(1j * omega * t)).real
        errors.append(np.abs(marched(RCR, flow, steps, 6) - wanted).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < 2e-4 * abs(Z) * Q1 * 4


@pytest.mark.parametrize("model", [RCR, *MODELS[5:7]], ids=lambda m: m.kind)
def test_order_two_from_the_first_step_on(model):
    """With an intramyocardial pressure and a resistance that change with time, and no cycle to settle in."""
    errors = []
    for steps in (80, 160, 320):
        times = T * np.arange(1, steps + 1) / steps
        errors.append(np.abs(marched(model, FLOW, steps) - exact(model, FLOW, times)).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.85).all(), orders
    assert errors[-1] < 20.0  # Pa


@pytest.mark.parametrize("model", [RCR, *MODELS[5:7]], ids=lambda m: m.kind)
def test_the_orbit_closes(model):
    x0 = periodic_state(model, FLOW)
    run = solve_ivp(
        lambda t, x: model.circuit(t).rate(x, FLOW(t)), (0, T), x0, "DOP853", rtol=1e-11, atol=1e-8
    )
    assert run.y[:, -1] == pytest.approx(x0, rel=1e-7)


def test_squeezing_lets_blood_in_when_the_heart_relaxes():
    """At a constant aortic pressure the flow into the bed is least when the intramyocardial pressure rises."""

    def rate(t, x):
        told = LPN.circuit(t)
        return told.rate(x, (12e3 - told.h @ x) / told.R)

    x = steady_state(LPN, 1e-6)
    run = solve_ivp(rate, (0, 4 * T), x, "DOP853", np.linspace(3 * T, 4 * T, 201), rtol=1e-9)
    flow = (12e3 - run.y[0]) / LPN.Ra
    rising = np.array([PIM.rate(s) for s in run.t])
    assert np.corrcoef(flow, rising)[0, 1] < -0.5
    assert flow[rising < 0].mean() > 1.1 * flow[rising > 0].mean()


def test_waveform():
    wave = Waveform(period=2.0, values=tuple(3 + np.cos(PHASE)))
    assert wave(0.0) == wave(2.0) == pytest.approx(4.0)
    assert wave.mean() == pytest.approx(3.0)
    assert wave(0.5) == pytest.approx(3.0, abs=1e-5)
    assert wave.rate(0.5) == pytest.approx(-np.pi, rel=1e-4)
    assert wave.at(np.array([0.1, 2.1])) == pytest.approx([wave(0.1)] * 2)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "windkessel", "Rp": 1.0, "C": 0.0, "Rd": 1.0},
        {"kind": "windkessel", "Rp": 1.0, "C": 1.0, "Rd": 1.0, "Ca": 1.0},
        {"kind": "coronary", "Ra": 1.0, "Ca": 1.0, "Ram": 1.0, "Cim": 1.0, "Rv": 1.0},
        {"kind": "pressure", "p": {"period": 0.8, "values": [1.0, 2.0]}},
        {"kind": "rc"},
        LPN.model_dump() | {"microvascular": 0.0},
        LPN.model_dump() | {"microvascular": {"period": T, "values": [1.0, -0.2, 1.0]}},
    ],
)
def test_bad_beds(data):
    with pytest.raises(ValidationError):
        TypeAdapter(Outlet).validate_python(data)


SAMPLES = 4000
CGS = {"R": 1e-5, "C": 1e5, "P": 10.0, "p": 10.0, "Q": 1e6, "m": 1.0}  # over SI, by first letter
RCR_NAMES = {"Rp": "Rp", "C": "C", "Rd": "Rd", "pd": "Pd"}
LPN_NAMES = {"Ra": "Ra1", "Ram": "Ra2", "Rv": "Rv1", "Ca": "Ca", "Cim": "Cc", "Pv": "P_v"}


@pytest.mark.parametrize("model", [RCR, LPN], ids=lambda m: m.kind)
def test_against_svzerod(model):
    """The same flow into the same bed by svZeroDSolver (generalised-alpha, small steps)."""
    svzerod = pytest.importorskip("svzerod", reason="needs svzerod (pip install svzerod)")
    times = np.linspace(0, T, SAMPLES + 1)
    given = {n: v * CGS[n[0]] for n, v in model.model_dump().items() if isinstance(v, float)}
    names = RCR_NAMES if isinstance(model, Windkessel) else LPN_NAMES
    values = {theirs: given[ours] for ours, theirs in names.items()}
    bed = {"bc_type": "RCR", "bc_values": values}
    if isinstance(model, Coronary):
        forced = {"t": times.tolist(), "Pim": (CGS["P"] * PIM.at(times)).tolist()}
        bed = {"bc_type": "CORONARY", "bc_values": values | forced}
    flow = (CGS["Q"] * FLOW.at(times)).tolist()
    case = {
        "simulation_parameters": {
            "number_of_cardiac_cycles": 12,
            "number_of_time_pts_per_cardiac_cycle": SAMPLES + 1,
            "output_all_cycles": False,
            "steady_initial": False,
            "absolute_tolerance": 1e-10,
        },
        "boundary_conditions": [
            {"bc_name": "IN", "bc_type": "FLOW", "bc_values": {"t": times.tolist(), "Q": flow}},
            {"bc_name": "OUT", **bed},
        ],
        "junctions": [],
        "vessels": [
            {
                "vessel_id": 0,
                "vessel_name": "v",
                "vessel_length": 1.0,
                "boundary_conditions": {"inlet": "IN", "outlet": "OUT"},
                "zero_d_element_type": "BloodVessel",
                "zero_d_element_values": {"R_poiseuille": 0.0, "C": 0.0, "L": 0.0},
            }
        ],
    }  # fmt: skip
    told = svzerod.simulate(case)
    theirs = np.asarray(told["pressure_out"]) / CGS["P"]
    ours = exact(model, FLOW, times[1:])
    assert theirs[1:] == pytest.approx(ours, rel=1e-6)
