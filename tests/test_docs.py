"""The documents say what is so: their listings run, their links and commands exist."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from perennial import cli
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.registry import MODELS, make_recipe
from perennial.replay.metrics.registry import METRICS
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.replay.strategies.registry import SAMPLED, STRATEGIES, make_strategy
from perennial.storage.log.ingest import ingest_period
from perennial.storage.store import Store
from perennial.stream.sources.registry import SOURCES, open_source

ROOT = Path(cli.__file__).resolve().parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTENDING = (ROOT / "docs" / "extending.md").read_text()


def listings(text: str) -> dict[str, str]:
    """The Python listings by the path in their first line."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL)
    return dict(found)


def shell_lines(text: str) -> list[str]:
    """The lines of shell listings (marked `sh` or not at all) that call `perennial`."""
    listed: list[str] = []
    language = None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in ("", "sh"):
            listed.append(line)
    joined = "\n".join(listed).replace("\\\n", " ")
    return [line for line in joined.splitlines() if re.match(r"(uv run .*)?perennial ", line)]


def command_lines() -> list[tuple[str, list[str]]]:
    """Every call of `perennial` in the documents: where, and its arguments."""
    found = []
    for document in DOCUMENTS:
        for line in shell_lines(document.read_text()):
            words = shlex.split(line, comments=True)
            words = words[words.index("perennial") + 1 :]
            if ">" in words:
                words = words[: words.index(">")]
            if words and words[0] != "COMMAND":
                found.append((document.name, words))
    return found


def inline_commands() -> list[tuple[str, list[str]]]:
    """Every command with options that is named within a sentence: where, and its words."""
    found = []
    for document in (*DOCUMENTS, ROOT / "benchmarks" / "RESULTS.md"):
        for text in re.findall(
            r"(?<!`)`(?:uv run )?perennial ([a-z][^`]*--[^`]*)`", document.read_text()
        ):
            found.append((document.name, text.split()))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_links_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            path = document.parent / target.split("#")[0]
            assert path.exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize(("name", "words"), command_lines(), ids=lambda value: " ".join(value)[:40])
def test_commands_in_the_documents_are_understood(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command: click.Command = cli.main
    context = click.Context(command, info_name="perennial")
    # A group that is a command of its own, such as `periods`, may be followed by options.
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context("perennial", list(words), parent=context)


@pytest.mark.parametrize(
    ("name", "words"), inline_commands(), ids=lambda value: " ".join(value)[:60]
)
def test_options_in_sentences_exist(name, words):
    """Such a call may leave out what goes without saying there, so it is not given."""
    command: click.Command = cli.main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words[0]]
        words = words[1:]
    known = {text for one in command.params for text in (*one.opts, *one.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known | {"--help"}


def test_readme_names_the_commands_and_ci_runs_those_of_the_tests():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Three commands")[1].split("##")[0]
    first, *tests = [line.split("#")[0].strip() for line in re.findall(r"(?m)^uv run.*$", section)]
    assert first == "uv run perennial replay"
    assert tests == ["uv run --extra dev pytest", "uv run --extra dev pytest -m campaign"]
    steps = (ROOT / ".ci" / "run").read_text()
    assert "".join(f"step {line}\n" for line in tests) in steps


def test_names_in_the_documents_are_registered():
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    table = protocol.split("## What a model is fitted on")[1].split("##")[0]
    assert set(re.findall(r"(?m)^\| `([a-z][a-z-]*)` \|", table)) == set(STRATEGIES)


class TestExtending:
    """What docs/extending.md adds works in a real replay."""

    @pytest.fixture(autouse=True)
    def extended(self, tmp_path, monkeypatch):
        """Put the listings where they say they belong, and their lines into the registries."""
        files = listings(EXTENDING)
        assert len(files) == 5
        for path, text in files.items():
            package, name = path.removesuffix(".py").rsplit("/", 1)
            assert not (ROOT / path).exists()
            folder = tmp_path / package
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.py").write_text(text)
            module = importlib.import_module(f"perennial.{package}".replace("/", "."))
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
            monkeypatch.delitem(sys.modules, f"{module.__name__}.{name}", raising=False)
        lines = re.findall(r"`\"([\w-]+)\": \"(perennial\.(\w+)\.[\w.]+:\w+)\"`", EXTENDING)
        assert len(lines) == 5
        registries = {"models": MODELS, "stream": SOURCES, "memory": SAMPLERS}
        for name, target, package in lines:
            registry = METRICS if ".metrics." in target else STRATEGIES
            monkeypatch.setitem(registries.get(package, registry), name, target)
            if package == "memory":
                monkeypatch.setitem(STRATEGIES, name, SAMPLED)
        yield
        for path in files:
            sys.modules.pop(f"perennial.{path}".removesuffix(".py").replace("/", "."), None)

    def test_the_additions_replay_together(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        chosen = ["--model", "popularity", "--strategy", "recent,light-user", "--periods", "5"]
        setting = ["--set", "popularity.smoothing=1", "--json", "--cache", str(tmp_path / "cache")]
        result = CliRunner().invoke(cli.main, ["replay", "roundabout", *chosen, *setting])
        assert result.exit_code == 0, result.stderr
        printed = json.loads(result.stdout)
        assert printed["config"]["models"] == [
            {"name": "popularity", "settings": {"smoothing": 1.0}}
        ]
        assert {one["strategy"] for one in printed["results"]} == {"recent", "light-user"}
        found = [one for one in printed["results"] if one["strategy"] == "recent"]
        reciprocal = [one for one in found if one["metric"] == "MRR"]
        assert [one["eval_period"] for one in reciprocal] == [2, 3, 4, 5]
        assert all(0 <= one["value"] <= 100 for one in reciprocal)
        assert any(one["value"] > 0 for one in reciprocal)

    def test_the_model_is_kept_and_restored(self, tmp_path):
        log = open_source("roundabout", cache=tmp_path)
        asked = (make_strategy("recent"), make_recipe("popularity"), 0)
        with Store.open(tmp_path / "s.duckdb") as store:
            ingest_period(store, log.paths[0], log.settings)
            fitted = newest_model(store, *asked)
            said: list[str] = []
            kept = newest_model(store, *asked, progress=said.append)
            assert said == []
            assert kept is not fitted
            first, second = (
                Recommender.from_model(store, model, "recent", "popularity", Catalogue.load(store))
                for model in (fitted, kept)
            )
            query = RecommendationQuery(items=(3,), k=4)
            assert first.recommend(query) == second.recommend(query)
