"""Waveforms of one beat as users have them: values at even times, a CSV file, or Fourier coefficients.

In a case::

    physiology:
      heart_rate_per_min: 75
      aortic_waveform_mmHg: pressure.csv            # time [s] and value, one beat; a header line may come first
      # or: {mean: 93, cos: [-5.2, -7.1], sin: [14.1, 1.3]}   # of 1, 2, ... times the heart rate

All become values at even times before the case is checked, so that a resolved case needs no other file.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError

Array = npt.NDArray[np.float64]
SAMPLES = 256
LEAST_ROWS = 8
_SAME = 0.005  # of the beat: a last row so near to its end repeats the first
_MANY = 64  # Fourier coefficients


def resolved(given: Any, rate_per_min: float, folder: Path, field: str) -> Any:  # noqa: ANN401
    """Values at even times of a waveform as a case gives it; what is neither file nor coefficients stays.

    Args:
        given: As read from YAML.
        rate_per_min: Beats a minute.
        folder: That paths are relative to.
        field: Named in errors.

    Raises:
        InputError: A file or coefficients that make no waveform of one beat.
    """
    if isinstance(given, str):
        return _from_csv(folder / given, 60.0 / rate_per_min, field).tolist()
    if isinstance(given, dict):
        return _from_coefficients(given, field).tolist()
    return given


def _from_coefficients(given: dict[str, Any], field: str) -> Array:
    """``mean + sum_k cos_k cos(k w t) + sin_k sin(k w t)``."""
    wanted = "mean, and lists cos and sin of the same length (1 to 64)"
    try:
        mean = float(given["mean"])
        cos, sin = (np.array(given[name], dtype=np.float64) for name in ("cos", "sin"))
        good = set(given) == {"mean", "cos", "sin"} and cos.ndim == 1 and cos.shape == sin.shape
        good = good and 1 <= len(cos) <= _MANY and bool(np.isfinite([mean, *cos, *sin]).all())
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise InputError(
            field=field,
            wanted=wanted,
            got=f"{given!r:.80}",
            remedy="write {mean: 93, cos: [-5.2, -7.1], sin: [14.1, 1.3]}, first harmonic first",
        )
    phase = 2 * np.pi * np.outer(np.arange(SAMPLES) / SAMPLES, np.arange(1, len(cos) + 1))
    return np.asarray(mean + np.cos(phase) @ cos + np.sin(phase) @ sin)


def _from_csv(path: Path, period: float, field: str) -> Array:
    from scipy.interpolate import CubicSpline

    time, value = _rows(path, field)

    def refused(wanted: str, got: str, remedy: str) -> InputError:
        return InputError(file=path, field=field, wanted=wanted, got=got, remedy=remedy)

    if len(time) < LEAST_ROWS:
        raise refused(f"at least {LEAST_ROWS} rows", f"{len(time)}", "sample the beat finer")
    if not (np.diff(time) > 0).all():
        k = int(np.argmax(np.diff(time) <= 0))
        raise refused(
            "times that increase", f"{time[k]:g} then {time[k + 1]:g} s", "sort the rows by time"
        )
    time = time - time[0]
    if time[-1] > (1 + _SAME) * period:
        raise refused(
            f"one beat of {period:.4g} s (heart_rate_per_min: {60 / period:.4g})",
            f"{time[-1]:.4g} s",
            f"give one beat, or set heart_rate_per_min: {60 / time[-1]:.4g}",
        )
    if time[-1] > (1 - _SAME) * period:
        step = abs(value[-1] - value[0])
        if step > 0.1 * np.ptp(value):
            raise refused(
                "a last row that repeats the first, a beat later",
                f"{value[0]:g} at the start, {value[-1]:g} at the end",
                "give a periodic waveform, or leave the last row out",
            )
        time, value = time[:-1], value[:-1]
    if time[-1] < 0.75 * period:
        raise refused(
            f"a whole beat of {period:.4g} s",
            f"{time[-1]:.4g} s",
            f"give all of the beat, or set heart_rate_per_min: {60 / time[-1]:.4g}",
        )
    spline = CubicSpline([*time, period], [*value, value[0]], bc_type="periodic")
    return np.asarray(spline(period * np.arange(SAMPLES) / SAMPLES))


def _rows(path: Path, field: str) -> tuple[Array, Array]:
    if not path.is_file():
        raise InputError(
            file=path,
            field=field,
            wanted="a CSV file with the columns time [s] and value",
            got="no such file",
            remedy="paths are relative to the case file",
        )
    rows: list[tuple[float, float]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = ["\0"]
    for number, line in enumerate(lines, start=1):
        cells = next(csv.reader([line], delimiter=";" if ";" in line else ","), [])
        if not any(cell.strip() for cell in cells) or line.startswith("#"):
            continue
        try:
            time, value = (float(cell) for cell in cells[:2])
            if len(cells) != 2 or not np.isfinite([time, value]).all():
                raise ValueError(line)
        except ValueError:
            if number == 1 and "\0" not in line:
                continue  # names of the columns
            raise InputError(
                file=path,
                field=field,
                wanted="two numbers a row: time [s], value",
                got=f"line {number}: {line!r:.60}",
                remedy="export the waveform as plain CSV, decimal points, one beat",
            ) from None
        rows.append((time, value))
    told = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return told[:, 0], told[:, 1]
