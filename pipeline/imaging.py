"""Images in space: read a label map (NIfTI, NRRD, MHA) into a Volume.

One frame everywhere in ffr3d: millimetres in the patient's axes **LPS** (x to the left, y posterior, z superior), as
in DICOM, ITK, NRRD, and surfaces saved by 3D Slicer. NIfTI's RAS affines are turned on reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshing.errors import InputError

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_REMEDY = (
    "give a 3D label map in NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)"
)


@dataclass(frozen=True, slots=True)
class Volume:
    """A 3D image.

    Attributes:
        array: Voxel values, ``(nx, ny, nz)``; the first axis is x of the file.
        affine: Index (i, j, k, 1) of a voxel centre -> LPS [mm], ``(4, 4)``; oblique and flipped axes allowed.
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Voxel edge lengths [mm], ``(3,)``."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def to_world(self, index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Indices ``(n, 3)``, may be fractional -> LPS [mm] ``(n, 3)``."""
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """LPS [mm] ``(n, 3)`` -> fractional indices ``(n, 3)``."""
        return np.asarray((points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T)


def read_label_map(path: Path, label: int | None = None) -> Volume:
    """The lumen of a label map as a boolean volume.

    Args:
        path: NIfTI, NRRD or MetaImage file.
        label: Value of the lumen; every non-zero voxel if None.

    Raises:
        InputError: Missing or unreadable file, not 3D, NaN or infinite voxels, no voxel of the label,
            impossible voxel size.
    """
    volume = read_volume(path)
    array = volume.array
    mask = array != 0 if label is None else array == label
    if not mask.any():
        present = np.unique(array)
        listed = ", ".join(f"{v:g}" for v in present[:12]) + (", ..." if len(present) > 12 else "")
        raise InputError(
            file=path,
            field="label",
            wanted="a voxel that is not zero" if label is None else f"voxels of label {label}",
            got="an empty label map"
            if len(present) == 1 and present[0] == 0
            else f"only the labels {listed}",
            remedy="segment the lumen"
            if label is None
            else "give input.label as one of the labels present",
        )
    return Volume(mask, volume.affine)


def read_volume(path: Path) -> Volume:
    """Read a 3D image; see `read_label_map` for the errors."""
    path = Path(path)
    name = path.name.lower()
    if not path.is_file():
        raise InputError(
            file=path, wanted="a label map", got="no such file", remedy="check input.path"
        )
    if name.endswith(_NIFTI):
        volume = _read_nifti(path)
    elif name.endswith(_ITK):
        volume = _read_itk(path)
    else:
        raise InputError(
            file=path, wanted="an image", got=f"a file called *{path.suffix}", remedy=_REMEDY
        )
    _check(path, volume)
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
            remedy="save the labels as a plain label map, not as colours or layers",
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
            remedy="give one 3D label map (of a series: one phase)",
        )
    return array


def _check(path: Path, volume: Volume) -> None:
    if volume.array.dtype.kind not in "biuf":
        raise InputError(
            file=path, wanted="numbers", got=f"voxels of type {volume.array.dtype}", remedy=_REMEDY
        )
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        wrong = np.argwhere(~np.isfinite(volume.array))
        raise InputError(
            file=path,
            field=f"voxel {tuple(int(i) for i in wrong[0])}",
            wanted="finite voxel values",
            got=f"{len(wrong)} NaN or infinite voxels",
            remedy="replace them (0 outside the lumen) and save the label map as integers",
        )
    matrix, spacing = volume.affine[:3, :3], volume.spacing_mm
    if not np.isfinite(volume.affine).all() or spacing.min() <= 0.0:
        got = f"{np.round(spacing, 6).tolist()} mm"
    elif abs(np.linalg.det(matrix / spacing)) < 1e-3:
        got = "axes that lie in one plane"
    elif spacing.min() < 0.01 or spacing.max() > 10.0:
        got = f"{spacing.round(6).tolist()} mm, no CT voxel"
    else:
        return
    raise InputError(
        file=path,
        field="voxel size",
        wanted="positive spacings of 0.01 to 10 mm on three independent axes",
        got=got,
        remedy="mend the header (spacing, affine, unit) of the image",
    )


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a NIfTI file (booleans as 0 and 1 bytes)."""
    import nibabel

    array = volume.array.astype(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    new: Any = nibabel.Nifti1Image
    image = new(array, _RAS_LPS @ volume.affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
