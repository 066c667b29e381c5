"""Rules of the whole project: pins, the direction of imports, no TensorFlow."""

import importlib.util
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def requirements() -> str:
    return (ROOT / "requirements.txt").read_text()


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


def test_uv_lock_is_not_kept():
    assert "uv.lock" in (ROOT / ".gitignore").read_text().splitlines()
