"""Pins of the project and their audit, which distinguishes findings from a silent service."""

import importlib.util
import json
import re
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from itertools import chain
from pathlib import Path
from types import ModuleType

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


@pytest.mark.parametrize(
    "name", ["requirements.txt", "pyproject.toml", ".ci/run", ".ci/pin", "Dockerfile"]
)
def test_no_package_index_is_named(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"[a-z]+://|^\s*(--?(extra-)?index|-i |-f |--find-links)", text, re.M)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("CITATION.cff", r"(?m)^version: (\S+)$"), ("CHANGELOG.md", r"(?m)^## (\S+) \(")],
)
def test_newest_version_is_named(pyproject, name, pattern):
    assert re.findall(pattern, (ROOT / name).read_text())[0] == pyproject["project"]["version"]


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


HASH = "--hash=sha256:" + "0" * 64


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    loader = SourceFileLoader("ci_audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def report(**vulns: list[str]) -> str:
    """Output of pip-audit: weaknesses by package."""
    found = [
        {
            "name": name,
            "version": "1.0",
            "vulns": [{"id": one, "fix_versions": ["1.1"], "aliases": []} for one in weaknesses],
        }
        for name, weaknesses in vulns.items()
    ]
    return json.dumps({"dependencies": found, "fixes": []})


class TestPins:
    def test_our_own_are_sound(self, audit):
        assert audit.check_pins((ROOT / "requirements.txt").read_text()) == []

    @pytest.mark.parametrize(
        "line",
        [
            *("a-b==1.0", "a-b==1.0 --hash=md5:0", "a-b==1.0 --hash=sha256:0", "-e ."),
            *("a-b>=1.0 " + HASH, "a-b @ git+ssh://host/a.git " + HASH, "./folder " + HASH),
            "--extra-index-url somewhere",
        ],
    )
    def test_what_is_no_pin_with_a_hash_is_told(self, audit, line):
        good = f"c==2.0 ; python_full_version < '3.12' \\\n    {HASH} \\\n    {HASH}\n    # via d\n"
        assert audit.check_pins(good) == []
        (told,) = audit.check_pins(f"{good}{line}\n{good}")
        assert told.startswith(line.split(" --hash")[0])


CONNECTION = "Traceback\nrequests.exceptions.ConnectionError: failed to resolve"
UNKNOWN = json.dumps({"dependencies": [{"name": "a", "skip_reason": "unknown"}]})
USAGE = "usage: pip-audit\nerror: unknown option"


@pytest.mark.parametrize(
    ("code", "output", "errors", "lines", "fails"),
    [
        (0, report(a=[], b=[]), "", ["2 pins audited, 0 known weaknesses"], False),
        (1, report(a=[], b=["CVE-1"]), "Found 1", ["b 1.0: CVE-1, mended in 1.1", "2 pins"], True),
        (0, UNKNOWN, "", ["a: not audited, unknown", "0 pins audited, 0 known weakn"], False),
        (1, "", CONNECTION, ["SKIPPED, known weaknesses were not looked for"], False),
        *((2, text, USAGE, ["pip-audit failed: error: unkn"], True) for text in ("", "[]", "{}")),
    ],
)
def test_verdicts_of_an_audit(audit, code, output, errors, lines, fails):
    found, failed = audit.judge(code, output, errors)
    assert failed is fails
    assert all(line.startswith(one) for line, one in zip(found, lines, strict=True)), found


def test_ci_runs_it_last():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "step .ci/audit"
