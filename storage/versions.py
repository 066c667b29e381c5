"""What a figure depends on besides data and settings: the libraries and our own code."""

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

_LIBRARIES = ("perennial", "jax", "jaxlib", "numpy", "scipy")
_PACKAGES = ("storage", "stream", "models", "memory", "replay")
_ONLY_SHOWN = {"report", "console"}


@cache
def read_versions() -> dict[str, str]:
    """Versions of Perennial, its numerical libraries, Python, and the device JAX computes on.

    `code` is a hash of our own sources: while a model is being written its version stays, and
    figures of the code before would otherwise pass for those of the code after.
    """
    import jax

    versions = {name: _version(name) for name in _LIBRARIES}
    versions["python"] = platform.python_version()
    versions["device"] = jax.default_backend()
    versions["code"] = _hash_sources(Path(__file__).resolve().parent.parent)
    return versions


def _version(distribution: str) -> str:
    """The installed version of a distribution."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _hash_sources(root: Path) -> str:
    """Hash the sources that figures come from; what only shows them is left out."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            relative = path.relative_to(root)
            if _ONLY_SHOWN.intersection(relative.parts):
                continue
            digest.update(f"{relative.as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
