"""The rules of the tree: layers, sizes of rooms and files, names, first lines of docstrings."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("storage", "stream", "models", "memory", "replay")

LAYERS = (
    *("storage", "stream", "models", "memory"),
    *("replay.metrics", "replay.events", "replay.machine", "replay.strategies", "replay.keys"),
    *("replay.config", "replay.evaluate", "replay.chain", "replay.plan", "replay.cells"),
    *("replay.loop", "replay.logs", "replay.summaries", "replay.whole_log", "replay.privacy_audit"),
    *("replay.analysis", "replay.study", "replay.report", "replay.live", "replay.recommend"),
    *("replay.python", "replay.service", "replay.cli", "cli"),
)
"""Lowest first: a module imports from its own layer and from lower ones."""

PLUGINS = (
    *("memory/samplers", "replay/metrics", "replay/strategies", "stream/sources", "models"),
    "replay/study/paper/studies",
)
"""Folders where a file may be short, since one file is one sampler, metric, strategy, …"""

MOST_FILES, FEWEST_LINES, MOST_LINES = 15, 60, 350

OLD_WORDS = re.compile(
    r"(^|_)(asked|beside|crew|ears|errand|heed|judge|judged|lesson|luck|tell|telling|told|whom)(_|$)"
)
"""Words for which the glossary of docs/architecture.md has others."""


@cache
def sources() -> dict[str, str]:
    """Path, relative to the root -> text of each product file."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in [*paths, ROOT / "cli.py"]
    }


@cache
def trees() -> dict[str, ast.Module]:
    return {path: ast.parse(text) for path, text in sources().items()}


def layer_of(module: str) -> int | None:
    """The place in `LAYERS` of a module, given without `perennial.`."""
    names = module.split(".")
    for layer in (".".join(names[:2]), names[0]):
        if layer in LAYERS:
            return LAYERS.index(layer)
    return None


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            assert package not in (*PACKAGES, "cli"), f"line {node.lineno}: {name} past `perennial`"
            if package == "perennial" and rest.split(".")[0] in (*PACKAGES, "cli"):
                yield rest, node.lineno


def test_every_module_has_a_layer():
    without = [
        path
        for path in sources()
        if not path.endswith("__init__.py") and layer_of(path[:-3].replace("/", ".")) is None
    ]
    assert without == []


def test_imports_run_one_way():
    upward = []
    for path, tree in trees().items():
        own = layer_of(path[:-3].replace("/", "."))
        for module, line in imports(tree):
            other = layer_of(module)
            if own is not None and other is not None and other > own:
                upward.append(f"{path}:{line} imports perennial.{module}")
    assert upward == []


def test_no_class_name_stands_twice():
    places = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_folder_holds_too_many_files():
    folders = Counter(Path(path).parent for path in sources() if not path.endswith("__init__.py"))
    assert {str(folder): n for folder, n in folders.items() if n > MOST_FILES} == {}


def test_files_are_neither_splinters_nor_walls():
    short, long = [], []
    for path, text in sources().items():
        lines, folder, name = text.count("\n"), str(Path(path).parent.as_posix()), Path(path).name
        is_free = name in ("__init__.py", "registry.py", "cli.py") or folder in PLUGINS
        if lines < FEWEST_LINES and not is_free:
            short.append(f"{path}: {lines}")
        if lines > MOST_LINES:
            long.append(f"{path}: {lines}")
    assert short == []
    assert long == []


def test_no_file_is_called_by_a_participle():
    names = {Path(path).stem for path in sources()}
    assert [
        name for name in names if re.search(r"(^|_)(\w*ed|taught|found|held|told)$", name)
    ] == []


def definitions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names of classes, functions and parameters that a module defines, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno


def test_names_are_words_of_the_glossary():
    old = [
        f"{path}:{line} {name}"
        for path, tree in trees().items()
        for name, line in definitions(tree)
        if OLD_WORDS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    ]
    assert old == []


HEADLESS = re.compile(r"(Of|What|How|Where|Who|Whom|Whose|Whether|When|The same|As|To be)\b")


def documented(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, text, getattr(node, "lineno", 1)


def test_docstrings_begin_with_a_noun_phrase_or_an_imperative():
    headless = [
        f"{path}:{line} {text.splitlines()[0]}"
        for path, tree in trees().items()
        for _, text, line in documented(tree)
        if HEADLESS.match(text)
    ]
    assert headless == []


ARRAY = re.compile(r"\b(NDArray|csr_array|Array|Floats|Ints)\b")
SHAPE = re.compile(r"\w+\[(\w+), '[^']*'\]")
NAMED = re.compile(r"(Mapping|dict)\[str, NDArray\[[^]]*\]+")
SHAPED = re.compile(r"`?\([^()]*(,|\bn\b|num_|b|d|m)[^()]*\)`?|scalar|shape|\bCSR\b")


@cache
def protocol_methods() -> frozenset[str]:
    """Names of the methods of our protocols; an implementation need not repeat their shapes."""
    classes = [
        node for tree in trees().values() for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    return frozenset(
        method.name
        for node in classes
        if any(ast.unparse(base).startswith("Protocol") for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
    )


def public_array_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Public functions that take or return arrays, not mappings of them, without shapes."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        if isinstance(node, ast.ClassDef) and node.name.startswith("_"):
            continue
        for function in inside:
            if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
                continue
            if isinstance(node, ast.ClassDef) and function.name in protocol_methods():
                continue
            arguments = [*function.args.args, *function.args.kwonlyargs]
            annotations = [one.annotation for one in arguments if one.annotation is not None]
            texts = [ast.unparse(one) for one in [*annotations, function.returns] if one]
            if any(ARRAY.search(NAMED.sub("", SHAPE.sub("", text))) for text in texts):
                yield function


def test_array_functions_give_shapes():
    without = [
        f"{path}:{function.lineno} {function.name}"
        for path, tree in trees().items()
        for function in public_array_functions(tree)
        if not SHAPED.search(ast.get_docstring(function) or "")
    ]
    assert without == []


def glossary() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Glossary")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| \*\*([^*]+)\*\* \|", section)
    return [word for row in rows for word in row.split(", ")]


def test_the_glossary_is_short():
    words = glossary()
    assert 15 <= len(words) <= 25
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    "path", ["README.md", *(f"docs/{n}.md" for n in ("architecture", "extending"))]
)
def test_paths_in_the_documents_exist(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = re.findall(r"`((?:storage|stream|models|memory|replay)/[\w/]+(?:\.py|/))`", text)
    missing = {name for name in named if not (ROOT / name).exists()}
    if path.endswith("extending.md"):
        added = re.findall(r"(?m)^# ((?:stream|models|memory|replay)/[\w/]+\.py)", text)
        missing -= set(added)
    assert missing == set()
