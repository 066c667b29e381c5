"""Versions that a figure depends on: the libraries, Python, the device, and our own code."""

import hashlib
import importlib.metadata
import platform
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import perennial

_LIBRARIES = ("perennial", "jax", "jaxlib", "numpy", "scipy")

_ROOTS = ("perennial.replay.loop", "perennial.replay.study.paper.fit")
"""Modules that compute figures: of a replay or a live store, and of a study on a random split."""

_FROM_IMPORT = re.compile(r"^\s*from (perennial[\w.]*) import (\([^)]*\)|[^\n#]*)", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import (perennial[\w.]*)", re.MULTILINE)
_REGISTERED = re.compile(r'"(perennial[\w.]*):\w+"')


@cache
def read_versions() -> dict[str, str]:
    """Read the versions of Perennial, its numerical libraries and Python, and JAX's device.

    `code` is a hash of those of our own sources that can change a figure. While a model is being
    written the version of the package stays the same, and old figures would otherwise pass for
    figures of the new code.
    """
    import jax

    versions = {name: _version(name) for name in _LIBRARIES}
    versions["python"] = platform.python_version()
    versions["device"] = jax.default_backend()
    versions["code"] = hash_sources(Path(perennial.__file__).parent)
    return versions


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def hash_sources(package: Path, roots: Sequence[str] = _ROOTS) -> str:
    """Hash the import closure of some modules, as 16 hexadecimal digits.

    Paths count as well as contents, in sorted order, so that a checkout and an installed wheel of
    the same sources have the same hash.
    """
    digest = hashlib.sha256()
    for path in import_closure(package, roots):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def import_closure(package: Path, roots: Sequence[str]) -> list[Path]:
    """Find the sorted paths below `package` that some modules import, directly or through others.

    Imports inside functions and names in registries (`"package.module:Name"`) count too, and so do
    `roots`; but not the package itself, which only lists what the library offers.
    """
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        base = package.joinpath(*module.split(".")[1:])
        places = (base.with_name(f"{base.name}.py"), base / "__init__.py")
        path = next((place for place in places if place.is_file()), None)
        if base == package or path is None or module in found:
            continue
        found[module] = path
        waiting += _imported(path.read_text(encoding="utf-8"))
    return sorted(set(found.values()))


def _imported(text: str) -> Iterator[str]:
    """Dotted names that a source may import; some name no module but a class or a function."""
    for match in _FROM_IMPORT.finditer(text):
        yield match[1]
        yield from (f"{match[1]}.{name}" for name in re.findall(r"\w+", match[2]))
    for pattern in (_IMPORT, _REGISTERED):
        yield from pattern.findall(text)
