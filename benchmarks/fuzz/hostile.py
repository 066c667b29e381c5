"""The named cases: bombs, lies, absurd names, and everything else that someone once thought of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from benchmarks.fuzz.case import FuzzCase

Must = Literal["be taken", "be refused"] | None

HOSTILE: dict[str, Callable[[], FuzzCase]] = {}


def named(
    name: str, suffix: str, must: Must
) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Enter a function that makes the bytes of a case."""

    def enter(make: Callable[[], bytes]) -> Callable[[], bytes]:
        def case() -> FuzzCase:
            return FuzzCase(f"named.{suffix}", make(), "named", pairs=None, must=must)

        HOSTILE[name] = case
        return make

    return enter


def constant(name: str, suffix: str, must: Must, content: bytes) -> None:
    named(name, suffix, must)(lambda: content)


def hostile(name: str) -> FuzzCase:
    """A named case."""
    case = HOSTILE[name]()
    return replace(case, name=case.name.replace("named", f"named-{list(HOSTILE).index(name)}"))
