"""The order of stages: skipped when fresh, resumed, forced, and ended with a message."""

import json
import textwrap

import pytest

from meshing.errors import ComputationError, InputError
from pipeline import failure
from pipeline import run as runner
from pipeline.case import Case
from pipeline.manifest import Manifest
from pipeline.run import Stage, run


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """Three small stages in real child processes: each copies its input's text and appends its name."""
    program = tmp_path / "stage.py"
    program.write_text(
        textwrap.dedent("""
        import json, os, pathlib, signal, sys
        name, run = sys.argv[1], pathlib.Path(sys.argv[2])
        with (run / "calls.txt").open("a") as f:
            f.write(name + " ")
        fault = run / f"fault-{name}"
        if fault.exists():
            kind = fault.read_text()
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "input":
                fields = dict(file="f", field="k", wanted="w", got="g", remedy="r")
                (run / "error.json").write_text(json.dumps({"kind": "input", "fields": fields}))
                sys.exit(2)
            if kind == "nothing":
                sys.exit(0)
            sys.exit(1)
        before = {"a": None, "b": "a", "c": "b"}[name]
        text = (run / before / "out.txt").read_text() if before else ""
        (run / name / "out.txt").write_text(text + name)
        """)
    )
    chain = (
        Stage("a", lambda case: {"name": case.name}, (), ("a/out.txt",), reads_case=True),
        Stage("b", lambda case: {"order": case.mesh.order}, ("a/out.txt",), ("b/out.txt",)),
        Stage("c", lambda _: {}, ("b/out.txt",), ("c/out.txt",)),
    )
    monkeypatch.setattr(runner, "STAGES", chain)
    original = runner._child
    monkeypatch.setattr(
        runner, "_child", lambda command: original([command[0], str(program), *command[-2:]])
    )


@pytest.fixture
def case():
    return Case.model_validate({"name": "n", "input": {"kind": "phantom"}})


def calls(folder):
    text = (folder / "calls.txt").read_text() if (folder / "calls.txt").exists() else ""
    (folder / "calls.txt").unlink(missing_ok=True)
    return text.split()


@pytest.mark.usefixtures("stages")
class TestStages:
    def test_second_run_skips_everything(self, case, tmp_path):
        folder = tmp_path / "run"
        ledger = run(case, folder)
        assert calls(folder) == ["a", "b", "c"]
        assert (folder / "c" / "out.txt").read_text() == "abc"
        assert ledger.stages["c"].seconds >= 0
        assert ledger.stages["c"].peak_memory_GiB > 0
        run(case, folder)
        assert calls(folder) == []

    def test_a_changed_choice_runs_its_stage_and_what_follows_if_its_output_changed(
        self, case, tmp_path
    ):
        folder = tmp_path / "run"
        run(case, folder)
        calls(folder)
        mesh = case.mesh.model_copy(update={"order": 1})
        run(case.model_copy(update={"mesh": mesh}), folder)
        assert calls(folder) == ["b"]  # b wrote the same bytes again, so c is still fresh

    def test_a_lost_or_altered_output_is_made_again(self, case, tmp_path):
        folder = tmp_path / "run"
        run(case, folder)
        calls(folder)
        (folder / "b" / "out.txt").write_text("altered")
        run(case, folder)
        assert calls(folder) == ["b"]
        assert (folder / "b" / "out.txt").read_text() == "ab"

    def test_from_forces_and_to_stops(self, case, tmp_path):
        folder = tmp_path / "run"
        run(case, folder)
        calls(folder)
        run(case, folder, start="b")
        assert calls(folder) == ["b", "c"]
        run(case, folder, start="a", stop="a")
        assert calls(folder) == ["a"]

    @pytest.mark.parametrize(
        ("kind", "error", "words", "named"),
        [
            ("kill", ComputationError, "SIGKILL", "too large"),
            ("input", InputError, "f, k: wanted w; got g", "input"),
            ("fail", ComputationError, "exit status 1", "b"),
            ("nothing", ComputationError, "without writing b/out.txt", "b"),
        ],
    )
    def test_a_failed_stage_is_told_and_the_next_run_goes_on_there(
        self, case, tmp_path, kind, error, words, named
    ):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "fault-b").write_text(kind)
        with pytest.raises(error, match=words):
            run(case, folder)
        assert calls(folder) == ["a", "b"]
        assert list(Manifest.open(folder).stages) == ["a"]
        assert failure.read(folder) == named
        (folder / "fault-b").unlink()
        run(case, folder)
        assert failure.read(folder) is None
        assert calls(folder) == ["b", "c"]
        assert (folder / "c" / "out.txt").read_text() == "abc"

    def test_what_an_interrupted_attempt_left_is_kept_for_the_same_inputs_only(
        self, case, tmp_path
    ):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "fault-b").write_text("kill")
        with pytest.raises(ComputationError):
            run(case, folder)
        (folder / "b" / "state").write_text("half way")
        with pytest.raises(ComputationError):
            run(case, folder)
        assert (folder / "b" / "state").exists()
        mesh = case.mesh.model_copy(update={"order": 1})
        with pytest.raises(ComputationError):
            run(case.model_copy(update={"mesh": mesh}), folder)
        assert not (folder / "b" / "state").exists()

    def test_two_runs_in_one_folder_are_refused(self, case, tmp_path):
        folder = tmp_path / "run"
        folder.mkdir()
        with runner.locked(folder), pytest.raises(InputError, match="another ffr3d"):
            run(case, folder)


def test_a_torn_ledger_is_started_anew(tmp_path):
    (tmp_path / "run.json").write_text('{"name": "x", "stag')
    assert Manifest.open(tmp_path).stages == {}


def test_ledger_tells_versions_but_no_host(tmp_path):
    Manifest(name="x").save(tmp_path)
    data = json.loads((tmp_path / "run.json").read_text())
    assert {"python", "ffr3d", "gmsh", "dolfinx-solver-real"} <= set(data["versions"])
    assert set(data["machine"]) == {"system", "processors"}


def test_every_section_of_a_case_is_some_stages_choice():
    """Else a change of it would leave old results standing; ``adapt`` counts with the meshes it chooses."""
    case = Case.model_validate({"input": {"kind": "phantom"}, "pulsatile": {}})
    seen = {name for stage in runner.STAGES for name in stage.choices(case)}
    assert set(Case.model_fields) - seen == {"adapt"}
