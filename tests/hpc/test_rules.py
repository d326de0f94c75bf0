"""What the workflow asks an engine for, by its dry run: a GPU for CTs where one is given, memory, the data set last."""

import json
import subprocess

import pytest

from meshing.errors import InputError
from pipeline.cohort.workflow import WORKFLOW, Engine, engine_command

pytestmark = pytest.mark.slow


@pytest.fixture
def asked(engine, tmp_path):
    """The jobs of a cohort of one CT and one tree, as the engine would start them."""
    profile = tmp_path / "profile"
    profile.mkdir()
    text = (WORKFLOW / "profiles" / "local" / "config.yaml").read_text()
    (profile / "config.yaml").write_text(text.replace("quiet: [rules, progress]", ""))

    def of(*settings, licence="", meshed=False):
        for name in ("scan", "tree"):
            _write(tmp_path / "cases" / f"{name}.yaml", "name: c\n")
        for name in ("scan", "tree") if meshed else ():
            _write(tmp_path / "segments" / f"{name}.json", "{}")
            _write(tmp_path / "meshes" / f"{name}.json", '{"cells": 410000, "ranks": null}')
        plan = {"cases": ["scan", "tree"], "images": ["scan"], "labels": licence}
        (tmp_path / "plan.json").write_text(json.dumps({**plan, "step": ["python", "a b.py"]}))
        command = engine_command(Engine(str(profile), 4, settings, licence))
        command += ["-n", "--printshellcmds", *([] if meshed else ["--until", "mesh"])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return of


def _write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _job(told, rule):
    """The lines of a rule's job."""
    return told.split(f"rule {rule}:")[1].split("\n\n")[0]


def test_only_a_ct_is_segmented_and_on_a_gpu_if_it_is_given_one(asked):
    told = asked("segment:gpu=1", "slurm_partition=cpu", "segment:slurm_partition=fast")
    assert told.count("rule segment:") == 1
    assert told.count("rule mesh:") == 2
    assert "gpu=1" in _job(told, "segment")
    assert "slurm_partition=fast" in _job(told, "segment")
    assert "gpu=1" not in _job(told, "mesh")
    assert "slurm_partition=cpu" in _job(told, "mesh")
    assert "mem_mb=6000" in _job(told, "segment")


def test_a_large_mesh_gets_ranks_and_memory(asked):
    told = _job(asked(meshed=True), "solve")
    assert "threads: 2" in told
    assert int(told.split("mem_mb=")[1].split(",")[0]) > 9_000


def test_the_data_set_comes_last(asked):
    assert "rule labels:" not in asked(meshed=True)
    told = asked(licence="CC-BY-4.0", meshed=True)
    assert "outcomes/scan.json, outcomes/tree.json" in _job(told, "labels")
    assert "labels CC-BY-4.0" in told


def test_no_word_of_a_user_reaches_a_shell_unquoted(asked):
    told = asked(licence="x; rm -rf /", meshed=True)
    assert "labels 'x; rm -rf /'" in told
    assert "python 'a b.py'" in told
    for setting in ("slurm_partition=$(reboot)", "a=b c", "a='b'", "=b", "a", "r:a=`b`"):
        with pytest.raises(InputError, match="name=value"):
            engine_command(Engine("local", 2, (setting,)))


def test_this_machine_s_memory_is_a_limit_on_this_machine_only(engine):
    assert any(word.startswith("mem_mb=") for word in engine_command(Engine("local")))
    assert not any(word.startswith("mem_mb=") for word in engine_command(Engine("slurm")))
