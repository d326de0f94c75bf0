"""A case that ends without a result is tried a second way; what failed says which."""

import json
import sys
import textwrap

import pytest

from meshing.errors import ComputationError, InputError
from pipeline import failure
from pipeline.attempts import TooLargeError
from pipeline.case import Case
from pipeline.cohort import retry
from pipeline.cohort.design import Design
from pipeline.cohort.run import ledger
from pipeline.cohort.run import run as run_cohort
from pipeline.failure import SignalError
from pipeline.manifest import sha256

one = sys.modules["pipeline.cohort.one"]
STUB = """
    import json, pathlib, sys
    case, folder, *overrides = sys.argv[1:]
    case, folder = pathlib.Path(case), pathlib.Path(folder)
    with (folder.parent / "calls.txt").open("a") as f:
        f.write(json.dumps([case.stem, overrides]) + "\\n")
    bad = case.stem.endswith("1") and (not overrides or STUBBORN)
    (folder / "failure.json").unlink(missing_ok=True)
    if bad:
        (folder / "failure.json").write_text(json.dumps({"kind": "FAILED"}))
        print("ffr3d: error: no acceptable mesh", file=sys.stderr)
        sys.exit(1)
    (folder / "certify").mkdir(exist_ok=True)
    (folder / "certify" / "certificate.json").write_text(json.dumps({"status": "PASS", "reasons": []}))
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """In place of ``ffr3d run``: the second case fails, unless it is tried another way."""

    def use(failed, *, stubborn=False):
        program = tmp_path / "stub.py"
        text = textwrap.dedent(STUB).replace("FAILED", failed)
        program.write_text(text.replace("STUBBORN", str(stubborn)))
        monkeypatch.setattr(
            one,
            "command",
            lambda case, folder, stop, given=(): [sys.executable, program, case, folder, *given],
        )

    return use


def design(**more):
    return Design.model_validate({"name": "d", "count": 2, "seed": 1, **more})


def calls(folder):
    lines = (folder / "cases" / "calls.txt").read_text().splitlines()
    return [overrides for name, overrides in map(json.loads, lines) if name == "d-00001"]


@pytest.mark.parametrize(
    ("failed", "preset", "key"),
    [
        ("mesh", "finer", "mesh.elements_per_diameter=6.25"),
        ("too large", "coarser", "mesh.elements_per_diameter=4.0"),
        ("solve", "careful", "mesh.elements_across_throat=8.4"),
    ],
)
def test_what_failed_says_which_way(stub, tmp_path, failed, preset, key):
    stub(failed)
    told = run_cohort(design(), tmp_path / "c")
    assert told["verdicts"]["PASS"] == 2
    assert told["second_way"] == {"d-00001": preset}
    first, second = calls(tmp_path / "c")
    assert first == []
    assert key in second
    rows = {row["case"]: row for row in ledger(tmp_path / "c") if row["event"] == "done"}
    assert rows["d-00001"]["preset"] == preset
    assert rows["d-00000"]["preset"] == ""
    assert "second way" in (tmp_path / "c" / "cohort.html").read_text()
    run_cohort(design(), tmp_path / "c")
    assert len(calls(tmp_path / "c")) == 2  # done is done


def test_what_has_no_second_way_is_tried_once(stub, tmp_path):
    stub("input")
    assert run_cohort(design(), tmp_path / "c")["verdicts"]["ERROR"] == 1
    assert calls(tmp_path / "c") == [[]]


def test_a_design_can_do_without(stub, tmp_path):
    stub("mesh")
    assert run_cohort(design(retry=False), tmp_path / "c")["verdicts"]["ERROR"] == 1
    assert calls(tmp_path / "c") == [[]]


def test_where_neither_way_leads_the_next_call_begins_with_the_first(stub, tmp_path):
    stub("mesh", stubborn=True)
    assert run_cohort(design(), tmp_path / "c")["verdicts"]["ERROR"] == 1
    assert len(calls(tmp_path / "c")) == 2
    stub("mesh")
    run_cohort(design(), tmp_path / "c")
    assert [bool(each) for each in calls(tmp_path / "c")] == [False, True, False, True]


def test_killed_on_its_second_way_a_case_goes_on_on_it(tmp_path):
    case = tmp_path / "a.yaml"
    case.write_text("name: a\n")
    told = {"preset": "finer", "after": "mesh", "overrides": ["a.b=1"], "hash": sha256(case)}
    (tmp_path / "retry.json").write_text(json.dumps(told))
    seen = []

    def compute(overrides):
        seen.append(tuple(overrides))
        return 0, 1.0

    assert retry.bring(tmp_path, case, True, compute) == (0, 1.0)
    assert seen == [("a.b=1",)]
    case.write_text("name: b\n")  # another case: its first way
    retry.bring(tmp_path, case, True, compute)
    assert seen[1] == ()


def test_names_of_what_failed():
    gone = InputError(wanted="a file", got="none", remedy="write it")
    many = InputError(field="mesh.max_cells", wanted="fewer", got="many", remedy="less")
    for stage, error, wanted in (
        ("mesh", ComputationError("no mesh"), "mesh"),
        ("solve", ComputationError("no flow"), "solve"),
        ("solve", TooLargeError("memory"), "too large"),
        ("solve", SignalError("killed", 9), "too large"),
        ("mesh", SignalError("segmentation fault", 11), "crash"),
        ("mesh", many, "too large"),
        ("surface", gone, "input"),
    ):
        assert failure.kind(stage, error) == wanted


def test_the_second_way_stays_within_the_options():
    told = {"name": "a", "input": {"kind": "phantom"}}
    for size in (2.0, 60.0):
        given = {"elements_per_diameter": size, "elements_across_throat": size}
        case = Case.model_validate({**told, "mesh": given})
        for failed in ("mesh", "too large", "solve"):
            found = retry.second(case, failed)
            assert found is not None
            keys = {k.partition(".")[2]: v for k, v in found[1].items() if k.startswith("mesh.")}
            Case.model_validate({**told, "mesh": {**given, **keys}})
