"""What no part of the program does: run strings, load code from data, open files to others, reach for the network."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for folder in ("pipeline", "solver", "meshing", "hpc/workflow")
    for path in (ROOT / folder).rglob("*.py")
)
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}  # load code
MODULES |= {"socket", "socketserver", "http", "urllib", "requests", "httpx", "ftplib", "aiohttp"}
CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "os.chmod", "os.umask", "yaml.load"}
CALLS |= {"subprocess.getoutput", "yaml.unsafe_load", "yaml.full_load"}


def _name(node):
    """``a.b`` of a call of it."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _faults(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0]]
        else:
            names = []
        yield from (f"imports {name}" for name in names if name in MODULES)
        if isinstance(node, ast.Call):
            yield from _call(node)


def _call(node):
    name = _name(node.func)
    words = {word.arg: word.value for word in node.keywords}
    if name in CALLS:
        yield f"calls {name}"
    for word in ("shell", "allow_pickle"):
        if word in words and not (
            isinstance(words[word], ast.Constant) and words[word].value is False
        ):
            yield f"{name} with {word}"
    safe = words.get("weights_only")
    if name.endswith("torch.load") and not (isinstance(safe, ast.Constant) and safe.value is True):
        yield "torch.load of more than weights"


def test_there_are_files():
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_does_not(path):
    assert list(_faults(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from urllib.request import urlopen",
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=y)",
        "np.load(x, allow_pickle=True)",
        "torch.load(x)",
        "yaml.load(x)",
        "os.chmod(x, 0o777)",
    ],
)
def test_the_check_can_fail(tmp_path, line):
    path = tmp_path / "a.py"
    path.write_text(line)
    assert list(_faults(path))
