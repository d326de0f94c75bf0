"""Images in one file: NIfTI, NRRD, MetaImage; read into a Volume, with every fault told; NIfTI written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError
from pipeline.imaging.checks import check
from pipeline.imaging.names import belongs, named_labels
from pipeline.imaging.volume import Volume

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_REMEDY = "give a 3D image in NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)"


def read_label_map(path: Path, label: int | str | None = None) -> Volume:
    """The lumen of a label map as a boolean volume.

    Args:
        path: NIfTI, NRRD or MetaImage file.
        label: Value of the lumen, or its name where the file has names (`pipeline.imaging.names`). If None: the labels
            whose names say coronary or lumen; in a file without names every non-zero voxel.

    Raises:
        InputError: Missing or unreadable file, not 3D, NaN or infinite voxels, no voxel of the label,
            impossible voxel size; no label of that name, or no name that says lumen.
    """
    volume = read_volume(path)
    array, values = volume.array, _values(path, label)
    mask = array != 0 if values is None else np.isin(array, values)
    if not mask.any():
        present = np.unique(array)
        listed = ", ".join(f"{v:g}" for v in present[:12]) + (", ..." if len(present) > 12 else "")
        asked = "" if values is None else " or ".join(str(v) for v in values)
        raise InputError(
            file=path,
            field="label",
            wanted="a voxel that is not zero" if values is None else f"voxels of label {asked}",
            got="an empty label map"
            if len(present) == 1 and present[0] == 0
            else f"only the labels {listed}",
            remedy="segment the lumen"
            if values is None
            else "give input.label as one of the labels present",
        )
    return Volume(mask, volume.affine)


def _values(path: Path, label: int | str | None) -> list[int] | None:
    """Label values of the lumen; None for every one that is not zero."""
    if isinstance(label, int):
        return [label]
    names = named_labels(Path(path))
    if label is None and not names:
        return None
    found = [
        value
        for name, value in names.items()
        if (belongs(name, "lumen") if label is None else name.lower() == label.lower())
    ]
    if found:
        return found
    listed = ", ".join(list(names)[:12]) + (", ..." if len(names) > 12 else "")
    raise InputError(
        file=path,
        field="label",
        wanted="a label whose name says coronary or lumen"
        if label is None
        else f"a label called {label!r}",
        got=f"the names {listed}" if names else "a file without names of its labels",
        remedy="give input.label as one of these names, or as a number"
        if names
        else "give input.label as a number",
    )


def read_volume(path: Path) -> Volume:
    """Read a 3D image; see `read_label_map` for the errors."""
    path = Path(path)
    name = path.name.lower()
    if not path.is_file():
        raise InputError(
            file=path, wanted="an image", got="no such file", remedy="check input.path"
        )
    if name.endswith(_NIFTI):
        volume = _read_nifti(path)
    elif name.endswith(_ITK):
        volume = _read_itk(path)
    else:
        raise InputError(
            file=path, wanted="an image", got=f"a file called *{path.suffix}", remedy=_REMEDY
        )
    check(path, volume)
    return volume


def _read_nifti(path: Path) -> Volume:
    import nibabel

    try:
        image: Any = nibabel.load(path)
        array = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
        unit = image.header.get_xyzt_units()[0]
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise _unreadable(path, error) from error
    to_mm = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}.get(unit, 1.0)
    return Volume(_three_d(path, array), _RAS_LPS @ np.diag([to_mm, to_mm, to_mm, 1.0]) @ affine)


def _read_itk(path: Path) -> Volume:
    import SimpleITK

    try:
        image: Any = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            file=path,
            wanted="one value a voxel",
            got=f"{image.GetNumberOfComponentsPerPixel()}",
            remedy="save one plain value a voxel, not colours or layers",
        )
    array = _three_d(path, SimpleITK.GetArrayFromImage(image).transpose())
    affine = np.eye(4)
    n = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(n, n)[:3, :3]
    affine[:3, :3] = direction * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return Volume(array, affine)


def _unreadable(path: Path, error: Exception) -> InputError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return InputError(
        file=path,
        wanted="a readable image",
        got=lines[-1] if lines else type(error).__name__,
        remedy=f"the file is damaged or of another format; {_REMEDY}",
    )


def _three_d(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        raise InputError(
            file=path,
            wanted="a 3D image of at least 2 voxels along each axis",
            got=f"shape {' x '.join(str(n) for n in shape)}",
            remedy="give one 3D image (of a series: one phase)",
        )
    return array


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a NIfTI file (booleans as 0 and 1 bytes)."""
    import nibabel

    array = volume.array.astype(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    new: Any = nibabel.Nifti1Image
    image = new(array, _RAS_LPS @ volume.affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
