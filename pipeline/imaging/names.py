"""Names of labels: which of them is the lumen, the aorta, calcium; where label maps of other tools keep them.

TotalSegmentator writes a file a structure (``coronary_arteries.nii.gz``) or, with ``--ml``, one map with a table of
names in the NIfTI header's extension, as Connectome Workbench does; 3D Slicer's ``.seg.nrrd`` has them in its header.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

TISSUES = {  # name of a tissue: names of labels that belong to it
    "lumen": re.compile(
        r"coronar|lumen|^(vessels?|arter(y|ies))$|^(lm|lad|lcx|cx|rca|d\d?|om\d?|pda|plv?)$"
    ),
    "aorta": re.compile(r"aorta"),
    "calcium": re.compile(r"calci"),
    "wall": re.compile(r"plaque|vessel_?wall|arterial_?wall"),
    "stent": re.compile(r"stent"),
}
NOT_CORONARY = re.compile(r"(aort|false|pulmon|sinus|vein)")
FILE_OF_CORONARIES = "coronary_arteries.nii.gz"
_KEYED = re.compile(r"<Label\s[^>]*?Key=\"(\d+)\"[^>]*>(.*?)</Label>", re.DOTALL)


def belongs(name: str, tissue: str) -> bool:
    """Whether a label's name says that it is of a tissue (`TISSUES`)."""
    plain = name.strip().lower()
    if tissue == "lumen" and NOT_CORONARY.search(plain):
        return False  # an aortic (true or false) lumen, a coronary sinus
    return TISSUES[tissue].search(plain) is not None


def named_labels(path: Path) -> dict[str, int]:
    """Values of a label map by name, as its file tells them; empty where it does not."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti_names(path)
    if name.endswith((".nrrd", ".nhdr")):
        return _slicer_names(path)
    return {}


def _nifti_names(path: Path) -> dict[str, int]:
    import nibabel

    image: Any = nibabel.load(path)
    found: dict[str, int] = {}
    for extension in getattr(image.header, "extensions", ()):
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        for key, inner in _KEYED.findall(text):
            plain = inner.strip().removeprefix("<![CDATA[").removesuffix("]]>")
            found[html.unescape(plain).strip()] = int(key)
    return {name: value for name, value in found.items() if value != 0 and name}


def _slicer_names(path: Path) -> dict[str, int]:
    import SimpleITK

    new: Any = SimpleITK.ImageFileReader
    reader = new()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    found = {}
    for key in reader.GetMetaDataKeys():
        if match := re.fullmatch(r"(Segment\d+)_Name", key):
            value = f"{match[1]}_LabelValue"
            if reader.HasMetaDataKey(value):
                found[reader.GetMetaData(key)] = int(reader.GetMetaData(value))
    return found
