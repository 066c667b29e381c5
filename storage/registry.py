"""Registries: names of models, strategies, samplers, metrics and sources, imported when used.

A registry maps a name to a target, `package.module:Name`. It contains the built-in targets and
those that installed distributions declare as entry points, and takes a target in place of a name,
so that a model of a user's own needs no change here.
"""

import hashlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar, cast

from perennial.storage.errors import UserError

T = TypeVar("T")


class Registry(MutableMapping[str, str], Generic[T]):
    """Names of one kind of thing and the targets that they stand for.

    Iteration gives the built-in names in the order of declaration, then those of entry points.

    Args:
        kind: what is registered, for messages: `model`, `strategy`.
        targets: name -> `package.module:Name` of the built-in ones.
        group: entry-point group that other distributions declare theirs in; `None` for none.
    """

    def __init__(self, kind: str, targets: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self._targets = dict(targets)
        self.group = group

    @cached_property
    def _installed(self) -> dict[str, str]:
        if self.group is None:
            return {}
        return {one.name: one.value for one in importlib.metadata.entry_points(group=self.group)}

    def __getitem__(self, name: str) -> str:
        return self._targets[name] if name in self._targets else self._installed[name]

    def __setitem__(self, name: str, target: str) -> None:
        self._targets[name] = target

    def __delitem__(self, name: str) -> None:
        del self._targets[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._targets
        yield from (name for name in self._installed if name not in self._targets)

    def __len__(self) -> int:
        return len(self._targets.keys() | self._installed.keys())

    @staticmethod
    def is_target(name: str) -> bool:
        """Return whether a text has the form `package.module:Name`."""
        return re.fullmatch(r"[A-Za-z_][\w.]*:\w+", name) is not None

    def check(self, name: str) -> None:
        """Raise a `UserError` for what is neither a registered name nor a target."""
        if name not in self and not self.is_target(name):
            raise UserError(f"unknown {self.kind} '{name}'; choose from {', '.join(sorted(self))}")

    def load(self, name: str) -> T:
        """Import what a name or a target stands for; `UserError` if it is unknown or fails."""
        self.check(name)
        target = self.get(name, name)
        try:
            return cast(T, pkgutil.resolve_name(target))
        except (ImportError, AttributeError, ValueError) as error:
            if name in self._targets:
                raise
            raise UserError(f"{self.kind} '{name}' cannot be imported: {error}") from None


def external_source(instance: object) -> dict[str, str]:
    """Return the target and a hash of the code of an object whose class is not of this package.

    Results are recorded under keys that contain a hash of this package's sources; for a class from
    elsewhere the key needs its sources too. For a class of this package it is empty.
    """
    cls = type(instance)
    if cls.__module__.split(".")[0] == __name__.split(".")[0]:
        return {}
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    source = inspect.getsource(cls) if path is None else Path(path).read_text(encoding="utf-8")
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    return {"source": f"{cls.__module__}:{cls.__qualname__}", "source_hash": digest}
