"""Pixels of a stack to Hounsfield units."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.imaging.dicom.headers import Plane
from pipeline.imaging.dicom.stacks import Stack

AIR, MOST = -1024, 32767  # HU; what a scanner could not measure is put at the first


def hounsfield(stack: Stack) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    """Hounsfield units ``(columns, rows, slices)``; int16 where slopes and intercepts are whole numbers.

    Raises:
        InputError: No rescaling, more than one value a pixel, a damaged file, an unknown compression.
    """
    rescales = [_rescale(stack, plane) for plane in stack.planes]
    whole = all(number == round(number) for pair in rescales for number in pair)
    shape = (*stack.planes[0].shape, len(stack.planes))
    values = np.empty(shape, np.int16 if whole else np.float32)
    decoded: tuple[Path, Any, Any] | None = None
    for k, (plane, (slope, intercept)) in enumerate(zip(stack.planes, rescales, strict=True)):
        if decoded is None or decoded[0] != plane.file:
            decoded = (plane.file, *_decode(plane))
        _, stored, padded = decoded
        image, outside = (
            part if plane.frame is None else part[plane.frame] for part in (stored, padded)
        )
        hu = image * np.float32(slope) + np.float32(intercept)
        hu[outside] = AIR
        values[:, :, k] = np.clip(hu, AIR, MOST).T
    return values


def _rescale(stack: Stack, plane: Plane) -> tuple[float, float]:
    if plane.rescale is None:
        raise InputError(
            file=plane.file,
            field=f"series {stack.name}: rescale slope and intercept",
            wanted="both, to turn stored values into Hounsfield units",
            got="none",
            remedy="export the original series; a screenshot or a stripped copy does not do",
        )
    return plane.rescale


def _decode(plane: Plane) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Stored values ``([frames,] rows, columns)`` and where the scanner padded them."""
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(plane.file, force=True)
            stored = np.asarray(header.pixel_array)
        except Exception as error:  # decoders raise whatever they like
            raise InputError(
                file=plane.file,
                field=f"pixel data ({_syntax(plane.file)})",
                wanted="pixels that can be decoded",
                got=(str(error).strip().splitlines() or [type(error).__name__])[0],
                remedy="the file is damaged or compressed in a rare way: export the series again, uncompressed",
            ) from error
    if plane.frame is not None and stored.ndim == 2:
        stored = stored[None]
    if stored.shape[-2:] != plane.shape[::-1]:
        raise InputError(
            file=plane.file,
            field="pixel data",
            wanted=f"one value a pixel, {plane.shape[1]} rows of {plane.shape[0]}",
            got=f"shape {' x '.join(str(n) for n in stored.shape)}",
            remedy="give the CT series itself, not colour pictures of it",
        )
    low = header.get("PixelPaddingValue")
    if not isinstance(low, int):
        return stored, np.zeros(stored.shape, np.bool_)
    high = header.get("PixelPaddingRangeLimit")
    low, high = sorted((low, high if isinstance(high, int) else low))
    return stored, (stored >= low) & (stored <= high)


def _syntax(path: Path) -> str:
    import pydicom

    try:
        return str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID.name)
    except Exception:
        return "unknown transfer syntax"
