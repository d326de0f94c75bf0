"""Aortic pressures from files and Fourier coefficients: the same beat however it is given, and what is refused."""

import numpy as np
import pytest

from meshing.errors import InputError
from pipeline.case_file import load

PERIOD = 0.8
HEAD = "input: {kind: phantom}\npulsatile: {}\n"


def pressure(t):
    phase = 2 * np.pi * np.asarray(t) / PERIOD
    return 93 - 5 * np.cos(phase) + 14 * np.sin(phase) - 7 * np.cos(2 * phase) + np.sin(2 * phase)


def waveform(tmp_path, given, rate=75, name="case.yaml"):
    text = f"{HEAD}physiology: {{heart_rate_per_min: {rate}, aortic_waveform_mmHg: {given}}}\n"
    (tmp_path / name).write_text(text)
    return np.array(load(tmp_path / name).physiology.aortic_waveform_mmHg)


def table(times, values, head="time_s,p_mmHg\n", delimiter=","):
    rows = zip(times, values, strict=True)
    return head + "".join(f"{t:.6f}{delimiter}{v:.6f}\n" for t, v in rows)


@pytest.mark.parametrize("shape", ["uneven", "closed", "late", "semicolons", "no head"])
def test_a_file_is_the_beat_it_samples(tmp_path, shape):
    times = np.linspace(0, PERIOD, 120, endpoint=False)
    if shape == "uneven":
        times = PERIOD * np.sort(np.random.default_rng(1).uniform(0, 1, 200) ** 1.2)
        times[0] = 0
    if shape == "closed":
        times = np.append(times, PERIOD)
    text = table(times, pressure(times))
    if shape == "late":  # times that do not begin at zero
        text = table(times + 3.2, pressure(times))
    if shape == "semicolons":
        text = "# a scanner\n" + table(times, pressure(times), delimiter=";", head="")
    if shape == "no head":
        text = table(times, pressure(times), head="")
    (tmp_path / "p.csv").write_text(text)
    values = waveform(tmp_path, "p.csv")
    exact = pressure(PERIOD * np.arange(len(values)) / len(values))
    np.testing.assert_allclose(values, exact, atol=0.05 if shape == "uneven" else 1e-3)


def test_coefficients_are_the_beat_they_sum_to(tmp_path):
    values = waveform(tmp_path, "{mean: 93, cos: [-5, -7], sin: [14, 1]}")
    exact = pressure(PERIOD * np.arange(len(values)) / len(values))
    np.testing.assert_allclose(values, exact, atol=1e-9)


def test_a_file_lies_beside_its_case(tmp_path, monkeypatch):
    times = np.linspace(0, PERIOD, 50, endpoint=False)
    (tmp_path / "p.csv").write_text(table(times, pressure(times)))
    monkeypatch.chdir("/")
    assert len(waveform(tmp_path, "p.csv")) == 256


GOOD = np.linspace(0, PERIOD, 40, endpoint=False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no such file"),
        ("", "at least 8 rows"),
        (table(GOOD[:5], pressure(GOOD[:5])), "at least 8 rows"),
        (table(GOOD[::-1], pressure(GOOD)), "times that increase"),
        (table(2 * GOOD, pressure(GOOD)), "heart_rate_per_min: 38.46"),
        (table(0.5 * GOOD, pressure(GOOD)), "a whole beat"),
        (table(np.append(GOOD, PERIOD), np.append(pressure(GOOD), 140)), "repeats the first"),
        (table(GOOD, pressure(GOOD)) + "0.79,abc\n", "line 42"),
        (table(GOOD, pressure(GOOD)).replace(",", ",1,"), "two numbers a row"),
        (table(GOOD, pressure(GOOD)).replace("9", "nan", 3), "two numbers a row"),
        (table(GOOD, 133.322 * pressure(GOOD)), "within 10 to 300 mmHg"),
        (b"\xff\xfe\x00\x01" * 40, "two numbers a row"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, told):
    if isinstance(text, bytes):
        (tmp_path / "p.csv").write_bytes(text)
    elif text is not None:
        (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError) as error:
        waveform(tmp_path, "p.csv")
    assert told in str(error.value)
    assert "aortic_waveform_mmHg" in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        "{mean: 93}",
        "{mean: 93, cos: [1], sin: [1, 2]}",
        "{mean: x, cos: [1], sin: [1]}",
        "{mean: 93, cos: [], sin: []}",
        "{mean: 93, cos: [1], sin: [.nan]}",
        "{mean: 93, cos: [1], sin: [1], phase: [1]}",
    ],
)
def test_bad_coefficients_are_refused(tmp_path, given):
    with pytest.raises(InputError, match=r"mean, and lists cos and sin"):
        waveform(tmp_path, given)
