"""Rows or a cell of a study in a process of its own: `python -m replay.study.paper.worker`."""

import dataclasses
import json
import sys
from dataclasses import dataclass

from pydantic import TypeAdapter

from replay.config import ModelChoice
from replay.study.paper.cell import Cell, Ground, Rows
from replay.study.serving import serve, tell


@dataclass(frozen=True)
class Request:
    """What a worker is to make.

    Attributes:
        ground: of the study.
        rows: of the cell, or to be made.
        seed: of all draws.
        model: of the cell; `None` where the rows themselves are to be made.
        memory_limit: bytes that a fit may take; it is refused if it needs more.
    """

    ground: Ground
    rows: Rows
    seed: int
    model: ModelChoice | None
    memory_limit: int | None = None

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "Request":
        """The inverse of `to_line`."""
        return TypeAdapter(cls).validate_json(line)


def main() -> int:
    """Serve one request; returns the exit code."""
    return serve(_work)


def _work(line: str) -> None:
    from replay.study.paper.kept_rows import make_rows
    from replay.study.paper.making import make_cell

    request = Request.from_line(line)
    if request.model is None:
        make_rows(request.ground, request.rows, request.seed, _say)
    else:
        cell = Cell(request.rows, request.model, request.seed)
        make_cell(request.ground, cell, _say, memory_limit=request.memory_limit)


def _say(text: str) -> None:
    tell({"event": "stage", "text": text})


if __name__ == "__main__":
    sys.exit(main())
