"""A better mesh from the solution on the one before: the way there and back."""

import json
import math
import textwrap

import numpy as np
import pytest

from meshing.background import Background
from meshing.errors import ComputationError
from meshing.sizing import Finer
from pipeline import run as runner
from pipeline.anatomy.types import Centerline
from pipeline.attempts import Attempt, Refinement
from pipeline.case import Adapt, Case
from pipeline.manifest import Manifest
from pipeline.refine import EVERYWHERE, _finer, jet_strengths, sizes_of
from pipeline.run import Stage, run
from solver.problem import FlowProblem

PROBLEM = FlowProblem.model_validate(
    {
        "mesh": "mesh.json",
        "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
        "inlet": {"kind": "pressure", "p": 12_000.0},
        "outlets": {"a": {"kind": "resistance", "R": 1e9}, "b": {"kind": "resistance", "R": 1e9}},
    }
)
OUTFLOW = {"a": 2e-6, "b": 1e-6}


def line(outlet, along, throats):
    """A line of diameter 3 mm from the origin; ``throats``: place and diameter [mm], 4 mm long."""
    s = np.linspace(0, 60, 601)
    radius = np.full(s.size, 1.5)
    for place, d in throats:
        radius = np.where(np.abs(s - place) < 2, d / 2, radius)
    points = s[:, None] * np.asarray(along)
    unit, none = np.tile(along, (s.size, 1)), np.zeros(s.size)
    area = math.pi * radius**2
    flags = none.astype(np.int32), none.astype(bool)
    return Centerline(outlet, points, s, radius, area, unit, *flags)


def row(centre, diameter):
    return {"centre_mm": list(centre), "diameter_mm": diameter}


def test_strength_is_the_throats_reynolds_number_times_the_expansion():
    lines = (line("a", (1.0, 0, 0), [(20, 1.5)]), line("b", (0, 1.0, 0), [(20, 1.0)]))
    throats = [row((20, 0, 0), 1.5), row((0, 20, 0), 1.0)]
    a, b = jet_strengths(throats, lines, OUTFLOW, PROBLEM)
    reynolds = 4 * 1060 * 2e-6 / (math.pi * 3.5e-3 * 1.5e-3)
    assert a == pytest.approx(reynolds * (1 - 0.25), rel=1e-9)
    assert b / a == pytest.approx(0.5 * 1.5 * (1 - 1 / 9) / 0.75, rel=1e-9)


def test_a_throat_of_the_stem_carries_the_flow_of_all_its_outlets():
    lines = (line("a", (1.0, 0, 0), [(20, 1.5)]), line("b", (1.0, 0, 0), [(20, 1.5)]))
    alone = jet_strengths([row((20, 0, 0), 1.5)], lines[:1], OUTFLOW, PROBLEM)
    both = jet_strengths([row((20, 0, 0), 1.5)], lines, OUTFLOW, PROBLEM)
    assert both / alone == pytest.approx(1.5)


def test_a_throat_off_every_line_counts_nothing():
    lines = (line("a", (1.0, 0, 0), []),)
    assert jet_strengths([row((20, 5, 0), 1.5)], lines, OUTFLOW, PROBLEM) == pytest.approx(0)


def attempt(cells, factor=1.4, **changes):
    return Attempt(cells=cells, factor=factor, seconds=5.0, memory_GiB=1.0, **changes)


def test_what_decides_the_mesh_and_the_notes_follow_the_attempts():
    tried = Refinement()
    assert tried.last is None
    assert tried.notes() == []
    assert tried.goes_on(Adapt())
    assert not tried.goes_on(Adapt(when="never"))
    tried.attempts.append(attempt(1000, throats=(0.5, 1.0)))
    assert tried.last == tried.attempts[0]
    assert (tried.goes_on(Adapt()), tried.goes_on(Adapt(rounds=1))) == (True, False)
    (note,) = tried.notes()
    assert "1000 tetrahedra the branch of steady states ended at 1.400" in note
    assert "finer in 1 throat and behind" in note
    tried.withdrawn = "out of memory"
    assert tried.last is None
    assert not tried.goes_on(Adapt(rounds=2))
    assert "out of memory" in tried.notes()[1]


def test_a_mesh_too_large_for_the_memory_is_told_before_it_is_solved():
    tried = Refinement()
    tried.check_memory(10**9, 0.1)  # the options' own mesh: nothing to compare with
    tried.attempts.append(attempt(1000))
    tried.check_memory(3000, 4.0)
    with pytest.raises(
        ComputationError, match=r"some 3\.5 GiB of memory \(1\.0 GiB on 1000\), and 3\.6 GiB"
    ):
        tried.check_memory(3000, 3.6)


def test_half_a_step_where_a_whole_one_is_too_large():
    tried = Refinement(attempts=[attempt(1000, throats=(0.5, 1.0))])
    tried.attempts.append(attempt(2000, throats=(0.25, 1.0)))
    assert tried.step_back()
    assert tried.attempts[-1].throats == pytest.approx((0.5 * math.sqrt(0.5), 1.0))
    assert not tried.step_back()  # a quarter of a step is not worth a mesh
    first = Refinement(attempts=[attempt(1000, throats=(0.5, 1.0))])
    assert first.step_back()
    assert first.attempts[-1].throats == pytest.approx((math.sqrt(0.5), 1.0))
    for other in (attempt(1000, everywhere=0.7), attempt(1000, sizes="sizes.npz")):
        assert not Refinement(attempts=[other]).step_back()


def test_the_throats_of_the_strongest_jets_are_halved_each_time():
    first = _finer(np.array([10.0, 4.0, 6.0]), None, 0.03)
    assert first == {"throats": (0.5, 1.0, 0.5), "everywhere": 1.0, "jets": 1.0}
    second = _finer(np.array([10.0, 4.0, 3.0]), attempt(1, **first), 0.03)
    assert second["throats"] == (0.25, 1.0, 0.5)
    assert _finer(np.array([]), None, 0.03) == {"everywhere": EVERYWHERE}


def test_where_cells_grow_fast_behind_a_throat_the_third_finer_mesh_slows_them():
    strength, tried, rows = np.array([10.0, 4.0]), None, []
    for _ in range(4):
        rows.append(_finer(strength, tried, 0.06))
        tried = attempt(1, **rows[-1])
    assert [row["throats"][0] for row in rows] == pytest.approx([1 / 2, 1 / 4, 1 / 3, 1 / 6])
    assert [row["jets"] for row in rows] == [1.0, 1.0, 0.5, 0.5]
    assert all(row["throats"][1] == 1.0 for row in rows)
    # a throat whose jet is strong only later is halved meanwhile
    later = _finer(np.array([10.0, 9.0]), attempt(1, **rows[1]), 0.06)
    assert later["throats"] == pytest.approx((1 / 3, 1 / 2))


def test_sizes_are_those_of_the_last_attempt(tmp_path):
    assert sizes_of(tmp_path, Refinement()) is None
    halved = Refinement(attempts=[attempt(9, throats=(0.5,))])
    assert sizes_of(tmp_path, halved) == Finer(1.0, (0.5,))
    field = Background(np.eye(4)[:, :3], np.arange(4)[None], np.full(4, 0.3))
    field.save(tmp_path / "sizes.npz")
    read = sizes_of(tmp_path, Refinement(attempts=[attempt(9, sizes="sizes.npz")]))
    assert isinstance(read, Background)
    assert np.array_equal(read.size, field.size)


# -- the way through the stages ----------------------------------------------------------------


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """Anatomy, mesh and solve as small programs in child processes.

    The mesh is the number of its cells as text; the solver finds a steady state on a mesh whose number is in ``enough``
    (where it may leave it for a finer one; else always), and fails where it is in ``fails``. One whose throat has half
    the size is too large.
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
            text = (tried.last.sizes or "2000") if tried.last else "1000"
            if tried.last and tried.last.throats == (0.5,):
                (run / "error.json").write_text(json.dumps({"kind": "too large", "message": "m"}))
                sys.exit(1)
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
    monkeypatch.setattr(runner, "ANATOMY", ("anatomy/out.txt",))

    def double(folder, adapt, tried):
        cells = int((folder / "mesh" / "mesh.json").read_text())
        (folder / str(2 * cells)).write_text(str(2 * cells))
        return attempt(cells, sizes=str(2 * cells))

    monkeypatch.setattr("pipeline.refine.next_attempt", double)
    original = runner._child
    monkeypatch.setattr(
        runner, "_child", lambda command: original([command[0], str(program), *command[-2:]])
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

    def test_where_the_finer_mesh_is_too_large_half_the_step_is_taken(self, folder, monkeypatch):
        def throats(folder, adapt, tried):
            return attempt(1000, throats=(0.5,))

        monkeypatch.setattr("pipeline.refine.next_attempt", throats)
        ledger = run(case_with(rounds=1), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve", "mesh", "mesh", "solve"]
        assert ledger.refinement.withdrawn is None
        assert ledger.refinement.attempts[-1].throats == pytest.approx((math.sqrt(0.5),))
        run(case_with(rounds=1), folder)
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
            patch.setattr("pipeline.refine.next_attempt", killed)
            with pytest.raises(KeyboardInterrupt):
                run(case_with(when="always", rounds=1), folder)
        assert calls(folder) == ["anatomy", "mesh", "solve"]
        run(case_with(when="always", rounds=1), folder)
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
