"""Rules of the whole project: pins, the direction of imports, no TensorFlow."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("storage", "stream", "models", "memory", "replay", "cli")


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def requirements() -> str:
    return (ROOT / "requirements.txt").read_text()


def _modules() -> Iterator[tuple[str, Path]]:
    for layer in LAYERS[:-1]:
        for path in sorted((ROOT / layer).rglob("*.py")):
            yield layer, path
    yield "cli", ROOT / "cli.py"


def _imported_layers(path: Path) -> Iterator[tuple[str, int]]:
    """The layers that a module imports from, anywhere in it, with line numbers."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [node.module or ""]
        for name in names:
            package, _, rest = name.partition(".")
            assert package not in LAYERS, f"{path}:{node.lineno} imports {name} past `perennial`"
            layer = rest.split(".")[0]
            if package == "perennial" and layer in LAYERS:
                yield layer, node.lineno


def test_imports_run_one_way():
    upward = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for layer, path in _modules()
        for imported, line in _imported_layers(path)
        if LAYERS.index(imported) > LAYERS.index(layer)
    ]
    assert upward == []


def test_each_layer_is_walked():
    assert {layer for layer, _ in _modules()} == set(LAYERS)


def test_requirements_pin_what_uv_resolves_to(pyproject, requirements):
    lines = requirements.splitlines()
    pins = [line.removesuffix("\\").strip() for line in lines if re.match(r"[a-zA-Z0-9]", line)]
    assert pins == pyproject["tool"]["uv"]["constraint-dependencies"]
    assert all(re.match(r"[a-z0-9-]+==\S+( ; .+)?$", pin) for pin in pins)


def test_requirements_carry_hashes(requirements):
    for block in re.split(r"\n(?=[a-z0-9])", requirements.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml", ".ci/run", ".ci/pin"])
def test_no_package_index_is_named(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"[a-z]+://|^\s*(--?(extra-)?index|-i |-f |--find-links)", text, re.M)


def test_every_dependency_is_pinned(pyproject, requirements):
    project = pyproject["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=~! ;]", line)[0].lower() for line in wanted}
    pinned = set(re.findall(r"^([a-z0-9-]+)==", requirements, re.M))
    assert names <= pinned


def test_uv_environment_has_no_tensorflow():
    config = Path(sys.prefix) / "pyvenv.cfg"
    if not config.is_file() or not re.search(r"^uv = ", config.read_text(), re.M):
        pytest.skip("this environment was not made by uv; pip's has TensorFlow, which nothing uses")
    assert importlib.util.find_spec("neural_tangents") is not None
    assert importlib.util.find_spec("tensorflow") is None
    assert importlib.util.find_spec("tf2jax") is None


def test_kernels_import_no_tensorflow():
    program = (
        "import sys; from perennial.models.infinite_ae.stax_kernel import load_stax; load_stax();"
        "bad = {'tensorflow', 'tf2jax'} & {name.split('.')[0] for name in sys.modules};"
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run(  # noqa: S603  # our own interpreter and text
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_uv_lock_is_not_kept():
    assert "uv.lock" in (ROOT / ".gitignore").read_text().splitlines()
