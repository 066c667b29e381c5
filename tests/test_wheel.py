"""Contents of the wheel, and its installed command far from the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from command_line import write_log

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = (
    *("--store", "log.duckdb", "--periods", "3"),
    *("--model", "infinite-ae", "--strategy", "individual"),
)
MODULES_OF_THE_USER = (
    *("cli.py", "models.py", "replay.py", "stream.py"),
    *("memory/__init__.py", "storage/__init__.py"),
)
PACKAGES = ("storage", "stream", "models", "memory", "replay")
NO_INDEX = re.compile(
    r"dns error|error sending request|failed to connect|connection refused|network is unreachable"
    r"|network (connectivity is|was) disabled|tunnel error|timed out|temporary failure in name",
    re.IGNORECASE,
)

pytestmark = pytest.mark.campaign


def _uv(*arguments: str | Path) -> None:
    """Run uv; skip where no package index can be reached, fail on anything else."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed, so no wheel can be built and installed here")
    done = subprocess.run(  # noqa: S603  # fixed arguments
        [uv, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip("no package index can be reached, so the wheel cannot be built and installed")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _uv("build", "--quiet", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("perennial-*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory) -> Path:
    """Console command of an environment with the wheel and its pins, without TensorFlow."""
    folder = tmp_path_factory.mktemp("installed")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    overrides, constraints = folder / "overrides.txt", folder / "constraints.txt"
    overrides.write_text("\n".join(settings["override-dependencies"]))
    constraints.write_text("\n".join(settings["constraint-dependencies"]))
    environment = folder / "env"
    _uv("venv", "--quiet", "--python", sys.executable, environment)
    _uv(
        *("pip", "install", "--quiet", "--python", environment, f"{wheel}[ray]"),
        *("--overrides", overrides, "--constraints", constraints),
    )
    return environment / ("Scripts" if os.name == "nt" else "bin") / "perennial"


def _run(command, folder, *arguments, path=None):
    """Run the installed command in a folder, with another one on PYTHONPATH."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if path is not None:
        clean["PYTHONPATH"] = str(path)
    done = subprocess.run(  # noqa: S603  # fixed arguments
        [command, *arguments], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_wheel_holds_the_packages_and_cli_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    held = {name for name in names if ".dist-info/" not in name}
    expected = {f"perennial/{name}" for name in ("__init__.py", "cli.py", "py.typed")} | {
        f"perennial/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == expected
    for name in ("entry_points.txt", "licenses/LICENSE"):
        assert any(one.endswith(f"dist-info/{name}") for one in names)


def test_installed_command_tells_its_version(command, tmp_path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert _run(command, tmp_path, "--version").stdout.strip() == f"perennial {version}"


def test_installed_command_replays_a_log(command, tmp_path):
    write_log(tmp_path / "log.csv")
    replayed = _run(command, tmp_path, "replay", "log.csv", *SETTINGS, "--json")
    results = json.loads(replayed.stdout)["results"]
    assert {(row["fit_period"], row["eval_period"]) for row in results} == {(1, 2), (2, 3)}
    listed = _run(command, tmp_path, "periods", "--store", "log.duckdb", "--json")
    assert sum(period["interactions"] for period in json.loads(listed.stdout)["periods"]) == 1200
    _run(command, tmp_path, "report", "--store", "log.duckdb", "-o", "report")
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    "workers",
    [(), ("--workers", "2"), ("--engine", "ray", "--workers", "2")],
    ids=["one process", "workers", "Ray"],
)
def test_modules_of_the_user_are_not_executed(command, tmp_path, workers):
    """Modules named as our packages, in the current folder and on PYTHONPATH, stay theirs."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        for name in MODULES_OF_THE_USER:
            module = folder / name
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\n")
    write_log(here / "log.csv")
    settings = (*SETTINGS, "--seed", "0,1", *workers)
    replayed = _run(command, here, "replay", "log.csv", *settings, "--json", path=elsewhere)
    assert {row["seed"] for row in json.loads(replayed.stdout)["results"]} == {0, 1}
    _run(command, here, "periods", "--store", "log.duckdb", path=elsewhere)
    assert not (tmp_path / "executed").exists()
    # They are found by a program that imports them.
    python = command.with_name("python")
    for folder, path in ((here, None), (tmp_path, elsewhere)):
        _run(python, folder, "-c", "import models, memory", path=path)
        assert (tmp_path / "executed").read_text() == "models.pymemory/__init__.py"
        (tmp_path / "executed").unlink()
