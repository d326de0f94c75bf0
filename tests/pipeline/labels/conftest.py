"""A small cohort and its data set."""

import json
import shutil

import pytest

from pipeline import certificate, ffr
from pipeline.case_file import dump
from pipeline.cohort.design import Design
from pipeline.cohort.design import dump as dump_design
from pipeline.labels.write import export

NAMES = [f"d-{k:05d}" for k in range(4)]


@pytest.fixture(scope="module")
def cohort(tube_run, tmp_path_factory):
    """Four cases of one flow, said to be of four trees; the last one has failed, the third is warned of."""
    source, case, _ = tube_run
    case = case.model_copy(
        update={"input": case.input.model_copy(update={"path": "/home/a/x.stl"})}
    )
    if not (source / "ffr" / "ffr.json").exists():
        ffr.run(source, case)
    certificate.run(source, case)
    folder = tmp_path_factory.mktemp("cohort")
    design = Design.model_validate({"name": "d", "count": 4, "seed": 3})
    (folder / "design.yaml").write_text(dump_design(design))
    for name, verdict in zip(NAMES, ("PASS", "PASS", "WARN", "FAIL"), strict=True):
        run = folder / "cases" / name
        shutil.copytree(source, run)
        (run / "case.yaml").write_text(dump(case.model_copy(update={"name": name})))
        vessel = run / "anatomy" / "vessel.vtp"
        vessel.write_text(f"geometry of {name}")
        path = run / "certify" / "certificate.json"
        told = json.loads(path.read_text())
        told["status"] = verdict
        path.write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def written(cohort, tmp_path_factory):
    target = tmp_path_factory.mktemp("labels")
    return target, export(cohort, target, licence="CC-BY-4.0")
