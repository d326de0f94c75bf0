"""A better mesh from the solution on the one before: the way there and back."""

import json
import textwrap

import pytest

from meshing.errors import ComputationError
from pipeline import run as runner
from pipeline.case import Case
from pipeline.manifest import Manifest
from pipeline.refine import Adapt, Attempt, Refinement
from pipeline.run import Stage, run


def attempt(cells, factor=1.4):
    return Attempt(
        cells=cells,
        factor=factor,
        seconds=5.0,
        error_Pa=9.0,
        wanted=2 * cells,
        sizes=f"{2 * cells}",
    )


def test_sizes_and_notes_follow_the_attempts():
    tried = Refinement()
    assert tried.sizes is None
    assert tried.notes() == []
    assert tried.goes_on(Adapt())
    assert not tried.goes_on(Adapt(when="never"))
    tried.attempts.append(attempt(1000))
    assert tried.sizes == "2000"
    assert (tried.goes_on(Adapt()), tried.goes_on(Adapt(rounds=2))) == (False, True)
    assert "1000 tetrahedra the branch of steady states ended at 1.400" in tried.notes()[0]
    tried.withdrawn = "out of memory"
    assert tried.sizes is None
    assert not tried.goes_on(Adapt(rounds=2))
    assert "out of memory" in tried.notes()[1]


# -- the way through the stages ----------------------------------------------------------------


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """Anatomy, mesh and solve as small programs in child processes.

    The mesh is the number of its cells as text; the solver finds a steady state on a mesh whose number is in ``enough``
    (where it may leave it for a finer one; else always), and fails where it is in ``fails``.
    """
    program = tmp_path / "stage.py"
    program.write_text(
        textwrap.dedent("""
        import json, pathlib, sys
        from pipeline.case_file import load
        from pipeline.manifest import Manifest
        name, run = sys.argv[1], pathlib.Path(sys.argv[2])
        with (run / "calls.txt").open("a") as f:
            f.write(name + " ")
        tried, case = Manifest.open(run).refinement, load(run / "case.yaml")
        listed = lambda file: (run / file).read_text().split() if (run / file).exists() else []
        if name == "mesh":
            text = tried.sizes or "1000"
            (run / "mesh" / "mesh.json").write_text(text)
        else:
            text = (run / "mesh" / "mesh.json").read_text() if name == "solve" else ""
            if text in listed("fails"):
                sys.exit(1)
            if name == "solve" and text not in listed("enough") and tried.goes_on(case.adapt):
                (run / "error.json").write_text(json.dumps({"kind": "branch end", "message": "m"}))
                sys.exit(3)
            (run / name / "out.txt").write_text(text)
        """)
    )
    chain = (
        Stage("anatomy", lambda _: {}, (), ("anatomy/out.txt",)),
        Stage("mesh", lambda case: {"order": case.mesh.order}, ("anatomy/out.txt",), ("mesh/mesh.json",)),
        Stage("solve", lambda _: {}, ("mesh/mesh.json",), ("solve/out.txt",)),
    )  # fmt: skip
    monkeypatch.setattr(runner, "STAGES", chain)
    monkeypatch.setattr(runner, "STAGE_NAMES", ("anatomy", "mesh", "solve"))
    monkeypatch.setattr(runner, "ANATOMY", ("anatomy/out.txt",))

    def double(folder, adapt, number):
        made = attempt(int((folder / "mesh" / "mesh.json").read_text()))
        (folder / made.sizes).write_text(made.sizes)
        return made

    monkeypatch.setattr(runner, "next_attempt", double)
    original = runner._child
    monkeypatch.setattr(
        runner, "_child", lambda command: original([command[0], str(program), *command[3:]])
    )


def case_with(**adapt):
    return Case.model_validate({"name": "n", "input": {"kind": "phantom"}, "adapt": adapt})


def calls(folder):
    text = (folder / "calls.txt").read_text() if (folder / "calls.txt").exists() else ""
    (folder / "calls.txt").unlink(missing_ok=True)
    return text.split()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.mark.usefixtures("stages")
class TestRun:
    def test_a_mesh_that_suffices_is_kept(self, folder):
        (folder / "enough").write_text("1000")
        assert run(case_with(), folder).refinement.attempts == []
        assert calls(folder) == ["anatomy", "mesh", "solve"]

    def test_the_mesh_is_made_finer_once_and_kept_so(self, folder):
        (folder / "enough").write_text("2000")
        ledger = run(case_with(), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve", "mesh", "solve"]
        assert (folder / "solve" / "out.txt").read_text() == "2000"
        assert [a.cells for a in ledger.refinement.attempts] == [1000]
        run(case_with(), folder)
        assert calls(folder) == []  # all fresh, the finer mesh included

    def test_as_often_as_the_case_says(self, folder):
        run(case_with(rounds=2), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve", "mesh", "solve", "mesh", "solve"]
        assert (folder / "solve" / "out.txt").read_text() == "4000"  # the last takes what it gets
        run(case_with(when="never"), folder)
        assert calls(folder) == ["mesh", "solve"]
        assert (folder / "solve" / "out.txt").read_text() == "1000"

    @pytest.mark.parametrize("start", [None, "solve"])
    def test_where_the_finer_mesh_fails_the_one_before_serves(self, folder, start):
        (folder / "fails").write_text("2000")
        ledger = run(case_with(), folder, start=start)
        assert calls(folder) == ["anatomy", "mesh", "solve", "mesh", "solve", "mesh", "solve"]
        assert (folder / "solve" / "out.txt").read_text() == "1000"
        assert "exit status 1" in str(ledger.refinement.withdrawn)
        run(case_with(), folder)
        assert calls(folder) == []

    def test_a_killed_run_goes_on_with_the_finer_mesh(self, folder):
        (folder / "enough").write_text("2000")
        run(case_with(), folder, stop="solve")
        calls(folder)
        (folder / "solve" / "out.txt").unlink()
        run(case_with(), folder)
        assert calls(folder) == ["solve"]

    def test_on_demand_a_steady_state_is_the_first_step_to_a_better_mesh(self, folder):
        (folder / "enough").write_text("1000 2000 4000")
        ledger = run(case_with(when="always", rounds=2), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve", "mesh", "solve", "mesh", "solve"]
        assert [a.cells for a in ledger.refinement.attempts] == [1000, 2000]
        run(case_with(when="always", rounds=2), folder)
        assert calls(folder) == []

    def test_a_run_killed_before_it_chose_the_sizes_chooses_them(self, folder, monkeypatch):
        (folder / "enough").write_text("1000 2000")

        def killed(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(runner, "next_attempt", killed)
            with pytest.raises(KeyboardInterrupt):
                run(case_with(when="always"), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve"]
        run(case_with(when="always"), folder)
        assert calls(folder)[-2:] == ["mesh", "solve"]
        assert (folder / "solve" / "out.txt").read_text() == "2000"

    def test_without_its_sizes_a_better_mesh_is_begun_anew(self, folder):
        (folder / "enough").write_text("2000")
        run(case_with(), folder)
        calls(folder)
        (folder / "2000").unlink()
        run(case_with(), folder)
        assert calls(folder) == ["mesh", "solve", "mesh", "solve"]

    def test_from_mesh_and_other_choices_begin_anew(self, folder):
        (folder / "enough").write_text("2000")
        run(case_with(), folder)
        (folder / "enough").write_text("2000 1000")
        calls(folder)
        assert run(case_with(), folder, start="mesh").refinement.attempts == []
        assert calls(folder) == ["mesh", "solve"]
        (folder / "enough").write_text("2000")
        run(case_with(), folder, start="mesh")
        (folder / "enough").write_text("1000")
        calls(folder)
        other = case_with().model_copy(
            update={"mesh": case_with().mesh.model_copy(update={"order": 1})}
        )
        assert run(other, folder).refinement.attempts == []
        assert calls(folder) == ["mesh", "solve"]

    def test_a_failure_on_the_first_mesh_is_an_error(self, folder):
        (folder / "fails").write_text("1000")
        with pytest.raises(ComputationError, match="exit status 1"):
            run(case_with(), folder)
        assert json.loads((folder / "run.json").read_text())["refinement"]["withdrawn"] is None
        assert Manifest.open(folder).refinement.attempts == []
