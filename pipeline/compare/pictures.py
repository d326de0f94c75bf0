"""Pictures of the vessels on which model and reference differ most.

Drawn in a process of its own: OpenGL in software and torch's compiler bring two LLVM libraries, and in one process the
second one to come ends it.
"""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from pipeline.compare.pairs import Row
from pipeline.report.colours import FFR_RANGE, UNDER, Scale

log = logging.getLogger("ffr3d")
_WIDTH = 900  # pixels of the page's copy
_FFR = Scale("FFR", "FFR, reference", "", *FFR_RANGE, "viridis", UNDER)


@dataclass(frozen=True, slots=True)
class Picture:
    """One vessel.

    Attributes:
        caption: What is on it.
        png: The picture, base64.
    """

    caption: str
    png: str


def pictures(dataset: Path, ends: Sequence[Row]) -> list[Picture]:
    """The walls of these cases by the reference's FFR; ends and lesions marked, each case once.

    Args:
        dataset: Folder of the labels.
        ends: Vessel ends; their case is shown with the first of its ends named.
    """
    first = {row.case: row for row in reversed(ends)}
    chosen = [row for row in ends if first[row.case] is row]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.compare.pictures", str(dataset)],
        input=json.dumps([asdict(row) for row in chosen]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:  # the numbers are there without
        log.warning("compare  no pictures: %s", done.stderr.strip().splitlines()[-1:])
        return []
    return [Picture(**told) for told in json.loads(done.stdout)]


def _picture(dataset: Path, row: Row) -> Picture:
    import pyvista as pv
    from PIL import Image

    from pipeline.report.scenes import Label, ffr_map

    with h5py.File(dataset / "cases" / f"{row.case}.h5") as file:
        surface = {name: values[:] for name, values in file["surface"].items()}
        told = json.loads(file.attrs["labels"])
        line = file[f"centerlines/{row.name}"]
        s, points = line["abscissa"][:], line["points"][:]
    triangles = surface["triangles"][surface["patch"] == 0]
    wall = pv.PolyData(
        surface["points"].astype(float),
        faces=np.column_stack([np.full(len(triangles), 3), triangles]).ravel(),
    )
    ffr = surface["pressure"] / told["reference"]["Pa_mmHg"]
    wall.point_data[_FFR.name] = np.where(surface["extension"] == 0, ffr, np.nan)
    wall.point_data["extension"] = surface["extension"]
    length = next(v["length_mm"] for v in told["vessels"] if v["name"] == row.name)
    x, y, z = (float(np.interp(length, s, points[:, k])) for k in range(3))
    here = f"{row.name}: {row.reference:.2f}, model {row.other:.2f}"
    labels = [Label(here, (x, y, z), "end")]
    labels += [
        Label(f"{one['name']} {one['diameter_stenosis']:.0%}", tuple(one["centre_mm"]), "lesion")
        for one in told["lesions"]
    ]
    with tempfile.TemporaryDirectory(prefix="ffr3d-picture-") as folder:
        path = Path(folder) / "wall.png"
        ffr_map(wall, _FFR, labels, path)
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((_WIDTH, _WIDTH))
            small.save(path, optimize=True)
        text = base64.b64encode(path.read_bytes()).decode()
    return Picture(f"{row.case}, {here}", text)


def main(dataset: Path) -> None:
    """Draw what standard input lists; pictures to standard output."""
    rows = [Row(**told) for told in json.loads(sys.stdin.read())]
    json.dump([asdict(_picture(dataset, row)) for row in rows], sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
