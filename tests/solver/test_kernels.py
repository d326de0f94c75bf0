"""Kernels left half compiled by a killed process do not stop the next one."""

import os
import subprocess
import sys
import time

import pytest

CLAIM = "import sys; from pathlib import Path; from solver import kernels; kernels.claim(Path(sys.argv[1])); "


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "done.c").write_text("")
    (tmp_path / "done.c.cached").write_text("")
    (tmp_path / "killed.c").write_text("")
    return tmp_path


def claim(folder):
    subprocess.run([sys.executable, "-c", CLAIM, folder], check=True)


@pytest.fixture
def other(folder):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", CLAIM + "print('held', flush=True); input()", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_alone_all_unfinished_are_removed(folder):
    claim(folder)
    assert sorted(p.name for p in folder.glob("*.c")) == ["done.c"]


def test_beside_another_only_old_ones(folder, other):
    (folder / "compiling.c").write_text("")  # by the other
    (folder / "old.c").write_text("")
    os.utime(folder / "old.c", times=(time.time() - 3600,) * 2)
    claim(folder)
    assert sorted(p.name for p in folder.glob("*.c")) == ["compiling.c", "done.c"]
    other.kill()  # its lock goes with it
    other.wait()
    claim(folder)
    assert sorted(p.name for p in folder.glob("*.c")) == ["done.c"]


def test_a_folder_that_cannot_be_made_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("")
    claim(tmp_path / "file" / "kernels")


def _solver(place, folder):
    """Start the solver with kernels there."""
    environment = {**os.environ, "FFR3D_KERNELS": str(place)}
    command = [sys.executable, "-m", "solver", str(folder / "problem.json")]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_folder_of_the_node_is_made_for_this_user_only(tmp_path):
    done = _solver(tmp_path / "node" / "kernels", tmp_path)
    assert "problem.json" in done.stderr  # which is not there; kernels were found a place
    assert (tmp_path / "node" / "kernels").stat().st_mode & 0o777 == 0o700


def test_code_is_not_loaded_from_where_others_write(tmp_path):
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    done = _solver(place, tmp_path)
    assert done.returncode == 2
    assert "others can write" in done.stderr
    assert "Traceback" not in done.stderr
