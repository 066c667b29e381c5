"""Documents against the program: links, commands, options, defaults, names and listings."""

import importlib
import json
import pkgutil
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from perennial import cli
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.registry import MODELS, make_recipe
from perennial.replay.metrics.registry import METRICS
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.replay.strategies.registry import SAMPLED, STRATEGIES, make_strategy
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.store import Store
from perennial.stream.sources.registry import SOURCES, open_source

ROOT = Path(cli.__file__).resolve().parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "RESULTS.md",
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "compose.yaml")),
]
EXTENDING = (ROOT / "docs" / "extending.md").read_text()
GROUPS = {one.group for one in (MODELS, STRATEGIES, SAMPLERS, SOURCES, METRICS)}


def anchors(document: Path) -> set[str]:
    """Anchors of the headings, as GitHub derives them."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text())
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def links(document: Path) -> Iterator[str]:
    """Links that lead to no file or heading."""
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            if not target.exists() or (anchor and anchor not in anchors(target)):
                yield link


def shell_lines(text: str) -> list[str]:
    """Lines of shell listings that call `perennial`, and calls by units and containers."""
    blocks = re.findall(r"(?m)^```(?:sh|console)?\n((?:.*\n)*?)```$", text)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    prefixes = r"^(\$ )?(kubectl .*? -- |docker compose exec \S+ |ray .*? -- |uv run )?"
    called = [re.sub(prefixes, "", line).strip() for line in lines]
    called += re.findall(r"(?m)^ExecStart=\S*/(perennial .*)$", text)
    for arguments in re.findall(r"(?m)^(?:CMD| +command:| +args:) \[(.*)\]$", text):
        called.append("perennial " + re.sub('[",]', "", arguments))
    return [line for line in called if re.match(r"(--extra \S+ )?perennial [a-z]", line)]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """Find the command that the first words name, and the words after it."""
    command: click.Command = cli.main
    # A group that is a command of its own, such as `periods`, may be followed by options.
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def commands(document: Path) -> Iterator[str]:
    """Commands in listings that the command line does not accept, when their files exist."""
    text = re.sub("/data/|/var/lib/perennial/", "", document.read_text())
    for line in shell_lines(text):
        words = shlex.split(line, comments=True)
        words = words[words.index("perennial") + 1 :]
        words = words[: words.index(">")] if ">" in words else words
        for path in (Path(word) for word in words if "://" not in word):
            if path.suffix in (".duckdb", ".csv", ".gz", ".parquet", ".dat"):
                path.parent.mkdir(exist_ok=True)
                path.touch()
        try:
            command, rest = find_command(words)
            command.make_context("perennial", rest, parent=click.Context(cli.main))
        except (click.ClickException, UserError, KeyError) as error:
            yield f"{line}: {error!r}"


def option_names(command: click.Command) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def calls(document: Path) -> Iterator[str]:
    """Commands and options in sentences that do not exist; a call may leave out required ones."""
    pattern = r"(?<!`)`(?:uv run )?perennial ([a-z][^`]*)`"
    for text in re.findall(pattern, document.read_text()):
        try:
            command, rest = find_command(text.split())
        except KeyError:
            yield text
            continue
        named = {word.split("=")[0] for word in rest if word.startswith("-")}
        yield from sorted(f"{text}: {one}" for one in named - option_names(command) - {"--help"})


def names(document: Path) -> Iterator[str]:
    text = re.sub(r"(?s)```.*?```", "", document.read_text())
    packages = r"storage|stream|models|memory|replay|tests|benchmarks|docs"
    for path in re.findall(rf"`((?:{packages})/[\w./-]*)`", text):
        if not (ROOT / path).exists():
            yield path
    for name in re.findall(r"`(?:python -m )?((?:perennial|benchmarks)\.[\w.]+)[` ]", text):
        try:
            name in GROUPS or pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            yield f"{name}: {error}"


@pytest.mark.parametrize("problems", [links, commands, calls, names])
@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_what_a_document_names_exists(problems, document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(problems(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_yaml_parses(document):
    text = document.read_text()
    blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)
    for block in [text] if document.suffix == ".yaml" else blocks:
        assert all(isinstance(one, dict) for one in yaml.safe_load_all(block))


def option_tables() -> Iterator[tuple[click.Command, str]]:
    """Tables of options, with the command that each describes."""
    for document, words in (("service.md", ["serve"]), ("machines.md", ["study", "continual"])):
        yield find_command(words)[0], (ROOT / "docs" / document).read_text()
    for section in re.split(r"(?m)^## ", (ROOT / "docs" / "commands.md").read_text())[1:]:
        yield find_command(section.split("\n")[0].split()[1:])[0], section


def test_options_and_defaults_in_tables_are_those_of_the_commands():
    checked = 0
    for command, text in option_tables():
        for cell, meaning in re.findall(r"(?m)^\| (`-.*?) \| (.*) \|$", text):
            named = re.findall(r"`(-[\w-]+)`", cell)
            assert set(named) <= option_names(command), command.name
            (option,) = [one for one in command.params if named[0] in one.opts]
            _, shown = option.get_help_record(
                click.Context(command, **cli.main.context_settings)
            ) or ("", "")
            default = "".join(re.findall(r"default: (.*?)[;\]]", shown))
            said = meaning.partition("Default: ")[2].replace("1,000", "1000")
            first = re.split(r"; |\. ", re.sub(r" ([KM]iB)", r"\1", said))[0]
            for pair in re.findall(r"`([^`]+)`|\b(\d[\w.]*)", first):
                value = "".join(pair)
                found = re.search(rf"(?<![\w.]){re.escape(value)}(\.0)?(?![\w.])", default)
                assert found, f"{command.name} {cell}: {value} is not in '{default}'"
                checked += 1
    assert checked > 60


def test_tables_of_names_are_those_of_the_registries():
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    table = protocol.split("## What a model is fitted on")[1].split("##")[0]
    assert set(re.findall(r"(?m)^\| `([a-z][a-z-]*)` \|", table)) == set(STRATEGIES)
    table = (ROOT / "docs" / "commands.md").read_text().split("| `--model` | is |")[1]
    assert re.findall(r"(?m)^\| `([a-z-]+)` \|", table.split("\n\n")[0]) == list(MODELS)


def test_ci_runs_the_test_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Three commands")[1].split("##")[0]
    first, *tests = [line.split("#")[0].strip() for line in re.findall(r"(?m)^uv run.*$", section)]
    assert first == "uv run perennial replay"
    assert tests == ["uv run --extra dev pytest", "uv run --extra dev pytest -m campaign"]
    steps = (ROOT / ".ci" / "run").read_text()
    assert "".join(f"step {line}\n" for line in tests) in steps


class TestExtending:
    """The additions of docs/extending.md in a real replay."""

    def test_entry_point_groups_are_those_of_the_registries(self):
        (text,) = re.findall(r"```toml\n(.*?)```", EXTENDING, re.DOTALL)
        assert set(tomllib.loads(text)["project"]["entry-points"]) <= GROUPS
        assert all(f"`{group}`" in EXTENDING for group in GROUPS)

    @pytest.fixture
    def extended(self, tmp_path, monkeypatch):
        """Put the listings where they belong, and their lines into the registries."""
        files = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", EXTENDING, re.DOTALL))
        lines = re.findall(r"`\"([\w-]+)\": \"(perennial\.(\w+)\.[\w.]+:\w+)\"`", EXTENDING)
        assert len(files) == len(lines) == 5
        for path, text in files.items():
            package, name = path.removesuffix(".py").rsplit("/", 1)
            assert not (ROOT / path).exists()
            folder = tmp_path / package
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.py").write_text(text)
            module = importlib.import_module(f"perennial.{package}".replace("/", "."))
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
        registries = {"models": MODELS, "stream": SOURCES, "memory": SAMPLERS}
        for name, target, package in lines:
            registry = METRICS if ".metrics." in target else STRATEGIES
            monkeypatch.setitem(registries.get(package, registry), name, target)
            if package == "memory":
                monkeypatch.setitem(STRATEGIES, name, SAMPLED)
        yield
        for path in files:
            sys.modules.pop(f"perennial.{path}".removesuffix(".py").replace("/", "."), None)

    def test_the_additions_replay_together(self, extended, tmp_path, monkeypatch):
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
        values = {
            one["eval_period"]: one["value"]
            for one in printed["results"]
            if (one["strategy"], one["metric"]) == ("recent", "MRR")
        }
        assert list(values) == [2, 3, 4, 5]
        assert all(0 <= value <= 100 for value in values.values())
        assert any(values.values())

    def test_the_model_is_stored_and_restored(self, extended, tmp_path):
        log = open_source("roundabout", cache=tmp_path)
        chain = (make_strategy("recent"), make_recipe("popularity"), 0)
        with Store.open(tmp_path / "s.duckdb") as store:
            ingest_period(store, log.paths[0], log.settings)
            fitted = newest_model(store, *chain)
            messages: list[str] = []
            restored = newest_model(store, *chain, progress=messages.append)
            assert messages == []
            assert restored is not fitted
            catalogue = Catalogue.load(store)
            first, second = (
                Recommender.from_model(store, model, "recent", "popularity", catalogue)
                for model in (fitted, restored)
            )
            query = RecommendationQuery(items=(3,), k=4)
            assert first.recommend(query) == second.recommend(query)
