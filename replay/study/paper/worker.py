"""Worker of a paper study: makes one cell (`python -m perennial.replay.study.paper.worker`)."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyCell, StudyContext, TrainingSet
from perennial.replay.study.workers.base import TaskFiles
from perennial.replay.study.workers.process import serve, tell

_SPLIT = "split.parquet"


@dataclass(frozen=True)
class PaperRequest:
    """What a worker is to make.

    Attributes:
        ground: of the study.
        rows: of the cell, or to be made.
        seed: of all draws.
        model: of the cell; `None` where the rows themselves are to be made.
        memory_limit: bytes that a fit may take; it is refused if it needs more.
    """

    ground: StudyContext
    rows: TrainingSet
    seed: int
    model: ModelChoice | None
    memory_limit: int | None = None

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    def away(self) -> TaskFiles:
        """The same elsewhere: split and rows go there, the file that is made comes back."""
        from perennial.replay.study.paper.records import record_path
        from perennial.replay.study.paper.rows import rows_path

        there = dataclasses.replace(self.ground, split=_SPLIT, folder=".")
        rows = rows_path(self.ground, self.rows, self.seed)
        rows_there = rows_path(there, self.rows, self.seed)
        takes = {_SPLIT: Path(self.ground.split)}
        if self.model is None:
            made, made_there = rows, rows_there
        else:
            key = self.ground.cell_key(StudyCell(self.rows, self.model, self.seed))
            made, made_there = (record_path(Path(one.folder), key) for one in (self.ground, there))
            if self.rows.is_made:
                takes[rows_there.as_posix()] = rows
        return TaskFiles(
            line=dataclasses.replace(self, ground=there).to_line(),
            takes=takes,
            brings={made_there.as_posix(): made},
        )

    @classmethod
    def from_line(cls, line: str) -> "PaperRequest":
        """The inverse of `to_line`."""
        return TypeAdapter(cls).validate_json(line)


def main() -> int:
    """Serve one request; returns the exit code."""
    return serve(_work)


def _work(line: str) -> None:
    from perennial.replay.study.paper.fit import make_cell
    from perennial.replay.study.paper.rows import make_rows

    request = PaperRequest.from_line(line)
    if request.model is None:
        make_rows(request.ground, request.rows, request.seed, _say)
    else:
        cell = StudyCell(request.rows, request.model, request.seed)
        make_cell(request.ground, cell, _say, memory_limit=request.memory_limit)


def _say(message: str, _done: int = 0, _total: int | None = None, /) -> None:
    tell({"event": "stage", "text": message})


if __name__ == "__main__":
    sys.exit(main())
