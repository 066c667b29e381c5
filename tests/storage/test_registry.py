"""Registries: built-in names, entry points, and targets in place of names."""

import sys
from importlib.metadata import EntryPoint

import pytest

from perennial.models.pop import Pop
from perennial.storage.errors import UserError
from perennial.storage.registry import Registry, external_source

PLUGIN = "class Own:\n    name = 'own'\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A module of a user's own on the path."""
    (tmp_path / "own_models.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "own_models.py"
    sys.modules.pop("own_models", None)


@pytest.fixture
def registry(monkeypatch):
    installed = [EntryPoint("own", "own_models:Own", "perennial.models")]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: installed if group == "perennial.models" else [],
    )
    return Registry("model", {"pop": "perennial.models.pop:Pop"}, group="perennial.models")


def test_built_in_names_come_before_those_of_entry_points(registry):
    assert list(registry) == ["pop", "own"]
    assert len(registry) == 2
    assert registry.load("pop") is Pop


def test_an_entry_point_and_a_target_load_the_same_class(registry, plugin):
    assert registry.load("own") is registry.load("own_models:Own")
    assert registry.load("own").name == "own"


@pytest.mark.parametrize("name", ["nope", "no/path:Name", ":x", "C:\\log.csv"])
def test_what_is_no_name_and_no_target_is_refused(registry, name):
    with pytest.raises(UserError, match=r"^unknown model '.*'; choose from own, pop$"):
        registry.load(name)


@pytest.mark.parametrize("target", ["own_models:Missing", "no_such_module:Own"])
def test_a_target_that_cannot_be_imported_is_one_line(registry, plugin, target):
    with pytest.raises(UserError, match=f"^model '{target}' cannot be imported: .+$"):
        registry.load(target)


def test_keys_cover_the_sources_of_other_packages_alone(registry, plugin):
    assert external_source(Pop()) == {}
    before = external_source(registry.load("own")())
    assert before["source"] == "own_models:Own"
    plugin.write_text(PLUGIN + "# changed\n")
    assert external_source(registry.load("own")())["source_hash"] != before["source_hash"]
