"""The beat's pressures: limits asked for, valves, phases, periodicity."""

import numpy as np
import pytest

from pipeline.physiology.heart import E_MAX, E_MIN, beat, beat_of_mean, elastance


@pytest.mark.parametrize("rate", [50, 70, 110])
def test_pressures_are_those_asked_for(rate):
    told = beat(rate, 130, 75)
    assert (told.aorta.max(), told.aorta.min()) == pytest.approx((130, 75))
    assert told.period == pytest.approx(60 / rate)
    assert 75 + 0.25 * 55 < told.mean < 75 + 0.55 * 55
    assert told.ventricle.max() == pytest.approx(130, rel=0.06)
    assert -1 < told.ventricle.min() < 15


def test_the_model_by_itself_is_a_man_at_rest():
    """Before its pressures are moved: about 120 over 80 mmHg."""
    from pipeline.physiology.heart import _shape

    told = _shape(0.8)
    assert told.aorta.max() == pytest.approx(120, abs=15)
    assert told.aorta.min() == pytest.approx(80, abs=12)


def test_phases():
    told = beat(75, 120, 80)
    t = np.arange(len(told.aorta)) / len(told.aorta)
    open_ = told.ventricle > told.aorta
    assert 0.3 < told.closing < 0.5  # systole takes a third of a beat and more
    assert t[open_].min() > 0.03  # the ventricle builds up pressure first
    start, end = told.wave_free
    assert told.closing < start < end < 1
    late = (t > start) & (t < end)
    assert (np.diff(told.aorta[late]) < 0).all()
    assert told.ventricle[late].max() < 20
    step = np.abs(np.diff(told.aorta, append=told.aorta[0])).max()
    assert abs(told.aorta[-1] - told.aorta[0]) <= step  # the end joins the beginning


def test_a_beat_of_a_mean():
    told = beat_of_mean(70, 93.0, 40.0)
    assert told.mean == pytest.approx(93.0)
    assert np.ptp(told.aorta) == pytest.approx(40.0)


def test_elastance():
    t = np.linspace(0, 0.8, 801)
    E = elastance(t, 0.8)
    assert E[0] == pytest.approx(E_MIN)
    assert E.max() == pytest.approx(E_MAX, rel=0.02)
    assert t[E.argmax()] == pytest.approx(0.2 + 0.1555 * 0.8, rel=0.03)
    assert E[-1] == pytest.approx(E_MIN, rel=0.02)
