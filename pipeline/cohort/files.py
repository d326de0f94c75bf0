"""The cases of a design of files: what is there, each made a case when it is asked for.

A case file keeps what it says where the design's `case` and conditions say nothing; a surface, a label map or a CT is
a case of defaults. Which name is which file is in ``files.json`` of the cohort's folder, and nowhere in a data set.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.case import Case
from pipeline.cohort.design import Conditions, Design, case_of, files
from pipeline.manifest import pseudonym, write_atomically


class FileCases:
    """The cases of a design of files.

    Args:
        design: Its vessel is `Files`.
        folder: The cohort's.
    """

    def __init__(self, design: Design, folder: Path) -> None:
        self._design, self._files = design, files(design)
        told = {name: str(path) for name, path in self._files.items()}
        write_atomically(folder / "files.json", json.dumps(told, indent=2))

    def case(self, name: str) -> Case:
        """The case of a name.

        Raises:
            InputError: The file is no valid case, or not one with the design's sections.
        """
        from pipeline.case_file import load

        path, design = self._files[name], self._design
        base = load(path).model_dump(mode="json", exclude_unset=True)
        rng = np.random.default_rng([design.seed, int(pseudonym(name), 16)])
        names = list(Conditions.model_fields)
        drawn = dict(zip(names, rng.uniform(size=len(names)), strict=True))
        return case_of(design, name, {"name": name}, drawn, base)
